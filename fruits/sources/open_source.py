"""Opens the source of the option ``--images``: folders, archives, tables, or several of them."""

from __future__ import annotations

import fnmatch
import itertools
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import InputError, one_line
from fruits.images.formats import SUFFIXES
from fruits.sources.archive import READS
from fruits.sources.columns import image_column
from fruits.sources.folder import FolderListing, list_folder
from fruits.sources.inventory import list_inventory
from fruits.sources.listing import LISTING
from fruits.sources.members import AT, ITEMS, SEPARATOR
from fruits.sources.naming import COLUMN, Naming
from fruits.sources.parquet_index import open_parquet
from fruits.sources.parquet_source import list_parquet
from fruits.sources.parts import Found
from fruits.sources.repeats import without_repeats
from fruits.sources.selection import SkippedFiles, other_files
from fruits.sources.spread import gather
from fruits.sources.table_source import list_table
from fruits.sources.tar_archive import list_tar
from fruits.sources.text import original
from fruits.sources.zip_archive import list_zip
from fruits.storage.ahead import read_ahead
from fruits.storage.failures import store_errors
from fruits.storage.files import probe
from fruits.storage.location import Location
from fruits.storage.s3_listing import has_objects
from fruits.storage.walk import files_in, stat_file

# Compressed tar archives are refused later, with a message of fruits.sources.tar_index.
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
_ARCHIVES = (".zip", ".parquet", *_TARS)
_FILES = (*_ARCHIVES, ".csv", ".tsv", ".json")

# Files of this many bytes together are listed at the same time: while a zip archive is listed, each
# of its members needs about 1 kB of memory.
_LISTED_BYTES = 2 << 30


@dataclass(frozen=True)
class Sources:
    """The source of the option ``--images``.

    Attributes:
        places: Paths or URIs of folders, or of files that :func:`list_place` supports.
        naming: The rules for labels and splits.
    """

    places: tuple[str, ...]
    naming: Naming = field(default_factory=Naming)

    def found(self) -> Found:
        """Every image; one that is in several places is listed once, see :func:`list_place`.

        Raises:
            InputError: there are no images, a part of a source cannot be listed, or two places have
                different labels, splits or groups for the same image.
            StorageError: a store cannot be used.
        """
        with closing(self._found_in_each()) as listings:
            found = merge_listings(listings)
        if not found.images.num_rows:
            others = other_files(found.passed_over, ", which has")
            raise InputError(
                f"images: wanted images, such as files that end in {' '.join(SUFFIXES)}; "
                f"there are none in {', '.join(self.places)}{others}"
            )
        return found

    def _found_in_each(self) -> Generator[Found]:
        """Yields the images of each folder and file, one after the other."""
        for place in self.places:
            if matches := _matches(place):
                yield from _list_each(matches, self.naming)
                continue
            lister = _lister_of(place, self.naming)
            if lister is not list_folder:
                yield lister(place, self.naming)
                continue
            folder = FolderListing(place, self.naming, _ARCHIVES)
            images = gather(folder, LISTING, sort=True)
            if folder.archives:
                uri = Location.of(place).uri
                files = [(f"{uri}/{name}", length) for name, length in folder.archives.items()]
                yield from _list_each(sorted(files), self.naming)
            yield Found(images, folder.passed_over, folder.linked)


def open_source(images: str | Sequence[str], naming: Naming | None = None) -> Sources:
    """The source of the images that a user names; nothing is read yet.

    Args:
        images: a path or URI, several separated by commas, or a sequence of them.
        naming: the rules for labels and splits.
    """
    return Sources(tuple(places_of(images)), naming or Naming())


def places_of(images: str | Sequence[str]) -> list[str]:
    """The paths or URIs that a user names; an existing name with a comma is one path."""
    if not isinstance(images, str):
        return list(images)
    parts = [part.strip() for part in images.split(",")]
    if len(parts) == 1 or not all(parts) or _exists(images):
        return [images]
    return parts


def list_place(place: str, naming: Naming) -> Found:
    """Lists every image of a folder, or of a file by its suffix, and counts the skipped files.

    An item is one image: a row of :data:`fruits.sources.listing.LISTING`. Its key is the unique
    `path`, from which label, split and group follow by rules (:mod:`fruits.sources.naming`), unless
    the source has them.

    In a short listing, files are sorted by key, and members of an archive are in the order of the
    archive: a task gets consecutive rows, and reads them with few requests. A long listing is
    sorted by key, see :func:`fruits.sources.spread.gather`.

    Args:
        place: the path or URI.
        naming: the rules for labels and splits.

    Raises:
        InputError: there are no images, a part of the source cannot be listed, or it is a file of
            another kind.
        StorageError: the store cannot be used.
    """
    return _lister_of(place, naming)(place, naming)


def _lister_of(place: str, naming: Naming) -> Callable[[str, Naming], Found]:
    """The function that lists a folder, or a file by its suffix."""
    location = Location.of(place)
    name = location.path.lower() if _is_file(location) else None
    if naming.is_of_table and not (name or "").endswith((".csv", ".tsv", ".parquet")):
        rule = naming.label if naming.label.startswith(COLUMN) else naming.split
        raise InputError(f"images: wanted a table with columns, for {rule}; {place} is not a table")
    if name is None:
        return list_folder
    if name.endswith(".zip"):
        return list_zip
    if name.endswith(_TARS):
        return list_tar
    if name.endswith((".csv", ".tsv")):
        return list_table
    if name.endswith(".json"):
        return list_inventory
    if name.endswith(".parquet"):
        return list_parquet if _has_images(location) else list_table
    raise InputError(
        "images: wanted a folder of images, or a .zip, .tar, .parquet, .csv, .tsv or "
        f"manifest.json; {place} is a file"
    )


def locate_members(files: pa.Table) -> pa.Table:
    """Adds the column `at` that :func:`fruits.sources.reading.contents_of` needs.

    Only the archives and Parquet files that contain the images are listed.

    Args:
        files: a table with `path` and `length`, such as rows of features.

    Raises:
        InputError: an archive is missing or damaged.
    """
    paths = files["path"].to_pylist()
    inside = (path.partition(SEPARATOR) for path in paths)
    containers = {original(container) for container, separator, _ in inside if separator}
    there: dict[str, object] = {}
    for container in sorted(containers):
        # There may also be a folder with this name.
        if container.lower().endswith(_ARCHIVES) and not _exists(f"{container}!"):
            for images in list_place(container, Naming()).images:
                wanted = images.filter(pc.is_in(images["path"], files["path"].combine_chunks()))
                there |= zip(wanted["path"].to_pylist(), wanted["at"].to_pylist(), strict=True)
    at = pa.array([there.get(path) for path in paths], AT)
    return files.select(["path", "length"]).append_column("at", at)


def merge_listings(listings: Iterator[Found]) -> Found:
    """Merges listings one after the other; an image that is in several of them is listed once.

    Raises:
        InputError: two listings have different labels, splits or groups for the same image.
    """
    first, second = next(listings), next(listings, None)
    if second is None:
        return first
    skipped = SkippedFiles()
    linked: list[str] = []

    def tables() -> Iterator[pa.Table]:
        for listing in itertools.chain((first, second), listings):
            for reason, count in listing.passed_over.items():
                skipped.add(reason, count)
            linked.extend(listing.linked)
            yield from map(_with_all_columns, listing.images)

    def once(part: pa.Table) -> pa.Table:
        images, repeated = without_repeats(part)
        if repeated:
            skipped.add("repeated images", repeated)
        return images

    images = gather(tables(), ITEMS, change=once)
    return Found(images, skipped.counts(), linked)


def _list_each(files: Sequence[tuple[str, int]], naming: Naming) -> Iterator[Found]:
    """Lists several files in parallel; `files` are their URIs and lengths in bytes."""
    jobs = ((length, partial(list_place, uri, naming)) for uri, length in files)
    with closing(read_ahead(jobs, READS, _LISTED_BYTES)) as ahead:
        yield from ahead


def _matches(place: str) -> list[tuple[str, int]]:
    """URIs and lengths of the files that a pattern matches; none if a file has this name."""
    folder, slash, pattern = place.rpartition("/")
    if "*" not in pattern or _exists(place):
        return []
    parent = Location.of(folder or slash or ".")
    try:
        with store_errors(parent.uri):
            files = [one for one in files_in(parent) if fnmatch.fnmatchcase(one.name, pattern)]
    except OSError as error:
        raise InputError(f"images: {parent} cannot be listed ({one_line(error)})") from error
    if not files:
        raise InputError(f"images: wanted files; no file matches {place}: check the pattern")
    return sorted((f"{parent.uri}/{one.name}", one.length) for one in files)


def _exists(place: str) -> bool:
    location = Location.of(place)
    if location.is_local:
        return os.path.lexists(location.path)
    with store_errors(location.uri):
        return bool(location.filesystem.exists(location.path))


def _is_file(location: Location) -> bool:
    """Whether it is a file; if nothing exists there, the lister of folders raises the error."""
    if location.is_local:
        return os.path.isfile(location.path)
    try:
        if probe(location)["type"] != "file":
            return False
    except OSError:
        return False
    if not location.is_s3 or location.path.lower().endswith(_FILES):
        return True
    # In S3, an object and a folder can have the same name.
    with store_errors(location.uri):
        return not has_objects(location.filesystem, location.path)


def _has_images(location: Location) -> bool:
    """Whether a Parquet file has the bytes of images; otherwise it has their paths."""
    try:
        with store_errors(location.uri), open_parquet(location, stat_file(location).length) as file:
            return image_column(file.schema_arrow, location.uri) is not None
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise InputError(
            f"images: wanted a complete Parquet file; {location} cannot be read "
            f"({one_line(error)}): copy it again"
        ) from error


def _with_all_columns(images: pa.Table) -> pa.Table:
    for name in ITEMS.names:
        if name not in images.column_names:
            images = images.append_column(name, pa.nulls(images.num_rows, ITEMS.field(name).type))
    return images.select(ITEMS.names)
