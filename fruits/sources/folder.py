"""A folder of images, in any store: what is in it, and the contents.

Files are listed and read in Python, because their bytes are wanted there: a read through the JVM
would copy each of them twice and fetch one at a time.
"""

from __future__ import annotations

import errno
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import pyarrow as pa

from fruits.errors import InputError, one_line
from fruits.sources.formats import SUFFIXES
from fruits.sources.listing import LISTING, Listing
from fruits.sources.naming import Naming
from fruits.sources.selection import Selection
from fruits.sources.text import original, storable
from fruits.storage.failures import store_errors
from fruits.storage.files import probe, read
from fruits.storage.location import Location
from fruits.storage.walk import Entry, walk

# Reads under way at once for each task: enough to hide 20 ms of latency behind the CNN.
READS = 16


# Contents read ahead of the CNN are bounded by their bytes too: 16 large photographs are a lot.
READ_AHEAD_BYTES = 64 << 20


# The longest file that is read: no image that may be decoded is longer, and memory is finite.
MAX_BYTES = 1 << 30


# Entries that become a table at a time.
_ROWS = 16_384


@dataclass(frozen=True)
class Folder:
    """A folder of images and what is below it: a :class:`fruits.sources.source.Source`.

    Attributes:
        place: its path or URI.
        naming: the rules by which a path gives the label and the side of the split.
    """

    place: str
    naming: Naming = field(default_factory=Naming)

    def items(self) -> Listing:
        """Every image: see :func:`find_images`."""
        return find_images(self.place, self.naming)

    def batches(self) -> FolderListing:
        """The same images, in tables of some thousand rows."""
        return FolderListing(self.place, self.naming)

    def contents(self, items: pa.Table) -> Iterator[bytes | OSError]:
        """The contents of some of them: see :func:`read_contents`."""
        return contents_of(items)


def find_images(place: str | Location, naming: Naming | None = None) -> Listing:
    """Every image file below a folder, and how many files were passed over.

    What counts as an image is in :mod:`fruits.sources.selection`, which links are followed in
    :mod:`fruits.storage.walk`. A link with the name of an image that leads nowhere is listed: the
    run rejects it with the reason.

    Args:
        place: of the folder.
        naming: the rules by which a path gives the label and the side of the split; by default, the
            label is the name of the folder that an image is in.

    Returns:
        The images in the order of their paths.

    Raises:
        InputError: the folder is missing, is a file or holds no image; it, or one in it, cannot be
            listed.
        StorageError: the store cannot be used.
    """
    found = FolderListing(place, naming or Naming())
    images = pa.concat_tables([LISTING.empty_table(), *found])
    return Listing(images.sort_by("path").combine_chunks(), found.passed_over, found.linked)


class FolderListing:
    """Lists a folder bit by bit, as :func:`find_images` does at once.

    Attributes:
        linked: real paths of the folders to which links led so far.
    """

    def __init__(self, place: str | Location, naming: Naming) -> None:
        self.linked: list[str] = []
        self._place = place
        self._naming = naming
        self._selection = Selection()

    @property
    def passed_over(self) -> dict[str, int]:
        """How many files were passed over so far, by reason."""
        return dict(sorted(self._selection.passed_over.items()))

    def __iter__(self) -> Iterator[pa.Table]:
        """Tables of :data:`LISTING`, in no particular order; errors as in :func:`find_images`."""
        location = Location.of(self._place)
        found = self._entries(location)
        there = False
        while entries := list(islice(found, _ROWS)):
            there = True
            yield _rows(location, entries, self._naming)
        if not there:
            count = sum(self.passed_over.values())
            raise InputError(
                f"images: wanted files that end in {' '.join(SUFFIXES)}; there are none among the "
                f"{count} files below {self._place}{self._selection.described(': ')}"
            )

    def _entries(self, location: Location) -> Iterator[Entry]:
        """Those that are images."""
        selection = self._selection
        try:
            with store_errors(location.uri):
                if not location.is_local:
                    # A store that is out of reach is an error within seconds.
                    probe(location)
                for entry in walk(location, selection.enters):
                    if entry.kind == "file":  # Most are, so it comes first.
                        if selection.is_image(entry.name):
                            yield entry
                    elif entry.kind == "linked folder":
                        self.linked.append(entry.target)
                    elif _is_item(entry, selection):
                        yield entry
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(self._place, location, error) from None
        except OSError as error:
            raise _unlistable(location, error) from None


def _rows(location: Location, entries: Sequence[Entry], naming: Naming) -> pa.Table:
    """The rows of :data:`LISTING` of some files."""
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


def list_images(place: str | Location) -> pa.Table:
    """The images of :func:`find_images`, a table of :data:`LISTING`."""
    return find_images(place).images


def contents_of(items: pa.Table) -> Iterator[bytes | OSError]:
    """The contents of files that a listing names: :func:`read_contents` for a table of them."""
    paths, lengths = items["path"].to_pylist(), items["length"].to_pylist()
    return read_contents(zip(paths, lengths, strict=True))


def read_contents(paths: Iterable[tuple[str, int]]) -> Iterator[bytes | OSError]:
    """The contents of files, in order, several reads ahead.

    Args:
        paths: of each file, its path as :func:`list_images` writes it and its length in bytes.

    Yields:
        The bytes, or the error that kept them from being read.

    Raises:
        StorageError: the store they are in is at fault, not they.
    """
    pending: deque[tuple[Future[bytes | OSError], int]] = deque()
    ahead = 0
    with ThreadPoolExecutor(READS) as pool:
        for path, length in paths:
            while pending and (len(pending) >= READS or ahead + length > READ_AHEAD_BYTES):
                future, read = pending.popleft()
                ahead -= read
                yield future.result()
            task = partial(_read, path) if length <= MAX_BYTES else partial(_too_long, length)
            pending.append((pool.submit(task), length))
            ahead += length
        while pending:
            yield pending.popleft()[0].result()


def _too_long(length: int) -> OSError:
    return OSError(errno.EFBIG, f"{length:,} bytes, the limit is {MAX_BYTES:,}")


def _read(path: str) -> bytes | OSError:
    name = original(path)
    try:
        return read(name)
    except FileNotFoundError as error:
        if name == path:
            return error
    except OSError as error:
        return error
    # A table of paths has names as somebody wrote them.
    try:
        return read(path)
    except OSError as error:
        return error


def _is_item(entry: Entry, selection: Selection) -> bool:
    """Whether an entry is listed; another one is counted."""
    if entry.kind == "special file":
        selection.passed_over["special files"] += 1
        return False
    if entry.kind == "repeated folder":
        selection.passed_over["repeated folders"] += 1
        return False
    if entry.kind == "broken link" and not entry.name.lower().endswith(SUFFIXES):
        selection.passed_over["broken links"] += 1
        return False
    return selection.is_image(entry.name)


def _missing(place: str | Location, location: Location, error: OSError) -> InputError:
    if isinstance(error, NotADirectoryError) and error.filename in (location.path, location.uri):
        return InputError(f"images: wanted a folder of images; {place} is a file")
    if error.filename in (None, location.path, location.uri) or not location.is_local:
        encoded = re.search(r"%[0-9A-Fa-f]{2}", location.uri)
        literal = f"; names are literal: write a space for %20 ({encoded[0]})" if encoded else ""
        return InputError(f"images: wanted a folder of images; {place} does not exist{literal}")
    return InputError(
        f"images: {error.filename} went away while {place} was listed; "
        "run again when nothing in it is renamed or deleted"
    )


def _unlistable(location: Location, error: OSError) -> InputError:
    folder = error.filename or location.uri
    who = f" by user {os.geteuid()}" if location.is_local else ""
    reason = error.strerror or one_line(error)
    return InputError(
        f"images: {storable(str(folder))} cannot be listed{who} ({reason}): let that user read it "
        "and enter it, or move it out of the images; leaving it out would lose images"
    )
