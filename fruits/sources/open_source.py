"""The source that an option ``--images`` means: folders, archives, tables, or several of them."""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import InputError, one_line
from fruits.sources.columns import image_column
from fruits.sources.folder import Folder
from fruits.sources.inventory import Inventory
from fruits.sources.listing import LISTING, Listing
from fruits.sources.members import AT, ITEMS, SEPARATOR
from fruits.sources.naming import COLUMN, Naming
from fruits.sources.parquet_source import ParquetImages, open_parquet
from fruits.sources.parts import Found
from fruits.sources.reading import contents_of
from fruits.sources.selection import Selection
from fruits.sources.source import Lister
from fruits.sources.spread import gather
from fruits.sources.table_source import Table
from fruits.sources.tar_shards import TarShards
from fruits.sources.zip_archive import ZipArchives
from fruits.storage.failures import store_errors
from fruits.storage.files import probe
from fruits.storage.location import Location
from fruits.storage.walk import files_in, look_at, walk

# Tar archives that are compressed as a whole; the message for them is in fruits.sources.tar_shards.
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
_SHARDS = (".zip", ".parquet", *_TARS)


@dataclass(frozen=True)
class Sources:
    """What ``--images`` means: a :class:`fruits.sources.source.Source`.

    Attributes:
        places: paths or URIs, each a folder or a file of a form that :func:`lister_of` knows.
        naming: the rules by which names give labels and splits.
    """

    places: tuple[str, ...]
    naming: Naming = field(default_factory=Naming)

    def items(self) -> Listing:
        """Every image: see :meth:`fruits.sources.source.Source.items`."""
        return together([_list(place, self.naming) for place in self.places])

    def found(self) -> Found:
        """The same images, in parts: a folder of any length is listed in little memory.

        The images of archives and tables are listed in memory first.

        Raises:
            InputError, StorageError: as :meth:`items` does.
        """
        if len(self.places) == 1 and not _matches(self.places[0]):
            lister = lister_of(self.places[0], self.naming)
            if isinstance(lister, Folder):
                with suppress(InputError):  # There may be archives in it; else it is raised below.
                    batches = lister.batches()
                    images = gather(batches, LISTING, sort=True)
                    return Found(images, batches.passed_over, batches.linked)
        listing = self.items()
        images = gather([listing.images], listing.images.schema)
        return Found(images, listing.passed_over, listing.linked)

    def contents(self, items: pa.Table) -> Iterator[bytes | OSError]:
        """The contents of some of them: see :meth:`fruits.sources.source.Source.contents`."""
        return contents_of(items)


def open_source(images: str | Sequence[str], naming: Naming | None = None) -> Sources:
    """The source of the images that a user names; nothing is read yet.

    Args:
        images: one place, several with commas between them, or a sequence of places.
        naming: the rules by which names give labels and splits.
    """
    return Sources(tuple(places_of(images)), naming or Naming())


def places_of(images: str | Sequence[str]) -> list[str]:
    """The places that a user names. A name with a comma in it is one place, where there is one."""
    if not isinstance(images, str):
        return list(images)
    parts = [part.strip() for part in images.split(",")]
    if len(parts) == 1 or not all(parts) or _exists(images):
        return [images]
    return parts


def lister_of(place: str, naming: Naming) -> Lister:
    """What lists a place: by its suffix if it is a file, else a folder.

    Raises:
        InputError: it is a file of another form.
        StorageError: the store cannot be used.
    """
    location = Location.of(place)
    name = location.path.lower() if _is_file(location) else None
    if naming.is_of_table and not (name or "").endswith((".csv", ".tsv", ".parquet")):
        rule = naming.label if naming.label.startswith(COLUMN) else naming.split
        raise InputError(f"images: wanted a table with columns, for {rule}; {place} is none")
    if name is None:
        return Folder(place, naming)
    if name.endswith(".zip"):
        return ZipArchives((place,), naming)
    if name.endswith(_TARS):
        return TarShards((place,), naming)
    if name.endswith((".csv", ".tsv")):
        return Table(place, naming)
    if name.endswith(".json"):
        return Inventory(place, naming)
    if name.endswith(".parquet"):
        return ParquetImages((place,), naming) if _has_images(location) else Table(place, naming)
    raise InputError(
        "images: wanted a folder of images, or a .zip, .tar, .parquet, .csv, .tsv or "
        f"manifest.json; {place} is a file"
    )


def located(files: pa.Table) -> pa.Table:
    """Rows that know their paths alone, as :func:`fruits.sources.reading.contents_of` needs them.

    Only the archives and Parquet files in which they are, are listed.

    Args:
        files: with `path` and `length`, such as rows of features.

    Raises:
        InputError: an archive is gone or damaged.
    """
    paths = files["path"].to_pylist()
    containers = {path: path.partition(SEPARATOR)[0] for path in paths if SEPARATOR in path}
    there: dict[str, object] = {}
    for container in sorted(set(containers.values())):
        # There may also be a folder called so.
        if container.lower().endswith(_SHARDS) and not _exists(f"{container}!"):
            images = lister_of(container, Naming()).items().images
            wanted = images.filter(pc.is_in(images["path"], files["path"].combine_chunks()))
            there |= dict(zip(wanted["path"].to_pylist(), wanted["at"].to_pylist(), strict=True))
    at = pa.array([there.get(path) for path in paths], AT)
    return files.select(["path", "length"]).append_column("at", at)


def together(listings: Sequence[Listing]) -> Listing:
    """Several listings as one; an image that is in several of them is there once.

    Raises:
        InputError: they say different things of one image.
    """
    if len(listings) == 1:
        return listings[0]
    passed_over: Counter[str] = Counter()
    for listing in listings:
        passed_over.update(listing.passed_over)
    images = pa.concat_tables([_with_all_columns(listing.images) for listing in listings])
    images, repeated = _without_repeats(images)
    if repeated:
        passed_over["repeated images"] += repeated
    linked = [folder for listing in listings for folder in listing.linked]
    return Listing(images, dict(sorted(passed_over.items())), linked)


def _list(place: str, naming: Naming) -> Listing:
    if matches := _matches(place):
        return together([lister_of(match, naming).items() for match in matches])
    lister = lister_of(place, naming)
    try:
        return lister.items()
    except InputError:
        # A folder without images may have archives in it.
        if not isinstance(lister, Folder) or not (shards := _shards(Location.of(place))):
            raise
    listings = [lister_of(shard, naming).items() for shard in shards[0]]
    return together([*listings, Listing(listings[0].images.slice(0, 0), shards[1])])


def _shards(folder: Location) -> tuple[list[str], dict[str, int]] | None:
    """The archives below a folder and how many other files there are; None without archives."""
    selection = Selection()
    found = []
    try:
        with store_errors(folder.uri):
            for entry in walk(folder, selection.enters):
                if entry.kind != "file":
                    continue
                hidden = entry.name.rpartition("/")[2].startswith(".")
                if entry.name.lower().endswith(_SHARDS) and not hidden:
                    found.append(f"{folder.uri}/{entry.name}")
                else:
                    selection.is_image(entry.name)
    except OSError:
        return None
    return (sorted(found), dict(selection.passed_over)) if found else None


def _matches(place: str) -> list[str]:
    """The files that a place such as ``shards/*.tar`` means; none where it is a name itself."""
    folder, slash, pattern = place.rpartition("/")
    if "*" not in pattern or _exists(place):
        return []
    parent = Location.of(folder or slash or ".")
    try:
        with store_errors(parent.uri):
            names = [one.name for one in files_in(parent)]
    except OSError as error:
        raise InputError(f"images: {parent} cannot be listed ({one_line(error)})") from error
    found = [f"{parent.uri}/{name}" for name in sorted(names) if fnmatch.fnmatchcase(name, pattern)]
    if not found:
        raise InputError(f"images: wanted files; there are none that {place} matches")
    return found


def _exists(place: str) -> bool:
    location = Location.of(place)
    if location.is_local:
        return os.path.lexists(location.path)
    with store_errors(location.uri):
        return bool(location.filesystem.exists(location.path))


def _is_file(location: Location) -> bool:
    """Whether a place is a file; a folder's lister says what is wrong where there is nothing."""
    if location.is_local:
        return os.path.isfile(location.path)
    try:
        return bool(probe(location)["type"] == "file")
    except OSError:
        return False


def _has_images(location: Location) -> bool:
    """Whether a Parquet file has the bytes of images; another one has their paths."""
    try:
        with store_errors(location.uri), open_parquet(location, look_at(location).length) as file:
            return image_column(file.schema_arrow, location.uri) is not None
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise InputError(
            f"images: wanted a whole Parquet file; {location} cannot be read ({one_line(error)}): "
            "copy it again"
        ) from error


def _with_all_columns(images: pa.Table) -> pa.Table:
    for name in ITEMS.names:
        if name not in images.column_names:
            images = images.append_column(name, pa.nulls(images.num_rows, ITEMS.field(name).type))
    return images.select(ITEMS.names)


def _without_repeats(images: pa.Table) -> tuple[pa.Table, int]:
    """The images with each path once, and how many rows were left out."""
    counts = images.group_by("path").aggregate([([], "count_all")])
    repeated = counts.filter(pc.greater(counts["count_all"], 1))["path"]
    if not len(repeated):
        return images, 0
    seen: dict[str, object] = {}
    keep = [True] * images.num_rows
    said = images.drop_columns(["at"])
    for number in pc.indices_nonzero(pc.is_in(images["path"], repeated)).to_pylist():
        (row,) = said.slice(number, 1).to_pylist()
        first = seen.setdefault(row["path"], row)
        if first != row:
            raise InputError(
                f"images: wanted places that agree; {row['path']} is in two of them, with "
                "different labels, splits or groups: leave it out in one of them"
            )
        keep[number] = first is row
    return images.filter(pa.array(keep)), keep.count(False)
