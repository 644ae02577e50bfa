"""A folder of images as a source, in any store.

Files are listed and read in Python, where their bytes are needed: the JVM would copy each file
twice and read one at a time.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

import pyarrow as pa

from fruits.errors import InputError, one_line
from fruits.images.formats import SUFFIXES
from fruits.images.size_limits import too_long
from fruits.sources.listing import LISTING, ROWS
from fruits.sources.naming import Naming
from fruits.sources.parts import Found
from fruits.sources.selection import Selection, other_files, reason_to_skip
from fruits.sources.spread import gather
from fruits.sources.text import original, storable
from fruits.storage.ahead import read_ahead
from fruits.storage.failures import store_errors
from fruits.storage.files import probe, read
from fruits.storage.location import Location
from fruits.storage.walk import Entry, walk
from fruits.wording import counted

# The number of parallel reads of a task: enough to hide 20 ms of latency behind the CNN.
READS = 16


# A limit in bytes for contents that are read ahead: 16 large photographs need much memory.
READ_AHEAD_BYTES = 64 << 20


def list_folder(place: str, naming: Naming) -> Found:
    """Lists every image file below a folder, and counts the skipped files.

    :mod:`fruits.sources.selection` says which files are images, and :mod:`fruits.storage.walk`
    which links are followed. A broken link with the name of an image is listed, so that the run
    rejects it with the reason.

    Args:
        place: the path or URI of the folder.
        naming: the rules for the label and the side of the split of a path.

    Returns:
        The images, sorted by path.

    Raises:
        InputError: the folder is missing, is a file, or has no images; or it or one of its
            subfolders cannot be listed.
        StorageError: the store cannot be used.
    """
    return FolderListing(place, naming).found()


class FolderListing:
    """Lists a folder part by part, see :func:`list_folder`.

    Args:
        place: the folder.
        naming: the rules for the label and the side of the split of a path.
        archives: suffixes of archives that a folder may have instead of images.

    Attributes:
        linked: The real paths of the linked folders found so far.
        archives: The names of archives and their lengths in bytes, if the folder has no images.
            They do not count as skipped, and no error is raised.
    """

    def __init__(self, place: str, naming: Naming, archives: tuple[str, ...] = ()) -> None:
        self.linked: list[str] = []
        self.archives: dict[str, int] = {}
        self._place = place
        self._naming = naming
        self._suffixes = archives
        self._selection = Selection()

    @property
    def passed_over(self) -> dict[str, int]:
        """The number of files skipped so far, by reason."""
        return self._selection.passed_over

    def __iter__(self) -> Iterator[pa.Table]:
        """Yields tables of :data:`LISTING` in no particular order; see :func:`list_folder`."""
        location = Location.of(self._place)
        found = self._entries(location)
        there = False
        while entries := list(islice(found, ROWS)):
            there = True
            yield _rows(location, entries, self._naming)
        if not there and not self.archives:
            count = sum(self.passed_over.values())
            raise InputError(
                f"images: wanted files that end in {' '.join(SUFFIXES)}; got none among "
                f"{counted(count, 'file')} in {self._place}{other_files(self.passed_over, ':')}"
            )

    def found(self) -> Found:
        """The whole listing, sorted by path."""
        images = gather(self, LISTING, sort=True)
        return Found(images, self.passed_over, self.linked)

    def _entries(self, location: Location) -> Iterator[Entry]:
        """Yields the entries that are images."""
        selection = self._selection
        try:
            with store_errors(location.uri):
                if not location.is_local:
                    # Fails within seconds if the store is unreachable.
                    probe(location)
                for entry in walk(location, selection.enters):
                    if entry.kind == "linked folder":
                        self.linked.append(entry.target)
                    elif self._suffixes and self._is_archive(entry):
                        self.archives[entry.name] = entry.length
                    elif _is_item(entry, selection):
                        self._pass_over_archives()
                        yield entry
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(self._place, location, error) from None
        except OSError as error:
            raise _unlistable(location, error) from None

    def _is_archive(self, entry: Entry) -> bool:
        """Whether an entry is an archive, which is used if there are no images."""
        name = entry.name.lower()
        if entry.kind != "file" or not name.endswith(self._suffixes):
            return False
        folder, _, base = entry.name.rpartition("/")
        return not base.startswith(".") and not reason_to_skip(folder)

    def _pass_over_archives(self) -> None:
        """Counts the archives as skipped, because there is an image."""
        self._suffixes = ()
        for name in self.archives:
            self._selection.is_image(name)
        self.archives.clear()


def _rows(location: Location, entries: Sequence[Entry], naming: Naming) -> pa.Table:
    """The rows of :data:`LISTING` for some files."""
    prefix = location.uri.rstrip("/")
    paths = pa.array([storable(f"{prefix}/{entry.name}") for entry in entries], pa.string())
    columns = {
        "path": paths,
        "label": naming.labels(paths),
        "split": naming.splits(paths),
        "length": [entry.length for entry in entries],
        "modified": [entry.modified for entry in entries],
    }
    return pa.table(columns, schema=LISTING)


def contents_of(items: pa.Table) -> Iterator[bytes | OSError]:
    """The contents of the files in a listing, see :func:`read_contents`."""
    paths, lengths = items["path"].to_pylist(), items["length"].to_pylist()
    return read_contents(zip(paths, lengths, strict=True))


def read_contents(paths: Iterable[tuple[str, int]]) -> Iterator[bytes | OSError]:
    """Yields the contents of files in order, and reads several files ahead.

    Args:
        paths: the path of each file, as in :data:`LISTING`, and its length in bytes; 0 if unknown.

    Yields:
        The bytes, or the error of reading them. A file of another length was changed after it was
        listed: its features would be kept under the length and the time of the old content.

    Raises:
        StorageError: the store cannot be used; this is not an error of one file.
    """
    jobs = ((length, partial(_read, path, length)) for path, length in paths)
    return read_ahead(jobs, READS, READ_AHEAD_BYTES)


def _read(path: str, length: int) -> bytes | OSError:
    if refused := too_long(length):
        return refused
    # A table of paths has the names as its author wrote them.
    for name in dict.fromkeys((original(path), path)):
        try:
            content = read(name)
        except FileNotFoundError as error:
            missing = error
        except OSError as error:
            return error
        else:
            return _changed(content, length) or content
    return missing


def _changed(content: bytes, length: int) -> OSError | None:
    """The error for a content with another length than the listed one, which is 0 if unknown."""
    if length in (0, len(content)):
        return None
    now = f"{length:,} bytes were listed, it has {len(content):,}"
    return OSError(errno.EIO, f"the file was changed: {now}")


def _is_item(entry: Entry, selection: Selection) -> bool:
    """Whether an entry is listed as an image; other entries are counted as skipped."""
    is_broken = entry.kind == "broken link" and not entry.name.lower().endswith(SUFFIXES)
    if is_broken or entry.kind in ("special file", "repeated folder"):
        selection.pass_over(f"{entry.kind}s")
        return False
    return selection.is_image(entry.name)


def _missing(place: str, location: Location, error: OSError) -> InputError:
    if isinstance(error, NotADirectoryError) and error.filename in (location.path, location.uri):
        return InputError(f"images: wanted a folder of images; {place} is a file")
    if error.filename in (None, location.path, location.uri) or not location.is_local:
        encoded = re.search(r"%[0-9A-Fa-f]{2}", location.uri)
        literal = f"; names are literal: write a space for %20 ({encoded[0]})" if encoded else ""
        return InputError(f"images: wanted a folder of images; {place} does not exist{literal}")
    return InputError(
        f"images: {storable(str(error.filename))} disappeared while {place} was listed; "
        "run again when nothing in it is renamed or deleted"
    )


def _unlistable(location: Location, error: OSError) -> InputError:
    folder = error.filename or location.uri
    who = f" by user {os.geteuid()}" if location.is_local else ""
    reason = error.strerror or one_line(error)
    return InputError(
        f"images: {storable(str(folder))} cannot be listed{who} ({reason}): allow that user to "
        "read and enter it, or move it out of the images; skipping it would lose images"
    )
