from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from committed import commit

from fruits.features.rows import FEATURES, lists, read_rows
from fruits.features.writer import FeatureWriter
from fruits.folds.row_actions import ADD, ENTRIES, SUBTRACT
from fruits.sources import parts
from fruits.sources.parts import Parts
from fruits.sources.spread import Spread
from fruits.storage.location import Location
from fruits.tasks.row_actions_by_file import entries_by_file
from fruits.tasks.workers import Workers

ROWS = 240
PATHS = [f"file:/x/{number:03}.jpg" for number in range(ROWS)]


@pytest.fixture
def shuffled(store: FeatureWriter) -> FeatureWriter:
    """Twelve files of twenty rows, each with paths of the whole range."""
    columns = {
        "path": PATHS,
        "label": ["Fig"] * ROWS,
        "split": pa.nulls(ROWS, pa.string()),
        "sha256": ["00" * 32] * ROWS,
        "length": [10] * ROWS,
        "modified": pa.array([0] * ROWS, pa.timestamp("us", tz="UTC")),
        "features": lists(np.zeros((ROWS, 2), np.float32)),
    }
    rows = pa.table(columns, FEATURES).take(np.random.default_rng(0).permutation(ROWS))
    commit(store, rows.slice(0, 160), 8)
    commit(store, rows.slice(160), 4)
    return store


def entries_for(paths: list[str], bounds: list[str]) -> Parts:
    """Two entries for each path, like those of an image whose fold changes."""
    both = [(path, sign) for path in paths for sign in (ADD, SUBTRACT)]
    columns = {
        "path": [path for path, _ in both],
        "label": ["Fig"] * len(both),
        "fold": [n % 3 for n in range(len(both))],
        "scored": [False] * len(both),
        "sign": [sign for _, sign in both],
    }
    spread = Spread(ENTRIES, bounds)
    spread.add(pa.table(columns, ENTRIES))
    return spread.parts()


@pytest.mark.parametrize("in_memory", [1000, 50])
def test_each_file_of_features_finds_its_entries_in_one_file(
    workers: Workers,
    shuffled: FeatureWriter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_memory: int,
) -> None:
    monkeypatch.setattr(parts, "IN_MEMORY", in_memory)
    monkeypatch.setattr(parts, "PART_ROWS", 100)
    place = Location.of(f"file:{tmp_path}/entries")
    # The last path has no features.
    entries = entries_for([*PATHS, "file:/y.jpg"], [] if in_memory == 1000 else PATHS[60::60])

    found = entries_by_file(workers, shuffled, entries, place)

    every = entries.table()
    assert sorted(found) == sorted(file.name for file in shuffled.files())
    for file in shuffled.files():
        own = read_rows(found[file.name], [*ENTRIES.names, "file"])
        own = own.filter(pc.equal(own["file"], file.name)).drop_columns(["file"])
        of_file = every.filter(pc.is_in(every["path"], read_rows(file, ["path"])["path"]))
        assert own.num_rows == 40
        order = [("path", "ascending"), ("sign", "ascending")]
        assert own.sort_by(order).equals(of_file.sort_by(order))
    # Every entry is written once, and a task reads only a part of them.
    written = [read_rows(target, ["path"]).num_rows for target in set(found.values())]
    assert sum(written) == 2 * ROWS
    assert len(written) == (1 if in_memory == 1000 else 5)
    assert max(written) <= (2 * ROWS if in_memory == 1000 else 3 * 40)


def test_files_without_entries_are_not_among_them(
    workers: Workers, shuffled: FeatureWriter, tmp_path: Path
) -> None:
    place = Location.of(f"file:{tmp_path}/entries")
    file = shuffled.files()[3]
    paths = read_rows(file, ["path"])["path"].to_pylist()

    found = entries_by_file(workers, shuffled, entries_for(paths[:3], PATHS[60::60]), place)

    assert list(found) == [file.name]
    assert read_rows(found[file.name], ["path"])["path"].to_pylist() == sorted(paths[:3] * 2)
    assert entries_by_file(workers, shuffled, entries_for([], []), place) == {}
