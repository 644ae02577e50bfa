"""Values that are shared with tasks do not outlive them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from committed import commit, drop, relabel

from fruits.features.changes import changed_rows
from fruits.features.rows import FEATURES, lists
from fruits.features.writer import FeatureWriter
from fruits.sources.listing import LISTING
from fruits.spark.workers import SparkWorkers
from fruits.tasks import measure_moments
from fruits.tasks.known import known_rows
from fruits.tasks.workers import Workers

Files = Callable[[], set[Path]]


@pytest.fixture
def files(workers: Workers) -> Files:
    """A function that finds the files of shared values."""
    folder = workers.scratch()
    if isinstance(workers, SparkWorkers):
        folder = workers.session.sparkContext._temp_dir
    return lambda: set(Path(folder).iterdir())


def test_no_file_is_left_after_a_task_has_failed(workers: Workers, files: Files) -> None:
    before = files()

    def run() -> None:
        with workers.share([7, 0]) as shared:
            assert len(files() - before) == 1
            assert workers.run(lambda at: shared.value[at], [0], "look") == [7]
            workers.run(lambda at: 1 // shared.value[at], [1], "divide")

    with pytest.raises(Exception, match="by zero"):
        run()
    assert files() == before


def test_tasks_of_a_table_of_features_leave_no_file(
    workers: Workers, files: Files, store: FeatureWriter
) -> None:
    count = 12
    columns = {
        "path": [f"file:/{n:02}.jpg" for n in range(count)],
        "label": ["Fig", "Lime"] * (count // 2),
        "split": [None] * count,
        "sha256": [f"{n:064}" for n in range(count)],
        "length": [1] * count,
        "modified": [0] * count,
        "features": lists(np.ones((count, 2), np.float32)),
    }
    rows = pa.table(columns).cast(FEATURES)
    commit(store, rows, 3)
    before = files()
    measure_moments.moments(workers, store)
    assert measure_moments.moments(workers, store, listing=rows.slice(0, 7)).count == 7
    drop(workers, store, known_rows(workers, store).slice(0, 2))
    listing = rows.set_column(1, "label", pa.array(["Kiwi"] * count)).select(LISTING.names)
    relabel(workers, store, changed_rows(known_rows(workers, store), listing))
    assert store.dataset().to_table()["label"].to_pylist() == ["Kiwi"] * 10
    assert files() == before
