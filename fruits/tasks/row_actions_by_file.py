"""Divides the actions of a cross-validation by the files of features that they concern."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from fruits.features.rows import write_rows
from fruits.features.table import FeatureTable
from fruits.folds.row_actions import ENTRIES
from fruits.sources import parts
from fruits.sources.parts import Parts
from fruits.sources.spread import FileSpread, Spread
from fruits.storage.location import Location
from fruits.tasks.known import paths_by_file
from fruits.tasks.workers import Workers

_PATHS = pa.schema([("path", pa.string()), ("file", pa.string())])


def entries_by_file(
    workers: Workers, table: FeatureTable, entries: Parts, place: Location
) -> dict[str, Location]:
    """Writes entries to files that all tasks can read, each with those of some files of features.

    Entries are in the order of the paths, but files of a collection that grew in small steps have
    rows of all paths. If the task of each file searched all entries for its own, the time would
    grow with the square of the number of images.

    Args:
        workers: The workers.
        table: The features.
        entries: Parts of :data:`fruits.folds.row_actions.ENTRIES`. Those of images without features
            are left out.
        place: A folder for the files.

    Returns:
        The file of entries of each file of features that has entries, by its name.
    """
    if not entries.num_rows:
        return {}
    paths = Spread(_PATHS, entries.bounds)
    few = not entries.bounds or entries.num_rows <= parts.IN_MEMORY
    wanted = entries.table(["path"])["path"] if few else None
    for rows in paths_by_file(workers, table):
        paths.add(rows if wanted is None else rows.filter(pc.is_in(rows["path"], wanted)))
    sizes = table.file_sizes()
    spread = FileSpread(ENTRIES.append(_PATHS.field("file")), sizes, entries.num_rows)
    for own, there in zip(entries, paths.parts(), strict=True):
        files = there["file"].take(pc.index_in(own["path"], there["path"]))
        found = own.append_column("file", files)
        spread.add(found.filter(pc.is_valid(files)))
    written: dict[str, Location] = {}
    for number, some in enumerate(spread.parts()):
        if some.num_rows:
            target = place / f"{number:06}.parquet"
            write_rows(target, some)
            written |= dict.fromkeys(pc.unique(some["file"]).to_pylist(), target)
    return written
