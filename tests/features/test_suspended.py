"""A run that was suspended may go on after other runs have taken over its lock."""

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fruits.errors import OutputError
from fruits.features import writer
from fruits.features.compaction import MOST_SMALL, commit_compaction, join_files, plan_compactions
from fruits.features.rejects import Rejects
from fruits.features.rows import FEATURES, REJECTED, write_rows
from fruits.features.table import Chunk, FeatureTable
from fruits.features.writer import FeatureWriter
from fruits.storage.files import move, replace
from fruits.storage.location import Location
from fruits.storage.lock import Lock

Action = Callable[[FeatureWriter], object]


def take_over(store: FeatureWriter) -> FeatureWriter:
    """The features for another run, which has found the lock of the last one stale."""
    lock = Lock(store.lock.uri)
    replace(Location.of(lock.uri), lock.bytes())
    return FeatureWriter(store.root, lock)


@pytest.fixture
def store(tmp_path: Path) -> FeatureWriter:
    out = Location.of(f"{tmp_path}/out")
    return take_over(FeatureWriter(out / "features", Lock(f"{out}/_lock")))


def stage(store: FeatureWriter, path: str, label: str | None = None) -> str:
    """Stages a file with one row, and returns its name."""
    name = f"{uuid.uuid4().hex}.parquet"
    rows = pa.Table.from_pylist([{"path": path, "label": label}], FEATURES)
    write_rows(store.staged / name, rows)
    return name


def commit(store: FeatureWriter, path: str, chunk: Chunk | None = None) -> Chunk:
    """Commits one row and one reject."""
    rejected = pa.Table.from_pylist([{"path": path, "error": "damaged"}], REJECTED)
    return store.commit([stage(store, path)], rejected, ["engine"], chunk)


def committed(store: FeatureWriter) -> list[str]:
    """The paths of all rows, which are also those of all rejects, as the next run finds them."""
    store = take_over(store)
    store.sweep()
    rows = [*store.dataset().to_table()["path"].to_pylist()] if store.files() else []
    rejected = [path for rows in store.refused() for path in rows["path"].to_pylist()]
    assert sorted(rows) == sorted(rejected)
    return sorted(rows)


def new_chunk(store: FeatureWriter) -> Action:
    commit(store, "a")
    return lambda store: commit(store, "b")


def longer_chunk(store: FeatureWriter) -> Action:
    commit(store, "0")
    chunk = commit(store, "a")
    return lambda store: commit(store, "b", chunk)


def changed_chunk(store: FeatureWriter) -> Action:
    chunk = commit(store, "a")
    name = stage(store, "a", label="Fig")
    return lambda store: store.replace_chunks([chunk], [name], [name])


def joined_chunks(store: FeatureWriter) -> Action:
    for number in range(MOST_SMALL):
        commit(store, f"a{number}")
    [planned] = plan_compactions(store)
    for join in planned.joins:
        join_files(store.root, join)
    return lambda store: commit_compaction(store, planned)


def nothing(store: FeatureWriter) -> list[str]:
    return []


def same_image(store: FeatureWriter) -> list[str]:
    commit(store, "b")
    return ["b"]


def join_all(store: FeatureWriter) -> list[str]:
    """Grows until the chunks of this run, too, are joined twice."""
    added = []
    for number in range(3 * MOST_SMALL):
        added.append(f"c{number:02}")
        commit(store, added[-1])
        for planned in plan_compactions(store):
            for join in planned.joins:
                join_files(store.root, join)
            commit_compaction(store, planned)
        store.delete_replaced()
    return added


def interrupt(store: FeatureWriter) -> list[str]:
    """Ends before it has committed what it has moved."""
    move([store.staged / stage(store, "b")], store.root)
    return []


REFUSED = r"another run has written .*\d\.json since"

OTHERS = [
    [nothing],
    [nothing, nothing],
    [interrupt, nothing],
    [same_image],
    [join_all],
    [nothing, join_all],
]


@pytest.mark.parametrize("others", OTHERS, ids=lambda all: ", ".join(one.__name__ for one in all))
@pytest.mark.parametrize("work", [new_chunk, longer_chunk, changed_chunk, joined_chunks])
def test_a_late_manifest_does_not_count_and_all_other_features_stay(
    store: FeatureWriter,
    work: Callable[[FeatureWriter], Action],
    others: Sequence[Callable[[FeatureWriter], list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = work(store)
    rows = [*store.dataset().to_table()["path"].to_pylist()]
    require, looks = store.lock.require, iter(range(2))

    def suspended(retry: bool = True) -> None:
        require(retry)
        # The second look is the last one before the manifest is written.
        if next(looks, None) == 1:
            for other in others:
                theirs = take_over(store)
                theirs.sweep()
                rows.extend(other(theirs))

    monkeypatch.setattr(store.lock, "require", suspended)
    # If the number was taken and is free again, the manifest is written, and ignored.
    joined = join_all in others
    with suppress(OutputError) if joined else pytest.raises(OutputError, match=REFUSED):
        late(store)

    assert committed(store) == sorted(rows)


def test_a_late_manifest_does_not_join_the_features_of_a_run_that_overwrites(
    store: FeatureWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, "a")
    require, looks = store.lock.require, iter(range(2))

    def suspended(retry: bool = True) -> None:
        require(retry)
        if next(looks, None) == 1:
            theirs = take_over(store)
            theirs.clear()
            commit(theirs, "c")

    monkeypatch.setattr(store.lock, "require", suspended)
    with pytest.raises(OutputError, match="another run has written"):
        commit(store, "b")
    assert committed(store) == ["c"]


def test_a_manifest_that_arrives_before_the_rows_are_deleted_counts(
    store: FeatureWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, "a")
    create, waiting = writer.create, list[Any]()

    def late(*manifest: Any) -> bool:
        if not waiting:
            waiting.append(manifest)
            take_over(store).sweep()
        elif len(waiting) == 1:
            # The other run takes the number, but the first one is a moment faster.
            waiting.append(create(*waiting[0]))
        return create(*manifest)

    monkeypatch.setattr(writer, "create", late)
    commit(store, "b")
    assert waiting[1:] == [True]
    assert committed(store) == ["a", "b"]


def test_a_suspended_run_deletes_nothing_that_another_run_has_committed(
    store: FeatureWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, "a")
    assert store.chunks()
    paths_in = writer.paths_in

    def late(folder: Location) -> list[str]:
        monkeypatch.undo()
        commit(take_over(store), "b")
        return paths_in(folder)

    monkeypatch.setattr(writer, "paths_in", late)
    with pytest.raises(OutputError, match="this run lost"):
        store.sweep()
    assert committed(store) == ["a", "b"]


def test_an_empty_chunk_is_made_only_if_there_are_rows_without_a_manifest(
    store: FeatureWriter,
) -> None:
    commit(store, "a")
    stage(store, "b")
    before = store.chunks()
    store.sweep()
    assert store.chunks() == before
    interrupt(store)
    store.sweep()
    assert store.chunks() == [*before, Chunk(1, [], Rejects(store.root))]
    store.sweep()
    assert len(store.chunks()) == 2
    assert store.ran() == ["engine"]


def test_a_run_that_lost_its_staged_rows_says_why(
    store: FeatureWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    require = store.lock.require

    def suspended(retry: bool = True) -> None:
        require(retry)
        monkeypatch.undo()
        take_over(store).sweep()

    monkeypatch.setattr(store.lock, "require", suspended)
    with pytest.raises(OutputError, match="this run lost"):
        commit(store, "a")
    assert committed(store) == []


def test_a_reader_finds_the_rows_of_a_chunk_that_is_replaced_meanwhile(
    store: FeatureWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = commit(store, "a")
    reader = FeatureTable(store.root)
    manifests = reader.manifests

    def late() -> list[str]:
        names = manifests()
        monkeypatch.undo()
        commit(store, "b", chunk)
        return names

    monkeypatch.setattr(reader, "manifests", late)
    assert reader.dataset().to_table()["path"].to_pylist() == ["a", "b"]
