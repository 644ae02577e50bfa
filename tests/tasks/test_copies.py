"""Rows of files whose content already has features."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from committed import commit

from fruits.features.rows import FEATURES, lists
from fruits.features.writer import FeatureWriter
from fruits.sources import parts
from fruits.sources.listing import LISTING
from fruits.sources.spread import gather
from fruits.storage.location import Location
from fruits.tasks import copies as copies_module
from fruits.tasks.copies import COPIES, commit_copies, with_contents
from fruits.tasks.known import divided_by_known
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


def committed(store: FeatureWriter, files: int = 3) -> None:
    """Twelve contents in some files, one of them twice, and a photograph with two boxes."""
    names = {f"{n}.jpg": "Fig" for n in range(12)} | {"twin.jpg": "Lime"}
    names |= {f"boxes.jpg{box}": "Plum" for box in BOXES}
    digests = [digest(n) for n in (*range(12), 3)] + [digest(20) + box for box in BOXES]
    x = np.random.default_rng(0).random((15, 4), np.float32)
    x[12] = x[3]
    rows = listed(names).append_column("sha256", pa.array(digests))
    rows = rows.append_column("features", lists(x))
    commit(store, rows.select(FEATURES.names).cast(FEATURES), files)


def commit_all(workers: Workers, store: FeatureWriter, contents: dict[str, str]) -> pd.DataFrame:
    """Commits copies, in several tables; returns all rows by the name of the file."""
    files = listed(dict.fromkeys(contents, "Ficus"))
    by_path = {f"file:/{name}": content for name, content in contents.items()}
    cuts = zip((0, 2, 9), (2, 9, len(contents)), strict=True)
    tables = [with_contents(files.slice(start, end - start), by_path) for start, end in cuts]
    copies = gather(tables, COPIES)
    known = divided_by_known(workers, store, copies)
    commit_copies(workers, store, copies, known)
    assert not list(Path(store.root.path, "_staged").glob("*.parquet"))
    rows = store.dataset().to_table().to_pandas()
    rows["features"] = [row.tobytes() for row in rows["features"]]
    return rows.set_index(rows["path"].str.removeprefix("file:/")).sort_index()


def test_copies_have_the_features_of_their_content(workers: Workers, store: FeatureWriter) -> None:
    committed(store)
    contents = {"new/a.jpg": digest(3), "new/b.jpg": digest(3), "new/c.jpg": digest(11)}
    rows = commit_all(workers, store, contents)
    assert len(rows) == 15 + 3
    for name, content in contents.items():
        assert (rows.loc[name, "label"], rows.loc[name, "sha256"]) == ("Ficus", content)
    first, second, third = (rows.loc[f"new/{n}.jpg", "features"] for n in "abc")
    assert first == second == rows.loc["3.jpg", "features"]
    assert third == rows.loc["11.jpg", "features"]


@pytest.mark.parametrize("files", [3, 15])
def test_the_copy_of_a_photograph_has_all_of_its_boxes(
    workers: Workers, store: FeatureWriter, files: int
) -> None:
    committed(store, files)  # With 15, each box is in another file.
    rows = commit_all(workers, store, {"copy.jpg": digest(20), "0 copy.jpg": digest(0)})
    assert len(rows) == 15 + 2 + 1
    for box in BOXES:
        assert rows.loc[f"copy.jpg{box}", "sha256"] == digest(20) + box
        both = [rows.loc[f"{name}{box}", "features"] for name in ("copy.jpg", "boxes.jpg")]
        assert both[0] == both[1]


def test_each_task_writes_a_few_copies_to_a_file(
    local_workers: LocalWorkers, store: FeatureWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies_module, "ROWS_OF_A_FILE", 3)
    answers: list[list[object]] = []
    run = LocalWorkers.run

    def noted(workers: LocalWorkers, *arguments: Any) -> list[object]:
        answers.append(run(workers, *arguments))
        return answers[-1]

    monkeypatch.setattr(LocalWorkers, "run", noted)
    committed(store)
    contents = {f"new/{n:02}.jpg": digest(n % 12) for n in range(20)}
    assert len(commit_all(local_workers, store, contents)) == 15 + 20
    sizes = [pq.read_metadata(file.path).num_rows for file in store.files()]
    assert sorted(sizes) == sorted([5, 5, 5, 2, 3, 3, 3, 3, 3, 3])
    assert answers == [[None] * 7]  # no features are sent to the driver


class Here:
    """Runs tasks in this process, where their reads are counted."""

    slots = 1

    def __init__(self) -> None:
        self.rows: list[int] = []

    def run(self, work: Callable[[Any], None], items: list[Any], _: str) -> list[None]:
        self.rows.append(sum(named.num_rows for named, *_ in items))
        return [work(item) for item in items]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of each file whose features are read."""
    found: list[str] = []
    read = copies_module.read_rows

    def noted(place: Location, columns: list[str]) -> pa.Table:
        found.append(place.name)
        return read(place, columns)

    monkeypatch.setattr(copies_module, "read_rows", noted)
    return found


def test_tasks_read_each_file_only_for_the_copies_of_its_contents(
    store: FeatureWriter, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies_module, "ROWS_OF_A_FILE", 4)
    committed(store)
    # Neighbours in the listing have their contents in different files; 3 is in two files.
    contents = {f"new/{n:02}.jpg": digest(n * 5 % 12) for n in range(36)}
    rows = commit_all(cast(Workers, Here()), store, contents)
    assert len(rows) == 15 + 36
    for name, content in contents.items():
        assert rows.loc[name, "sha256"] == content
    # Nine tasks; two of them have contents of two files.
    assert len(set(reads)) == 3
    assert len(reads) <= 9 + 2


def test_many_copies_are_committed_together_but_written_in_groups(
    store: FeatureWriter, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(store, files=15)
    before = store.dataset().to_table().to_pandas()
    features = {row["sha256"]: row["features"].tobytes() for _, row in before.iterrows()}
    monkeypatch.setattr(copies_module, "ROWS_OF_A_FILE", 4)
    monkeypatch.setattr(parts, "IN_MEMORY", 10)
    monkeypatch.setattr(parts, "PART_ROWS", 8)
    contents = {f"new/{n:02}.jpg": digest(20 if n % 9 == 4 else n * 5 % 12) for n in range(40)}
    here = Here()
    rows = commit_all(cast(Workers, here), store, contents)
    wanted = {name: content for name, content in contents.items() if content != digest(20)}
    for box in BOXES:
        wanted |= {name + box: digest(20) + box for name in contents.keys() - wanted.keys()}
    new = rows.loc[rows.index.str.startswith("new/"), "sha256"]
    assert new.to_dict() == wanted
    assert all(features[row["sha256"]] == row["features"] for _, row in rows.iterrows())
    assert len(store.chunks()) == 2
    assert sum(here.rows) == 40
    assert max(here.rows) < 20
    # Each content has a few copies, which come together from all groups.
    assert max(Counter(reads).values()) <= 2
