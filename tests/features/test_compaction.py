from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fruits.features import compaction
from fruits.features.compaction import join_files, plan_compactions
from fruits.features.moments import measured_by_label
from fruits.features.moments_file import read_moments, try_merge
from fruits.features.rows import FEATURES, REJECTED, lists, write_rows
from fruits.features.table import THUMBNAILS, THUMBNAILS_FOLDER, FeatureTable, open_features
from fruits.features.writer import FeatureWriter
from fruits.storage.files import replace
from fruits.tasks import compact as tasks
from fruits.tasks.workers import Workers

ROWS = 3


def grow(store: FeatureWriter, number: int) -> None:
    """Commits a few rows, with thumbnails and moments."""
    rng = np.random.default_rng(number)
    rows = pa.table(
        {
            "path": [f"file:/a/{number:04}-{row}.jpg" for row in range(ROWS)],
            "label": [f"label {(number + row) % 5}" for row in range(ROWS)],
            "split": ["train", "test", "train"],
            "sha256": [f"{number:061}{row:03}" for row in range(ROWS)],
            "length": pa.array([1] * ROWS, pa.int64()),
            "modified": pa.array([0] * ROWS, pa.timestamp("us", tz="UTC")),
            "features": lists(rng.standard_normal((ROWS, 4), np.float32)),
        },
        schema=FEATURES,
    )
    name = f"{number:032x}.parquet"
    pictures = pa.table([rows["sha256"], [b"jpeg"] * ROWS], schema=THUMBNAILS)
    write_rows(store.root / THUMBNAILS_FOLDER / name, pictures)
    write_rows(store.staged / name, rows)
    rejected = pa.Table.from_pylist([{"path": f"file:/a/{number}.txt", "error": "x"}], REJECTED)
    chunk = store.commit([name], rejected, [f"engine {number % 2}"])
    replace(store.side_file(chunk.number, "moments"), measured(rows))
    train = rows.filter(pa.array([True, False, True]))
    replace(store.side_file(chunk.number, "train.moments"), measured(train))


def measured(rows: pa.Table) -> bytes:
    columns = rows.select(["label", "features"]).combine_chunks()
    return measured_by_label(iter(columns.to_batches())).to_bytes()


class InThisProcess:
    """Runs tasks one after the other."""

    def run(self, work: Callable[[Any], Any], items: Sequence[Any], description: str) -> list[Any]:
        return [work(item) for item in items]


def compact(store: FeatureWriter) -> int:
    return tasks.compact(cast(Workers, InThisProcess()), store)


def require_all(store: FeatureWriter, commits: int) -> None:
    """Checks that each row, thumbnail and reject exists once, and that the sums match."""
    folder = Path(store.root.path)
    rows = open_features(str(folder.parent)).to_table().sort_by("path")
    assert rows["path"].to_pylist() == [
        f"file:/a/{number:04}-{row}.jpg" for number in range(commits) for row in range(ROWS)
    ]
    # Other programs read the files of the folder directly.
    plain = [pq.read_table(path) for path in folder.glob("*.parquet")]
    assert pa.concat_tables(plain).sort_by("path").equals(rows)
    pictures = sorted(sha for batch in store.thumbnails() for sha in batch["sha256"].to_pylist())
    assert pictures == sorted(rows["sha256"].to_pylist())
    assert sum(rows.num_rows for rows in store.refused()) == commits
    for suffix, own in (("moments", rows), ("train.moments", rows.filter(rows_of_train(rows)))):
        parts = [read_moments(store.side_file(chunk.number, suffix)) for chunk in store.chunks()]
        total = parts[0]
        for part in parts[1:]:
            total = total.merge(part)
        assert total.to_bytes() == measured(own)


def rows_of_train(rows: pa.Table) -> pa.Array:
    return pa.array([split == "train" for split in rows["split"].to_pylist()])


@pytest.mark.slow
def test_compaction_keeps_rows_and_moments_in_few_chunks_and_files(
    store: FeatureWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "MOST_CHUNKS", 8)
    monkeypatch.setattr(compaction, "SMALL_CHUNK", 16_000)
    joined = 0
    for number in range(80):
        grow(store, number)
        joined += compact(store)
    assert joined >= 80
    require_all(store, 80)
    folder = Path(store.root.path)
    assert len(store.chunks()) < 25
    assert len([*(folder / "_chunks").glob("*.json")]) == len(store.chunks())
    assert len([*folder.glob("*.parquet")]) < 40
    assert len([*(folder / "_thumbnails").glob("*.parquet")]) < 40
    assert store.ran() == ["engine 0", "engine 1"]
    # Eight chunks become one.
    assert len(store.chunks()) == 80 - joined + joined // 8
    assert max(chunk.number for chunk in store.chunks()) == 79 + joined // 8


def test_many_chunks_of_one_size_become_several_chunks(
    store: FeatureWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "MOST_CHUNKS", 8)
    monkeypatch.setattr(compaction, "SMALL_CHUNK", 1_000)
    for number in range(20):
        grow(store, number)
    assert compact(store)
    require_all(store, 20)
    assert [len(chunk.files) for chunk in store.chunks()] == [1, 1, 1, 1, 8, 8]


def test_few_chunks_are_not_compacted(store: FeatureWriter) -> None:
    for number in range(compaction.MOST_SMALL - 1):
        grow(store, number)
    before = store.chunks()
    assert not compact(store)
    assert store.chunks() == before


@pytest.mark.parametrize("done", ["files", "moments", "manifest", "rows"])
def test_an_interrupted_compaction_neither_loses_nor_repeats_rows(
    store: FeatureWriter, done: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = compaction.MOST_SMALL
    for number in range(commits):
        grow(store, number)
    (planned,) = plan_compactions(store)
    for join in planned.joins:
        join_files(store.root, join)
    if done != "files":
        for moments in planned.moments:
            try_merge(*moments)
    if done in ("manifest", "rows"):
        staged = [name for name, _ in planned.joins]
        chunk = store.replace_chunks(planned.chunks, [*planned.kept, *staged], staged)
        assert [one.number for one in store.chunks()] == [chunk.number]
    if done == "rows":
        for name in planned.chunks[0].files:
            Path(store.root.path, name).unlink()
    again = FeatureWriter(store.root, store.lock)
    paths = [
        path for file in again.files() for path in pq.read_table(file.path)["path"].to_pylist()
    ]
    assert len(paths) == len(set(paths)) == ROWS * commits
    again.sweep()
    assert not Path(again.staged.path).exists()
    if done in ("files", "moments"):
        assert compact(again)
        require_all(again, commits)
    else:
        assert not compact(again)
        manifests = Path(store.root.path, "_chunks").glob("*.json")
        # The second one is the empty chunk, since there were rows that no manifest named.
        assert sorted(int(path.stem) for path in manifests) == [commits, commits + 1]
        # Its moments are measured again.
        assert not [*Path(store.root.path, "_chunks").glob("*.moments")]


def test_damaged_moments_are_not_joined_but_measured_again(store: FeatureWriter) -> None:
    for number in range(compaction.MOST_SMALL):
        grow(store, number)
    replace(store.side_file(3, "moments"), b"moments2 and no more")
    assert compact(store)
    names = {path.name.partition(".")[2] for path in Path(store.root.path, "_chunks").iterdir()}
    assert names == {"json", "train.moments"}


@pytest.mark.parametrize("replaces", ['"all"', "[9]", "[true]"])
def test_a_manifest_that_replaces_an_invalid_chunk_is_damaged(
    store: FeatureWriter, replaces: str
) -> None:
    grow(store, 0)
    manifest = Path(store.root.path, "_chunks", "000000.json")
    manifest.write_text(manifest.read_text().replace("{", f'{{"replaces": {replaces},', 1))
    with pytest.raises(Exception, match=r"000000.json is damaged .*earlier chunks"):
        FeatureTable(store.root).chunks()
