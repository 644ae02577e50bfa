"""The files of a predictor; ``predictor.json`` has the size and the SHA-256 of each other file."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fruits.errors import OutputError, one_line
from fruits.storage.cache import cache_folder
from fruits.storage.failures import store_errors
from fruits.storage.files import probe
from fruits.storage.location import Location

MANIFEST = "predictor.json"
FORMAT = "fruits predictor"
VERSION = 1

REMEDY = "restore it from a copy, or run fruits run there again; the features are reused"

KEPT_DAYS = 30
"""The days after its last use for which a downloaded predictor stays in the cache."""

_NAME = re.compile(r"[a-z]+\.[a-z]+")
_MAX_MANIFEST_BYTES = 64 << 20


def find_predictor(place: Location, option: str = "predictor") -> Location:
    """The folder of a predictor.

    Args:
        place: an output, or its folder ``predictor``.
        option: the name of the option with the place, for messages.

    Raises:
        OutputError: there is no predictor.
        StorageError: the store cannot be used.
    """
    for folder in (place, place / "predictor"):
        try:
            if probe(folder / MANIFEST)["type"] == "file":
                return folder
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise OutputError(
                f"{option}: {folder / MANIFEST} cannot be read: {one_line(error)}"
            ) from error
    raise OutputError(
        f"{option}: wanted the output of a finished run, or its folder predictor; {place} has no "
        f"{MANIFEST}: give the output of a run that has trained a classifier"
    )


@dataclass(frozen=True)
class Folder:
    """The folder of a predictor on this machine.

    Attributes:
        path: The path of the folder.
        manifest: The content of its :data:`MANIFEST`.
        shown: The name of the folder in messages.
    """

    path: Path
    manifest: dict[str, Any]
    shown: str

    @classmethod
    def of(cls, place: Location) -> Folder:
        """Opens the folder of a predictor; from a store, it is downloaded into the cache.

        Args:
            place: an output, or its folder ``predictor``.

        Raises:
            OutputError: there is no predictor, or its :data:`MANIFEST` is damaged or of another
                version.
            StorageError: the store cannot be used.
        """
        folder = find_predictor(place)
        content = _manifest(folder / MANIFEST)
        manifest = parse_manifest(content, str(folder / MANIFEST))
        if folder.is_local:
            return cls(Path(folder.path), manifest, str(folder))
        with store_errors(folder.uri):
            return cls(_downloaded(folder, content, manifest), manifest, str(folder))

    def read(self, name: str) -> bytes:
        """Reads and verifies a small file.

        Raises:
            OutputError: the file is missing, or differs from the manifest.
        """
        try:
            content = (self.path / name).read_bytes()
        except OSError as error:
            raise self._unreadable(name, error) from error
        self._require(name, len(content), hashlib.sha256(content).hexdigest())
        return content

    def verified_path(self, name: str) -> Path:
        """Verifies a large file and returns its path.

        Raises:
            OutputError: the file is missing, or differs from the manifest.
        """
        path = self.path / name
        try:
            self._require(name, path.stat().st_size, _sha256(path))
        except OSError as error:
            raise self._unreadable(name, error) from error
        return path

    def damaged(self, name: str, reason: object) -> OutputError:
        """The error for a file with invalid content."""
        return OutputError(
            f"predictor: {self.shown}/{name} is damaged ({one_line(reason)}): {REMEDY}"
        )

    def _require(self, name: str, size: int, sha256: str) -> None:
        wanted = self.manifest["files"].get(name)
        if wanted is None:
            raise self.damaged(MANIFEST, f"it does not name {name}")
        if size != wanted["size"]:
            raise self.damaged(name, f"wanted {wanted['size']:,} bytes; got {size:,}")
        if sha256 != wanted["sha256"]:
            raise self.damaged(name, f"its SHA-256 differs from {MANIFEST}")

    def _unreadable(self, name: str, error: OSError) -> OutputError:
        if isinstance(error, FileNotFoundError):
            return OutputError(f"predictor: {self.shown}/{name} is missing: {REMEDY}")
        return OutputError(f"predictor: {self.shown}/{name} cannot be read: {one_line(error)}")


def write_manifest(folder: Path, about: dict[str, Any]) -> None:
    """Writes the manifest of all files in a folder."""
    files = {}
    for path in sorted(folder.iterdir()):
        if path.name != MANIFEST:
            files[path.name] = {"size": path.stat().st_size, "sha256": _sha256(path)}
    content = {"format": FORMAT, "version": VERSION, **about, "files": files}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    # A surrogate, as in the name of a folder that is not UTF-8, becomes an escape of JSON.
    (folder / MANIFEST).write_bytes((text + "\n").encode("utf-8", "backslashreplace"))


def upload(folder: Path, place: Location) -> None:
    """Copies the files that the manifest names to another location, the manifest last."""
    manifest = parse_manifest((folder / MANIFEST).read_bytes(), str(folder / MANIFEST))
    place.filesystem.makedirs(place.path, exist_ok=True)
    for name in (*manifest["files"], MANIFEST):
        place.filesystem.put_file(str(folder / name), (place / name).path)


def parse_manifest(content: bytes, shown: str) -> dict[str, Any]:
    """Parses a manifest.

    Raises:
        OutputError: it is not a manifest, is damaged, or is of another version.
    """
    try:
        manifest = json.loads(content)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ValueError("it is not the manifest of a predictor")
        if manifest["version"] != VERSION:
            raise OutputError(
                f"predictor: wanted a predictor of version {VERSION}; {shown} is of version "
                f"{manifest['version']!r}: use the version of Fruits that wrote it"
            )
        for name, file in manifest["files"].items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"wanted names of files; got {name!r:.100}")
            if type(file["size"]) is not int or not re.fullmatch("[0-9a-f]{64}", file["sha256"]):
                raise ValueError(f"wanted size and SHA-256 of {name}")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise OutputError(f"predictor: {shown} is damaged ({one_line(error)}): {REMEDY}") from error
    return manifest


def _manifest(place: Location) -> bytes:
    try:
        with store_errors(place.uri):
            if place.filesystem.size(place.path) > _MAX_MANIFEST_BYTES:
                raise OutputError(f"predictor: {place} is damaged (it is too large): {REMEDY}")
            content: bytes = place.filesystem.cat_file(place.path)
    except OSError as error:
        raise OutputError(f"predictor: {place} cannot be read: {one_line(error)}") from error
    return content


def _downloaded(place: Location, content: bytes, manifest: dict[str, Any]) -> Path:
    """Downloads the files of a store into the cache; files that are already there are kept."""
    folder = cache_folder() / "predictors" / hashlib.sha256(content).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / MANIFEST).write_bytes(content)  # Its time is that of the last use.
    _delete_unused(folder.parent)
    for name, wanted in manifest["files"].items():
        target = folder / name
        if not _is_same(target, wanted["sha256"]):
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                part = Path(temporary) / name
                try:
                    place.filesystem.get_file((place / name).path, str(part))
                except FileNotFoundError:
                    raise OutputError(f"predictor: {place / name} is missing: {REMEDY}") from None
                part.replace(target)
    return folder


def _delete_unused(cache: Path) -> None:
    """Deletes predictors that nobody has loaded for :data:`KEPT_DAYS` days.

    Processes that still use one have its files open, so that they are not affected.
    """
    for manifest in cache.glob(f"*/{MANIFEST}"):
        with suppress(OSError):
            if time.time() - manifest.stat().st_mtime > KEPT_DAYS * 86_400:
                shutil.rmtree(manifest.parent)


def _is_same(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
