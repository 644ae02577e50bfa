"""Rows of features: their schema, their Parquet files, and Arrow lists <-> NumPy matrices."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fruits.errors import InputError, OutputError, one_line
from fruits.sources.listing import LISTING
from fruits.storage.ahead import one_ahead
from fruits.storage.files import replace
from fruits.storage.location import Location

if TYPE_CHECKING:
    # The import takes a quarter of a second, and a predictor does not need it.
    import pyarrow.dataset as pads

Between = tuple[str | None, str | None]
"""A range of paths: the lower bound, inclusive, and the upper bound, exclusive; None for none."""

FEATURES = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("sha256", pa.string()),
        ("length", pa.int64()),
        ("modified", pa.timestamp("us", tz="UTC")),
        ("features", pa.list_(pa.float32())),
    ]
)

SCANNED_ROWS = 16_384
"""The maximum number of rows of a batch, if rows are not wide and become few Python objects."""

_FILTERED_ROWS = 100_000
"""The number of rows, of a few columns, that are filtered together."""

_READ_ROWS = 4096
"""The maximum number of rows of a batch of thumbnails, which become Python objects."""

REJECTED = LISTING.append(pa.field("error", pa.string()))

_REMEDY = "restore it from a copy, or run again with overwrite"


def write_rows(place: Location, rows: pa.Table, group: int = SCANNED_ROWS) -> None:
    """Writes rows of features or components as one Parquet file, atomically.

    Args:
        place: the location of the file.
        rows: the rows.
        group: the number of rows of a row group; readers decode whole row groups.
    """
    buffer = io.BytesIO()
    # A dictionary of numbers that are all different needs more space than the numbers.
    names = ["label", "split", "predicted"]
    pq.write_table(rows, buffer, use_dictionary=names, row_group_size=group)
    replace(place, buffer.getvalue())


def read_rows(
    place: Location,
    columns: list[str] | None = None,
    between: Between | None = None,
) -> pa.Table:
    """Reads a file of features: all or some columns, and all rows or those of a range of paths.

    In files of earlier versions, which have no column ``split``, it is null.

    Args:
        place: the location of the file.
        columns: the columns; None for all.
        between: bounds of the paths; None for all. Row groups without such rows are not decoded.

    Raises:
        OutputError: the file is missing, damaged, or lacks a column.
        OSError: it cannot be read.
    """
    # Unlike `pq.read_table`, this does not import pyarrow.dataset, and needs one request.
    with (
        _damages(place),
        _opened(place, columns, between) as source,
        pq.ParquetFile(source) as file,
    ):
        stored = file.schema_arrow.names
        wanted = stored if columns is None else columns
        names = [name for name in wanted if name in stored]
        if between is None:
            rows = file.read(names, use_threads=False)
        else:
            rows = file.read_row_groups(_groups(file, *between), names, use_threads=False)
    if "split" not in stored:
        rows = rows.append_column("split", pa.nulls(rows.num_rows, pa.string()))
        wanted = FEATURES.names if columns is None else columns
    _require_columns(place, wanted, rows.column_names)
    rows = rows.select(wanted)
    if between is not None:
        first, end = between
        rows = rows if first is None else rows.filter(pc.greater_equal(rows["path"], first))
        rows = rows if end is None else rows.filter(pc.less(rows["path"], end))
    return rows


def _groups(file: pq.ParquetFile, first: str | None, end: str | None) -> list[int]:
    """The row groups of a file that may have paths between two bounds."""
    groups = range(file.num_row_groups)
    return [number for number in groups if _may_have(file.metadata.row_group(number), first, end)]


def _may_have(group: pq.RowGroupMetaData, first: str | None, end: str | None) -> bool:
    columns = (group.column(place) for place in range(group.num_columns))
    known = next((one.statistics for one in columns if one.path_in_schema == "path"), None)
    if known is None or not known.has_min_max:
        return True  # The metadata leave out very long paths.
    return (first is None or known.max >= first) and (end is None or known.min < end)


def read_batches(place: Location, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Reads some columns of a Parquet file in batches, of which one is in memory.

    Raises:
        OutputError: the file is missing, damaged, or lacks a column.
        OSError: it cannot be read.
    """
    with (
        _damages(place),
        place.filesystem.open(place.path, "rb") as source,
        pq.ParquetFile(source) as file,
    ):
        _require_columns(place, columns, file.schema_arrow.names)
        yield from file.iter_batches(_READ_ROWS, columns=columns, use_threads=False)


@contextmanager
def _damages(location: Location) -> Iterator[None]:
    """Describes errors of reading a file."""
    try:
        yield
    except FileNotFoundError as error:
        raise OutputError(f"output: {location} is missing: {_REMEDY}") from error
    except (pa.ArrowException, OSError) as error:
        # For damaged pages, Arrow raises an OSError without an error number.
        if isinstance(error, OSError) and (error.errno is not None or error.__cause__):
            raise
        raise OutputError(
            f"output: {location} is damaged ({one_line(error)}): {_REMEDY}"
        ) from error


def _require_columns(location: Location, wanted: list[str], there: list[str]) -> None:
    if missing := [name for name in wanted if name not in there]:
        raise OutputError(f"output: {location} has no column {', '.join(missing)}: {_REMEDY}")


def _opened(
    location: Location, columns: list[str] | None, between: Between | None
) -> pa.NativeFile | BinaryIO:
    """A file of features; if the features are read, the whole file, which is little else.

    A range of a local file is not read as a whole; from a store, more requests would cost more.

    Without Arrow's threads, see :mod:`fruits.storage.parquet`.
    """
    most = columns is None or "features" in columns
    if most and not (between and location.is_local):
        return pa.BufferReader(location.filesystem.cat_file(location.path))
    return location.filesystem.open(location.path, "rb")


def scan(
    table: pads.Dataset,
    columns: list[str] | None = None,
    wanted: pc.Expression | None = None,
    rows: int = SCANNED_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Reads a dataset of Parquet files batch by batch and in order, one row group ahead.

    At most two row groups are in memory.

    Args:
        table: a dataset.
        columns: the columns to read; None for all.
        wanted: the filter of rows; None for all.
        rows: the maximum number of rows of a batch.
    """
    # Arrow's own scan of a dataset may read everything ahead of a slow reader, whatever its limits.
    groups = (
        list(group.to_batches(table.schema, columns, wanted, batch_size=rows, use_threads=False))
        for file in table.get_fragments(wanted)
        for group in _again(file).split_by_row_group(wanted, table.schema)
    )
    for batches in one_ahead(groups):
        yield from batches


def _again(file: pads.Fragment) -> pads.Fragment:
    """The same file; a dataset would keep the metadata of all files in memory, 30 kB for each."""
    return file.format.make_fragment(file.path, file.filesystem, file.partition_expression)


def sample_batches(
    table: pads.Dataset, most: int, columns: list[str] | None = None, count: int | None = None
) -> Iterator[pa.RecordBatch]:
    """Samples rows evenly from a dataset, which is read batch by batch.

    Args:
        table: a dataset.
        most: the largest number of rows to return.
        columns: the columns to read; None for all.
        count: the number of rows of the dataset; None if it is not known.

    Yields:
        Batches with at least one row, in the order of the dataset.
    """
    step, before = -(-(table.count_rows() if count is None else count) // most), 0
    for batch in scan(table, columns):
        places = range(-before % step, batch.num_rows, step)
        before += batch.num_rows
        if places:
            yield batch.take(pa.array(places, pa.int64()))


def rows_of_paths(batches: Iterable[pa.RecordBatch], paths: pa.Array) -> pa.Table:
    """The rows with one of some paths, in the order of the batches.

    Arrow hashes all paths again for each filter, so many small batches are filtered together.

    Args:
        batches: rows with the column ``path``; at least one batch.
        paths: the paths of the wanted rows.
    """
    found, waiting, count = [], list[pa.RecordBatch](), 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count >= _FILTERED_ROWS:
            found.append(_with_paths(waiting, paths))
            waiting, count = [], 0
    return pa.concat_tables([*found, *([_with_paths(waiting, paths)] if waiting else [])])


def _with_paths(batches: list[pa.RecordBatch], paths: pa.Array) -> pa.Table:
    rows = pa.Table.from_batches(batches)
    return rows.filter(pc.is_in(rows["path"], paths))


def matrix(column: pa.Array) -> NDArray[np.floating[Any]]:
    """Views an Arrow list array of n rows of d numbers as (n, d), without a copy.

    Raises:
        InputError: there is a null, or rows are empty or differ in length.
    """
    numbers = column.flatten()  # Only of the rows in this slice; null rows have no numbers.
    nulls = column.null_count or numbers.null_count
    if nulls:
        raise InputError(
            f"wanted numbers in every row; got {nulls} nulls: leave out the rejected images"
        )
    lengths = np.diff(column.offsets.to_numpy())
    if len(lengths) == 0:
        return np.empty((0, 0), dtype=np.float32)
    check_widths(int(lengths.min()), int(lengths.max()))
    if lengths[0] == 0:
        raise InputError("wanted numbers in every row; got empty rows: extract them again")
    rows: NDArray[np.floating[Any]] = numbers.to_numpy(zero_copy_only=True)
    return rows.reshape(len(lengths), -1)


def lists(rows: NDArray[np.floating[Any]] | NDArray[np.integer[Any]]) -> pa.Array:
    """Makes an Arrow list array of (n, d) numbers without a copy; the inverse of `matrix`."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(rows.ravel()))


def check_widths(one: int, other: int) -> None:
    """Raises InputError unless two rows have the same number of features."""
    if one != other:
        raise InputError(
            f"wanted rows of one length; got rows of {one} and of {other} numbers: "
            "extract all features with one backbone"
        )
