from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from committed import ROWS, commit, drop, expected, kept, labelled_rows, relabel, staged

from fruits.errors import OutputError
from fruits.features.changes import changed_rows
from fruits.features.rows import FEATURES, lists, read_rows, write_rows
from fruits.features.table import THUMBNAILS, THUMBNAILS_FOLDER
from fruits.features.writer import FeatureWriter
from fruits.sources.listing import IDENTITY
from fruits.storage.files import replace
from fruits.storage.location import Location
from fruits.storage.lock import Lock
from fruits.tasks import measure_moments
from fruits.tasks.known import known_rows
from fruits.tasks.workers import Workers


@pytest.fixture
def rows() -> pa.Table:
    return labelled_rows()


@pytest.mark.parametrize(
    "gone",
    [[3], [0, 1, 2, 60, 119], [n for n in range(ROWS) if n % 4 == 1], list(range(10, 30))],
    ids=["one", "some", "a label", "neighbours"],
)
def test_subtracting_what_is_dropped_gives_the_bits_of_measuring_the_rest(
    workers: Workers, store: FeatureWriter, rows: pa.Table, gone: list[int]
) -> None:
    commit(store, rows.slice(0, 50), 7)
    commit(store, rows.slice(50), 3)
    sides = [None, "train"]
    for side in sides:
        measure_moments.moments(workers, store, side)
    known = known_rows(workers, store)
    paths = rows["path"].take(gone)

    drop(workers, store, known.filter(pc.is_in(known["path"], paths)))

    before = kept(store)
    left = rows.filter(pc.invert(pc.is_in(rows["path"], paths)))
    for side in sides:
        own = left if side is None else left.filter(pc.equal(left["split"], side))
        assert measure_moments.moments(workers, store, side).to_bytes() == expected(own)
    assert kept(store) == before  # nothing was measured again
    assert len(before) == 4
    assert staged(store) == []


def with_versions(rows: pa.Table, count: int) -> pa.Table:
    """The rows, followed by other versions of the first ones."""
    new = rows.slice(0, count).set_column(4, "length", pa.array([11] * count))
    x = np.random.default_rng(4).normal(size=(count, 6)).astype(np.float32)
    return pa.concat_tables([rows, new.set_column(6, "features", lists(x)).cast(FEATURES)])


def test_one_of_two_versions_of_an_image_in_a_file_is_dropped(
    workers: Workers, store: FeatureWriter, rows: pa.Table
) -> None:
    both = with_versions(rows, 12)
    commit(store, both, 1)
    measure_moments.moments(workers, store)

    drop(workers, store, known_rows(workers, store).slice(0, 12))

    before = kept(store)
    left = both.slice(12)
    assert store.dataset().to_table().to_pylist() == left.to_pylist()
    assert measure_moments.moments(workers, store).to_bytes() == expected(left)
    assert kept(store) == before  # nothing was measured again


def test_one_of_two_versions_of_an_image_gets_another_label(
    workers: Workers, store: FeatureWriter, rows: pa.Table
) -> None:
    both = with_versions(rows, 12)
    commit(store, both, 1)
    listing = both.slice(12).set_column(1, "label", pa.array(["Plum"] * ROWS))

    relabel(workers, store, changed_rows(known_rows(workers, store), listing))

    labels = rows["label"].slice(0, 12).to_pylist() + ["Plum"] * ROWS
    assert store.dataset().to_table()["label"].to_pylist() == labels


def test_a_chunk_that_loses_most_of_its_rows_is_measured_again(
    workers: Workers, store: FeatureWriter, rows: pa.Table
) -> None:
    commit(store, rows.slice(0, 40), 2)
    commit(store, rows.slice(40), 2)
    measure_moments.moments(workers, store)
    known = known_rows(workers, store)

    drop(workers, store, known.filter(pc.is_in(known["path"], rows["path"].slice(0, 40))))

    assert list(kept(store)) == ["000001.moments"]
    assert measure_moments.moments(workers, store).to_bytes() == expected(rows.slice(40))


def test_removed_images_need_no_features_of_files_without_their_labels(
    workers: Workers, store: FeatureWriter, rows: pa.Table
) -> None:
    by_label = rows.sort_by("label")
    commit(store, by_label, 4)
    measure_moments.moments(workers, store)
    damage_features(Path(store.files()[2].path))
    known = known_rows(workers, store)
    gone = by_label["path"].slice(0, 2)

    drop(workers, store, known.filter(pc.is_in(known["path"], gone)))

    assert list(kept(store)) == ["000001.moments"]
    assert measure_moments.moments(workers, store).to_bytes() == expected(by_label.slice(2))


def damage_features(file: Path) -> None:
    """Makes the features of a file unreadable, but no other column."""
    group = pq.read_metadata(file).row_group(0)
    column = next(
        one
        for one in map(group.column, range(group.num_columns))
        if one.path_in_schema.startswith("features")
    )
    content = bytearray(file.read_bytes())
    start = column.data_page_offset
    content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    file.write_bytes(content)
    with pytest.raises(OutputError, match="damaged"):
        read_rows(Location.of(str(file)), ["features"])
    assert read_rows(Location.of(str(file)), ["label"]).num_rows


def test_damaged_moments_are_not_subtracted_from(
    workers: Workers, store: FeatureWriter, rows: pa.Table
) -> None:
    commit(store, rows, 2)
    measure_moments.moments(workers, store)
    Path(store.side_file(0, "moments").path).write_bytes(b"moments2 and no more")
    known = known_rows(workers, store)

    drop(workers, store, known.filter(pc.equal(known["path"], "file:/x/007.jpg")))

    assert kept(store) == {}
    assert measure_moments.moments(workers, store).count == ROWS - 1


@pytest.mark.parametrize("when", ["moments", "files"])
def test_a_drop_that_is_interrupted_leaves_no_wrong_moments(
    workers: Workers,
    store: FeatureWriter,
    rows: pa.Table,
    when: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commit(store, rows, 6)
    measure_moments.moments(workers, store)
    known = known_rows(workers, store)
    stale = known.filter(pc.is_in(known["path"], rows["path"].slice(30, 20)))
    calls: list[str] = []
    run = workers.run

    def interrupted(work: Any, items: list[Any], what: str) -> list[Any]:
        calls.append(what)
        if len(calls) == 2:
            run(work, items[:1], what)
        if len(calls) == (1 if when == "moments" else 2):
            raise KeyboardInterrupt
        return run(work, items, what)

    monkeypatch.setattr(workers, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        drop(workers, store, stale)
    monkeypatch.undo()

    there = store.dataset().to_table().sort_by("path")
    assert measure_moments.moments(workers, store).to_bytes() == expected(there)
    store.sweep()
    drop(workers, store, stale)
    left = rows.filter(pc.invert(pc.is_in(rows["path"], stale["path"])))
    assert measure_moments.moments(workers, store).to_bytes() == expected(left)


def test_a_run_that_lost_its_lock_drops_and_relabels_no_rows(
    workers: Workers, store: FeatureWriter, rows: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, rows, 3)
    before = measure_moments.moments(workers, store).to_bytes()
    known = known_rows(workers, store)
    run = workers.run

    def late(*job: Any) -> list[Any]:
        replace(Location.of(store.lock.uri), Lock(store.lock.uri).bytes())
        return run(*job)

    monkeypatch.setattr(workers, "run", late)
    plums = rows.set_column(1, "label", pa.array(["Plum"] * ROWS))
    for work in (
        lambda: drop(workers, store, known.slice(0, 12)),
        lambda: relabel(workers, store, changed_rows(known, plums)),
    ):
        with pytest.raises(OutputError, match="this run lost"):
            work()
        replace(Location.of(store.lock.uri), store.lock.bytes())
    monkeypatch.undo()

    again = FeatureWriter(store.root, store.lock)
    again.sweep()
    assert again.dataset().to_table().to_pylist() == rows.to_pylist()
    assert measure_moments.moments(workers, again).to_bytes() == before


def test_rows_that_are_written_again_keep_their_thumbnails(
    workers: Workers, store: FeatureWriter, rows: pa.Table
) -> None:
    commit(store, rows, 2)
    pictures = pa.table([rows["sha256"].slice(0, 1), [b"jpeg"]], schema=THUMBNAILS)
    write_rows(store.root / THUMBNAILS_FOLDER / store.files()[0].name, pictures)

    drop(workers, store, known_rows(workers, store).slice(0, 1))

    assert pa.Table.from_batches(store.thumbnails()).equals(pictures)
    assert len([*Path(store.root.path, THUMBNAILS_FOLDER).iterdir()]) == 1
    assert len([*Path(store.root.path).glob("*.parquet")]) == 2


def test_rows_get_the_label_and_the_split_of_the_listing(
    workers: Workers, store: FeatureWriter, rows: pa.Table
) -> None:
    for start in range(0, ROWS, 40):
        commit(store, rows.slice(start, 40), 2)
    for side in (None, "train"):
        measure_moments.moments(workers, store, side)
    labels, splits = rows["label"].to_pylist(), rows["split"].to_pylist()
    labels[3], labels[5], splits[5], splits[6] = "Plum", None, None, "validation"
    listing = rows.set_column(1, "label", pa.array(labels, pa.string()))
    listing = listing.set_column(2, "split", pa.array(splits, pa.string()))
    listing = listing.select([*IDENTITY, "label", "split"])
    # Rows that are not listed, or whose file has changed, stay the same.
    other = listing.slice(50, 1).set_column(3, "label", pa.array(["Plum"]))
    other = other.set_column(1, "length", pa.array([11]))

    changed = changed_rows(
        known_rows(workers, store), pa.concat_tables([listing.slice(0, 50), other])
    )
    relabel(workers, store, changed)

    assert changed.num_rows == 3
    assert sorted(kept(store)) == [
        f"{number:06}.{name}" for number in (1, 2) for name in ("moments", "train.moments")
    ]
    now = store.dataset().to_table().sort_by("path")
    assert now["label"].to_pylist() == labels
    assert now["split"].to_pylist() == splits
    for name in ("sha256", "length", "modified", "features"):
        assert now[name].to_pylist() == rows[name].to_pylist()
    assert measure_moments.moments(workers, store).to_bytes() == expected(now)
    assert changed_rows(known_rows(workers, store), listing).num_rows == 0


def test_files_of_earlier_versions_get_a_split(
    workers: Workers, store: FeatureWriter, rows: pa.Table
) -> None:
    commit(store, rows, 1)
    pq.write_table(rows.drop_columns(["split"]), store.files()[0].path)
    assert measure_moments.moments(workers, store, "train").count == 0

    changed = changed_rows(known_rows(workers, store), rows)
    relabel(workers, store, changed)

    assert changed.num_rows == ROWS - rows["split"].null_count
    assert pq.read_schema(store.files()[0].path).names == FEATURES.names
    own = rows.filter(pc.equal(rows["split"], "train"))
    assert measure_moments.moments(workers, store, "train").to_bytes() == expected(own)
