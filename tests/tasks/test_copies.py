"""Rows of files whose content already has features."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from committed import commit
from pyspark.sql import SparkSession

from fruits.features.rows import FEATURES, lists
from fruits.features.writer import FeatureWriter
from fruits.sources.listing import LISTING
from fruits.spark import copies as spark_copies
from fruits.storage.location import Location
from fruits.storage.lock import exclusive
from fruits.tasks import copies as copies_module
from fruits.tasks.copies import Copies, commit_copies
from fruits.tasks.known import known_parts
from fruits.tasks.local import LocalWorkers
from fruits.tasks.workers import Workers

BOXES = ("#xywh=0,0,5,5", "#xywh=5,5,9,9")


def digest(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" * 4


def listed(names: dict[str, str]) -> pa.Table:
    """Files by name, each with its label."""
    count = len(names)
    columns = {
        "path": [f"file:/{name}" for name in names],
        "label": [*names.values()],
        "split": [None] * count,
        "length": [*range(count)],
        "modified": [7_000_000] * count,
    }
    return pa.table(columns).select(LISTING.names).cast(LISTING)


def committed(store: FeatureWriter) -> None:
    """Twelve contents in three files, one of them twice, and a photograph with two boxes."""
    names = {f"{n}.jpg": "Fig" for n in range(12)} | {"twin.jpg": "Lime"}
    names |= {f"boxes.jpg{box}": "Plum" for box in BOXES}
    digests = [digest(n) for n in (*range(12), 3)] + [digest(20) + box for box in BOXES]
    x = np.random.default_rng(0).random((15, 4), np.float32)
    x[12] = x[3]
    rows = listed(names).append_column("sha256", pa.array(digests))
    rows = rows.append_column("features", lists(x))
    commit(store, rows.select(FEATURES.names).cast(FEATURES), files=3)


@pytest.fixture
def commit_here(tmp_path: Path) -> Iterator[Callable[..., pd.DataFrame]]:
    """A function that commits copies of some contents, and returns all rows."""
    with LocalWorkers(2) as workers:

        def work(name: str, found: dict[str, str], how: Callable[..., None]) -> pd.DataFrame:
            root = f"{tmp_path}/{name}"
            with exclusive(f"file:{root}/_lock") as lock:
                store = FeatureWriter(f"file:{root}/features", lock)
                committed(store)
                copies = Copies(store)
                files = listed(dict.fromkeys(found, "Ficus"))
                for part in (files.slice(0, 2), files.slice(2)):
                    paths = part["path"].to_pylist()
                    copies.add(part, {path: found[path.removeprefix("file:/")] for path in paths})
                how(workers, store, copies)
                assert not list(Path(root, "features", "_staged").glob("*.parquet"))
            rows = pd.read_parquet(f"{root}/features").sort_values("path", ignore_index=True)
            return rows.assign(features=[row.tobytes() for row in rows["features"]])

        yield work


def locally(workers: LocalWorkers, store: FeatureWriter, copies: Copies) -> None:
    commit_copies(workers, store, copies, [*known_parts(workers, store, ())])


def test_copies_have_the_features_of_their_content(
    commit_here: Callable[..., pd.DataFrame],
) -> None:
    contents = {"new/a.jpg": digest(3), "new/b.jpg": digest(3), "new/c.jpg": digest(11)}
    rows = commit_here("out", contents, locally).set_index("path")
    assert len(rows) == 15 + 3
    for name, content in contents.items():
        row = rows.loc[f"file:/{name}"]
        assert (row["label"], row["sha256"]) == ("Ficus", content)
    first, second, third = (rows.loc[f"file:/new/{n}.jpg", "features"] for n in "abc")
    assert first == second == rows.loc["file:/3.jpg", "features"]
    assert third == rows.loc["file:/11.jpg", "features"]


def test_the_copy_of_a_photograph_has_all_of_its_boxes(
    commit_here: Callable[..., pd.DataFrame],
) -> None:
    rows = commit_here("out", {"copy.jpg": digest(20)}, locally).set_index("path")
    assert len(rows) == 15 + 2
    for box in BOXES:
        assert rows.loc[f"file:/copy.jpg{box}", "sha256"] == digest(20) + box
        both = [rows.loc[f"file:/{name}{box}", "features"] for name in ("copy.jpg", "boxes.jpg")]
        assert both[0] == both[1]


def test_each_task_writes_a_few_copies_to_a_file(
    commit_here: Callable[..., pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies_module, "ROWS_OF_A_FILE", 3)
    answers: list[list[object]] = []
    run = LocalWorkers.run

    def noted(workers: LocalWorkers, *arguments: Any) -> list[object]:
        answers.append(run(workers, *arguments))
        return answers[-1]

    monkeypatch.setattr(LocalWorkers, "run", noted)
    contents = {f"new/{n:02}.jpg": digest(n % 12) for n in range(20)}
    assert len(commit_here("out", contents, locally)) == 15 + 20
    files = (tmp_path / "out/features").glob("*.parquet")
    sizes = [pq.read_metadata(file).num_rows for file in files]
    assert sorted(sizes) == sorted([5, 5, 5, 2, 3, 3, 3, 3, 3, 3])
    assert answers == [[None] * 7]  # no features are sent to the driver


def test_tasks_read_each_file_only_for_the_copies_of_its_contents(
    commit_here: Callable[..., pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies_module, "ROWS_OF_A_FILE", 4)
    reads: list[str] = []
    read = copies_module.read_rows

    def counted(place: Location, columns: list[str]) -> pa.Table:
        reads.extend([place.name] if "features" in columns else [])
        return read(place, columns)

    class Here:
        """Runs tasks in this process, where their reads are counted."""

        def run(self, work: Callable[[Any], None], items: list[Any], _: str) -> list[None]:
            return [work(item) for item in items]

    def here(workers: LocalWorkers, store: FeatureWriter, copies: Copies) -> None:
        known = [*known_parts(workers, store, ())]
        monkeypatch.setattr(copies_module, "read_rows", counted)
        commit_copies(cast(Workers, Here()), store, copies, known)

    # Neighbours in the listing have their contents in different files; 3 is in two files.
    contents = {f"new/{n:02}.jpg": digest(n * 5 % 12) for n in range(36)}
    rows = commit_here("out", contents, here).set_index("path")
    assert len(rows) == 15 + 36
    for name, content in contents.items():
        assert rows.loc[f"file:/{name}", "sha256"] == content
    # Nine tasks; two of them have contents of two files.
    assert len(set(reads)) == 3
    assert len(reads) <= 9 + 2


@pytest.mark.spark
def test_spark_sorts_and_writes_only_the_features_of_the_copies(
    spark: SparkSession,
    commit_here: Callable[..., pd.DataFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spark_copies, "ROWS_OF_A_FILE", 5)
    plans = []

    def by_spark(_: LocalWorkers, store: FeatureWriter, copies: Copies) -> None:
        named = spark_copies.read_parquet(spark, *copies.staged)
        rows = spark_copies._rows(spark, store, named)
        plans.append(rows._jdf.queryExecution().optimizedPlan().toString())
        spark_copies.commit_copies(spark, store, copies)

    contents = {f"new/{n:02}.jpg": digest(n % 12) for n in range(20)}
    assert len(commit_here("out", contents, by_spark)) == 15 + 20
    files = (tmp_path / "out/features").glob("*.parquet")
    sizes = [pq.read_metadata(file).num_rows for file in files]
    assert len(sizes) > 3 + 2
    assert max(sizes) <= 10
    # A plan is read from its end: the rows are selected before their contents are compared.
    assert 0 < plans[0].index("Aggregate") < plans[0].index("LeftSemi")


@pytest.mark.spark
def test_local_workers_commit_the_same_rows_as_spark(
    spark: SparkSession, commit_here: Callable[..., pd.DataFrame]
) -> None:
    def by_spark(_: LocalWorkers, store: FeatureWriter, copies: Copies) -> None:
        spark_copies.commit_copies(spark, store, copies)

    contents = {f"new/{n}.jpg": digest(n) for n in (0, 3, 7, 20)} | {"more.jpg": digest(20)}
    ours, theirs = commit_here("a", contents, locally), commit_here("b", contents, by_spark)
    pd.testing.assert_frame_equal(ours, theirs)
    assert len(ours) == 15 + 3 + 4
