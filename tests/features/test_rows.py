"""Tables that are read batch by batch."""

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from fruits.features import rows
from fruits.features.rows import SCANNED_ROWS, read_rows, scan, write_rows
from fruits.storage.location import Location

FILES, ROWS = 20, 40_000


@pytest.fixture
def table(tmp_path: Path) -> pads.Dataset:
    """Files of 2.6 MB each in memory, with three row groups."""
    for number in range(FILES):
        digests = [f"{number * ROWS + row:064}" for row in range(ROWS)]
        labels = ["Fig" if row % 2 else "Lime" for row in range(ROWS)]
        made = pa.table({"sha256": digests, "label": labels})
        write_rows(Location.of(f"{tmp_path}/{number:02}.parquet"), made)
    return pads.dataset(sorted(map(str, tmp_path.iterdir())), format="parquet")


def test_a_slow_reader_does_not_fill_the_memory(table: pads.Dataset) -> None:
    before = pa.total_allocated_bytes()
    batches = scan(table, ["sha256"])
    next(batches)
    time.sleep(0.5)  # Meanwhile, a scan without limits would read all files.
    most = 0
    for _ in batches:
        most = max(most, pa.total_allocated_bytes() - before)
    # Two row groups, and the compressed pages of one.
    assert 0 < most < 4 * 64 * SCANNED_ROWS


def test_all_rows_are_read_in_order_and_in_batches_of_limited_size(table: pads.Dataset) -> None:
    rows, sizes = [], []
    for batch in scan(table):
        rows.append(batch)
        sizes.append(batch.num_rows)
    assert max(sizes) <= SCANNED_ROWS
    assert pa.Table.from_batches(rows).equals(table.to_table())
    some = pa.Table.from_batches(scan(table, ["sha256"], pc.field("label") == "Fig", 100))
    assert some.equals(table.to_table(columns=["sha256"], filter=pc.field("label") == "Fig"))


def test_row_groups_are_as_small_as_batches(table: pads.Dataset) -> None:
    metadata = pq.read_metadata(table.files[0])
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert groups == [SCANNED_ROWS, SCANNED_ROWS, ROWS - 2 * SCANNED_ROWS]


def test_rows_with_some_paths_are_found_in_many_small_batches_with_few_filters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = pa.table({"path": [f"{n:04}.jpg" for n in range(1000)], "n": range(1000)})
    paths = pa.array([f"{n:04}.jpg" for n in (999, 3, 500, 2000)])
    filters = 0
    is_in = pc.is_in

    def counted(*arguments: Any) -> Any:
        nonlocal filters
        filters += 1
        return is_in(*arguments)

    monkeypatch.setattr(rows, "_FILTERED_ROWS", 300)
    monkeypatch.setattr(rows.pc, "is_in", counted)
    found = rows.rows_of_paths(table.to_batches(max_chunksize=7), paths)
    assert found["n"].to_pylist() == [3, 500, 999]
    assert filters == 4


@pytest.mark.parametrize(
    ("first", "end", "groups"),
    [
        (None, None, [0, 1, 2, 3, 4]),
        (None, "é20", [0, 1]),
        ("é19", "é21", [1, 2]),
        ("é30", "é31", [3]),
        ("é45", None, [4]),
        ("é9", None, []),
    ],
)
def test_a_range_of_paths_is_read_from_the_row_groups_that_have_it(
    tmp_path: Path, first: str | None, end: str | None, groups: list[int]
) -> None:
    paths = [f"é{number:02}" for number in range(50)]
    place = tmp_path / "rows.parquet"
    write_rows(Location.of(str(place)), pa.table({"path": paths, "split": ["train"] * 50}), 10)
    content = bytearray(place.read_bytes())
    for number in {*range(5)} - {*groups}:
        column = pq.read_metadata(place).row_group(number).column(0)
        start = column.dictionary_page_offset or column.data_page_offset
        content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    place.write_bytes(content)
    wanted = [p for p in paths if (first is None or p >= first) and (end is None or p < end)]
    assert read_rows(Location.of(str(place)), between=(first, end))["path"].to_pylist() == wanted
