from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fruits.classify.entries import ENTRIES, divided, entries_of, write_entries
from fruits.features.rows import write_rows
from fruits.sources import parts
from fruits.sources.parts import Parts
from fruits.storage.location import Location

PATHS = [f"file:/x/{number:03}.jpg" for number in range(120)]


def test_tasks_read_all_files_of_entries_at_most_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    place = Location.of(f"file:{tmp_path}")
    columns = [PATHS, ["Fig"] * 120, [n % 3 for n in range(120)], [False] * 120, [1] * 120]
    rows = pa.table(columns, ENTRIES.names).cast(ENTRIES)
    entries = write_entries(Parts.of(rows), place / "entries")
    assert len(entries) == 12

    def files(numbers: list[int], name: str) -> list[Location]:
        made = [place / f"{name}-{n}.parquet" for n in range(2)]
        for file, some in zip(made, np.array_split(numbers, 2), strict=True):
            write_rows(file, pa.table({"path": [PATHS[number] for number in some]}))
        return made

    # Neighbours need a few files, which exist; paths by chance need all, and get a file instead.
    assert divided(files([*range(15, 35)], "near"), entries, place / "new") == entries[1:4]
    chance = np.random.default_rng(0).permutation(120)[:30]
    (own,) = divided(files(chance.tolist(), "far"), entries, place / "new")
    wanted = sorted(PATHS[number] for number in chance)
    assert (own.first, own.last) == (wanted[0], wanted[-1])
    found = entries_of(pa.chunked_array([PATHS]), [own])
    assert found.equals(rows.take(np.sort(chance)))
    # Images that are not for training have no entries.
    write_rows(place / "other.parquet", pa.table({"path": ["file:/a.jpg", "file:/z.jpg"]}))
    assert divided([place / "other.parquet"], entries, place / "none") == []
