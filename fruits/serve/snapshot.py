"""A copy of a predictor's files on this machine, which nobody else changes.

A process that dies is started again from it, whatever has become of the place it was read from.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fruits.errors import OutputError
from fruits.predictor.files import MANIFEST, parsed
from fruits.storage.failures import store_errors
from fruits.storage.files import probe
from fruits.storage.location import Location, filesystem_of


@dataclass(frozen=True)
class Snapshot:
    """The files of one model.

    Attributes:
        folder: where the copies are.
        place: of what was copied.
        version: the first twelve digits of the SHA-256 of its manifest, which names the SHA-256 of
            each other file.
        stamp: of the place, before the files were copied.
    """

    folder: str
    place: str
    version: str
    stamp: str

    def delete(self) -> None:
        """Deletes the copies."""
        shutil.rmtree(self.folder, ignore_errors=True)


def place_of(model: str) -> Location:
    """The folder of a predictor: what was given, or ``predictor/`` in the output of a run.

    Raises:
        OutputError: there is neither.
        StorageError: the store cannot be used.
    """
    given = Location.of(model)
    for place in (given, given / "predictor"):
        try:
            if probe(place / MANIFEST)["type"] == "file":
                return place
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise OutputError(f"model: {place / MANIFEST} cannot be read: {error}") from error
    raise OutputError(
        f"model: wanted the output of a finished run; {given} has no predictor/{MANIFEST}: give "
        "the output of a run that has trained a classifier"
    )


def stamp(place: Location) -> str:
    """What changes whenever a file of a folder does: names, sizes, times, tags."""
    # Whoever looks again and again needs no retries: a store that is away is noticed in seconds.
    filesystem, path = filesystem_of(place.uri, retry=False)
    filesystem.invalidate_cache()
    with store_errors(place.uri):
        found = filesystem.find(path, detail=True)
    marks = ("size", "mtime", "ino", "ETag", "LastModified")
    listing = sorted(
        (path, *(str(info.get(mark)) for mark in marks)) for path, info in found.items()
    )
    return hashlib.sha256(repr(listing).encode("utf-8", "surrogateescape")).hexdigest()


def take(place: Location) -> Snapshot:
    """Copies a predictor's files; whether they are undamaged is checked when they are loaded.

    Raises:
        OutputError: the manifest is damaged, or a file is missing.
        StorageError: the store cannot be used.
    """
    before = stamp(place)
    with _new_folder() as folder, store_errors(place.uri):
        content: bytes = _present(place, MANIFEST, place.filesystem.cat_file)
        manifest = parsed(content, str(place / MANIFEST))
        with open(os.path.join(folder, MANIFEST), "wb") as file:
            file.write(content)
        for name in manifest["files"]:
            target = os.path.join(folder, name)
            _present(place, name, place.filesystem.get_file, target)
    return Snapshot(folder, str(place), hashlib.sha256(content).hexdigest()[:12], before)


def _present(place: Location, name: str, read: Any, *arguments: str) -> Any:
    """What ``read`` returns for a file."""
    try:
        return read(f"{place.path}/{name}", *arguments)
    except OSError as error:
        raise OutputError(f"model: {place / name} cannot be read: {error}") from error


@contextmanager
def _new_folder() -> Iterator[str]:
    """A temporary folder that stays, unless the block fails."""
    folder = tempfile.mkdtemp(prefix="fruits-model-")
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
