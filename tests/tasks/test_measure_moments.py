from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from committed import ROWS, commit, drop, expected, features_of, kept, labelled_rows, staged

from fruits.features.moments import Moments
from fruits.features.writer import FeatureWriter
from fruits.tasks import measure_moments, merge_moments
from fruits.tasks.known import known_rows
from fruits.tasks.workers import Workers


@pytest.fixture
def rows() -> pa.Table:
    return labelled_rows()


def test_moments_of_an_earlier_version_are_measured_together(
    workers: Workers, store: FeatureWriter, rows: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_moments, "MERGED", 2)
    for number in range(7):
        commit(store, rows.slice(number * 18, 18), 1)
    measure_moments.moments(workers, store)
    for file in Path(store.uri.removeprefix("file:"), "_chunks").glob("*.moments"):
        file.write_bytes(b"moments1" + file.read_bytes()[8:])
    asked: list[str] = []
    run = workers.run

    def counted(work: Any, items: Any, what: str) -> Any:
        asked.append(what)
        return run(work, items, what)

    monkeypatch.setattr(workers, "run", counted)
    assert measure_moments.moments(workers, store).to_bytes() == expected(rows)
    assert [what for what in asked if "moments of" in what] == ["fit: moments of 7 chunks"]
    assert staged(store) == []


@pytest.mark.parametrize("files", [[1], [17], [5, 1, 9]])
def test_moments_do_not_depend_on_files_and_chunks(
    workers: Workers, store: FeatureWriter, rows: pa.Table, files: list[int]
) -> None:
    shuffled = rows.take(np.random.default_rng(len(files)).permutation(ROWS))
    for number, count in enumerate(files):
        commit(store, shuffled.slice(number * ROWS // len(files), ROWS // len(files)), count)

    assert measure_moments.moments(workers, store).to_bytes() == expected(rows)
    assert list(kept(store)) == [f"{number:06}.moments" for number in range(len(files))]
    assert staged(store) == []


@pytest.mark.parametrize("damaged", [False, True])
def test_many_moments_are_merged_in_a_tree_to_the_same_bits(
    workers: Workers,
    store: FeatureWriter,
    rows: pa.Table,
    monkeypatch: pytest.MonkeyPatch,
    damaged: bool,
) -> None:
    monkeypatch.setattr(merge_moments, "MERGED", 2)
    for number in range(7):
        commit(store, rows.slice(number * 18, 18), 1)
    assert measure_moments.moments(workers, store).to_bytes() == expected(rows)
    if damaged:
        file = Path(store.uri.removeprefix("file:"), "_chunks", "000004.moments")
        file.write_bytes(file.read_bytes()[:-1])
    assert measure_moments.moments(workers, store).to_bytes() == expected(rows)
    some = rows.slice(0, 50)
    assert measure_moments.moments(workers, store, listing=some).to_bytes() == expected(some)
    assert list(kept(store)) == [f"{number:06}.moments" for number in range(7)]
    assert staged(store) == []


def test_each_side_of_the_split_has_moments_that_are_kept(
    workers: Workers, store: FeatureWriter, rows: pa.Table
) -> None:
    commit(store, rows.slice(0, 70), 9)
    commit(store, rows.slice(70), 2)

    for side in ("train", "test", "validation"):
        own = rows.filter(pc.equal(rows["split"], side))
        assert measure_moments.moments(workers, store, side).count == own.num_rows
        if own.num_rows:
            assert measure_moments.moments(workers, store, side).to_bytes() == expected(own)
    before = kept(store)
    assert sorted(before) == [
        f"{number:06}.{side}.moments"
        for number in range(2)
        for side in ("test", "train", "validation")
    ]
    measure_moments.moments(workers, store, "train")
    assert kept(store) == before


def test_moments_of_some_files_of_one_side_are_not_kept(
    workers: Workers, store: FeatureWriter, rows: pa.Table
) -> None:
    commit(store, rows, 3)
    some = rows.slice(10, 50)
    own = some.filter(pc.equal(some["split"], "train"))

    moments = measure_moments.moments(workers, store, "train", listing=some.select(["path"]))

    assert moments.to_bytes() == expected(own)
    assert kept(store) == {}
    assert staged(store) == []


def test_moments_without_sums_of_labels_have_the_same_bits_for_all_rows(
    workers: Workers, store: FeatureWriter, rows: pa.Table
) -> None:
    commit(store, rows.slice(0, 40), 3)
    commit(store, rows.slice(40), 2)

    for side in (None, "train"):
        own = rows if side is None else rows.filter(pc.equal(rows["split"], side))
        plain = measure_moments.moments(workers, store, side, by_label=False)
        assert plain.to_bytes() == Moments.of(features_of(own)).to_bytes()
        by_label = measure_moments.moments(workers, store, side)
        assert by_label.to_bytes() == expected(own)
        assert by_label.scatter.tobytes() == plain.scatter.tobytes()
        assert by_label.maximum.tobytes() == plain.maximum.tobytes()

    before = kept(store)
    assert len(before) == 8
    assert {"000000.moments", "000000.unlabelled.moments", "000001.train.unlabelled.moments"} <= {
        *before
    }
    stale = known_rows(workers, store).take([*range(0, 120, 7)])
    drop(workers, store, stale)
    left = rows.filter(pc.invert(pc.is_in(rows["path"], stale["path"])))
    before = kept(store)
    assert len(before) == 8
    for side in (None, "train"):
        own = left if side is None else left.filter(pc.equal(left["split"], side))
        plain = measure_moments.moments(workers, store, side, by_label=False)
        assert plain.to_bytes() == Moments.of(features_of(own)).to_bytes()
        assert measure_moments.moments(workers, store, side).to_bytes() == expected(own)
    assert kept(store) == before  # nothing was measured again
