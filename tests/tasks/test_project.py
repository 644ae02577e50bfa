from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from committed import drop, relabel

from fruits.classify.fit import Discriminant
from fruits.classify.rows import PREDICTIONS, TablePredictor
from fruits.features.changes import changed_rows
from fruits.features.moments import Moments
from fruits.features.rows import FEATURES, REJECTED, lists, write_rows
from fruits.features.writer import FeatureWriter
from fruits.reduction.fit import Reduction, fit_reduction
from fruits.storage.location import Location
from fruits.storage.lock import exclusive
from fruits.tasks import merge_sorted
from fruits.tasks import path_ranges as ranges
from fruits.tasks.known import known_rows
from fruits.tasks.path_ranges import Earlier, Range, Sorted
from fruits.tasks.project import DIGESTS, SCORES_FOLDER, project
from fruits.tasks.workers import Workers

ROWS = 200


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fruits.tasks.project.TASK_FILES", 2)
    monkeypatch.setattr(ranges, "ROWS_OF_A_FILE", 24)
    monkeypatch.setattr(ranges, "ROWS_OF_A_SAMPLE", 4)


@pytest.fixture
def features() -> pa.Table:
    rng = np.random.default_rng(5)
    # Capitals, accents and characters above 16 bits, because the order is that of code points.
    letters = ["A", "a", "é", "\ufb01", "\U0001f34e"]
    columns = {
        "path": [f"file:/x/{letters[n % 5]}/{n}.jpg" for n in range(ROWS)],
        "label": [letters[n % 5] if n % 7 else None for n in range(ROWS)],
        "split": [[None, "train", "test"][n % 3] for n in range(ROWS)],
        "sha256": ["00" * 32] * ROWS,
        "length": [1] * ROWS,
        "modified": pa.array([0] * ROWS, pa.timestamp("us", tz="UTC")),
        "features": lists(rng.normal(size=(ROWS, 6)).astype(np.float32)),
    }
    return pa.table(columns, FEATURES)


@pytest.fixture
def reduction(features: pa.Table) -> Reduction:
    x = np.array(features["features"].to_pylist(), np.float32)
    return fit_reduction(Moments.of(x), "minmax", 3)


def commit(store: FeatureWriter, rows: pa.Table, sizes: list[int]) -> None:
    """Commits rows as files of these sizes, three files at a time."""
    names = []
    for number, size in enumerate(sizes):
        names.append(f"{len(store.files())}-{number}.parquet")
        write_rows(store.staged / names[-1], rows.slice(sum(sizes[:number]), size))
        if len(names) == 3 or number == len(sizes) - 1:
            store.commit(names, REJECTED.empty_table())
            names = []


def written(folder: Path) -> pa.Table:
    """The rows in the order of the file names, read by Arrow."""
    return pads.dataset(folder, format="parquet").to_table()


@pytest.mark.parametrize("sizes", [[200], [70, 1, 9, 60, 60], [10] * 20])
@pytest.mark.parametrize("order", ["of the paths", "by chance"])
def test_components_are_ordered_by_path_for_any_commits(
    workers: Workers,
    store: FeatureWriter,
    features: pa.Table,
    reduction: Reduction,
    tmp_path: Path,
    sizes: list[int],
    order: str,
) -> None:
    paths = features["path"].to_pylist()
    by_path = sorted(range(ROWS), key=lambda number: paths[number])
    chance = np.random.default_rng(len(sizes)).permutation(ROWS)
    commit(store, features.take(by_path if order == "of the paths" else chance), sizes)
    images = project(workers, store, reduction, Location.of(f"file:{tmp_path}/new"))
    assert images == ROWS
    rows = written(tmp_path / "new" / "pca")
    assert rows["path"].to_pylist() == sorted(paths)
    assert rows["label"].to_pylist() == features["label"].take(by_path).to_pylist()
    x = np.array(features["features"].to_pylist())[by_path]
    expected = x @ reduction.weights + reduction.offset
    np.testing.assert_allclose(rows["pca"].to_pylist(), expected, rtol=1e-5, atol=1e-6)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pca"]


def test_components_have_the_same_bits_for_any_commits(
    workers: Workers,
    store: FeatureWriter,
    features: pa.Table,
    reduction: Reduction,
    tmp_path: Path,
) -> None:
    commit(store, features.slice(150), [50])
    commit(store, features.slice(0, 90), [7, 80, 3])
    commit(store, features.slice(90, 60), [1, 59])
    project(workers, store, reduction, Location.of(f"file:{tmp_path}/many"))
    with exclusive(f"file:{tmp_path}/one/_lock") as lock:
        whole = FeatureWriter(Location.of(f"{tmp_path}/one/features"), lock)
        commit(whole, features, [ROWS])
        project(workers, whole, reduction, Location.of(f"file:{tmp_path}/single"))
    many, single = written(tmp_path / "many/pca"), written(tmp_path / "single/pca")
    assert many.combine_chunks().equals(single.combine_chunks())
    sizes = [pq.read_metadata(file).num_rows for file in (tmp_path / "many/pca").iterdir()]
    assert len(sizes) > 4
    assert max(sizes) < ROWS / 2


def test_sorted_files_are_merged_until_a_range_of_paths_needs_few(
    workers: Workers,
    store: FeatureWriter,
    features: pa.Table,
    reduction: Reduction,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_chance = features.take(np.random.default_rng(1).permutation(ROWS))
    commit(store, by_chance, [4] * 50)
    project(workers, store, reduction, Location.of(f"file:{tmp_path}/many"))
    monkeypatch.setattr(merge_sorted, "MOST_FILES", 5)
    monkeypatch.setattr(merge_sorted, "MERGED", 3)
    read: list[float] = []
    of_all = ranges.of_all

    def noted(files: list[Sorted]) -> list[Range]:
        spans = of_all(files)
        read.append(np.mean([len(span.files) for span in spans]))
        return spans

    monkeypatch.setattr(ranges, "of_all", noted)
    project(workers, store, reduction, Location.of(f"file:{tmp_path}/few"))
    assert read[0] > 15
    assert read[-1] <= 5
    many, few = written(tmp_path / "many/pca"), written(tmp_path / "few/pca")
    assert few.combine_chunks().equals(many.combine_chunks())
    assert [path.name for path in (tmp_path / "few").iterdir()] == ["pca"]


def test_a_range_of_paths_needs_only_some_row_groups_of_the_sorted_files(
    workers: Workers,
    store: FeatureWriter,
    features: pa.Table,
    reduction: Reduction,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fruits.tasks.project.delete_folder", lambda folder: None)
    commit(store, features, [50] * 4)
    project(workers, store, reduction, Location.of(f"file:{tmp_path}/new"))
    sorted_files = [*(tmp_path / "new" / "unsorted" / "pca").iterdir()]
    assert len(sorted_files) == 2
    for file in map(pq.read_metadata, sorted_files):
        assert {file.row_group(n).num_rows for n in range(file.num_row_groups)} == {4}
    for one in (tmp_path / "new" / "pca").iterdir():
        assert pq.read_metadata(one).num_row_groups == 1


def test_only_files_of_a_listing_have_components(
    workers: Workers,
    store: FeatureWriter,
    features: pa.Table,
    reduction: Reduction,
    tmp_path: Path,
) -> None:
    commit(store, features, [20] * 10)
    some = features.select(["path"]).take([199, 3, 77]).sort_by("path")
    images = project(workers, store, reduction, Location.of(f"file:{tmp_path}/new"), some)
    assert images == 3
    expected = sorted(some["path"].to_pylist())
    assert written(tmp_path / "new/pca")["path"].to_pylist() == expected


@pytest.mark.parametrize("sizes", [[200], [10] * 20])
def test_predictions_are_those_of_the_classifier_in_the_order_of_the_paths(
    workers: Workers,
    store: FeatureWriter,
    features: pa.Table,
    reduction: Reduction,
    tmp_path: Path,
    sizes: list[int],
) -> None:
    labelled = features.filter(pc.is_valid(features["label"]))
    x = np.array(labelled["features"].to_pylist(), np.float32)
    classifier = Discriminant.of(Moments.of(x, labelled["label"].to_pylist())).classifier(0.1)
    commit(store, features, sizes)
    prediction = TablePredictor(classifier, classifier.centres @ np.eye(6), frozenset(["test"]))
    place = Location.of(f"{tmp_path}/new")
    project(workers, store, reduction, place, prediction=prediction)
    scores = written(tmp_path / "new" / SCORES_FOLDER)
    rows = written(tmp_path / "new/predictions")
    expected = features.sort_by("path")
    own = classifier.predict(np.array(expected["features"].to_pylist(), np.float32))
    assert rows.schema == PREDICTIONS
    assert rows["path"].to_pylist() == expected["path"].to_pylist()
    assert rows["predicted"].to_pylist() == [classifier.labels[n] for n in own.predicted]
    assert rows["confidence"].to_pylist() == own.confidence.tolist()
    tested = labelled.filter(pc.field("split") == "test")["path"].to_pylist()
    assert sorted(scores["path"].to_pylist()) == sorted(tested)


def files(folder: Path) -> dict[str, int]:
    """The inodes of the files of a table, by name."""
    return {file.name: file.stat().st_ino for file in folder.glob("*.parquet")}


@pytest.mark.parametrize("most", [64, 1])
def test_rows_of_an_earlier_run_are_reused_and_the_others_are_projected(
    workers: Workers,
    store: FeatureWriter,
    features: pa.Table,
    reduction: Reduction,
    tmp_path: Path,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(merge_sorted, "MOST_FILES", most)
    monkeypatch.setattr(merge_sorted, "MERGED", 2)
    labelled = features.filter(pc.is_valid(features["label"]))
    x = np.array(labelled["features"].to_pylist(), np.float32)
    classifier = Discriminant.of(Moments.of(x, labelled["label"].to_pylist())).classifier(0.1)
    prediction = TablePredictor(classifier, classifier.centres @ np.eye(6), frozenset(["test"]))

    def made(name: str, earlier: Earlier | None = None) -> Path:
        place = Location.of(f"file:{tmp_path}/{name}")
        rows = project(workers, store, reduction, place, prediction=prediction, earlier=earlier)
        assert rows == sum(pq.read_metadata(file.path).num_rows for file in store.files())
        return tmp_path / name

    def later(before: Path, *fresh: str, gone: pa.Table | None = None) -> Earlier:
        paths = [] if gone is None else sorted(gone["path"].to_pylist())
        some = [file for file in store.files() if file.name.endswith(fresh)]
        root = Location.of(f"file:{before}")
        return Earlier(root, sorted(files(before / "pca")), some, paths)

    def require_same(name: str, old: Path, earlier: Earlier) -> Path:
        """Checks that the tables equal those of a full projection, and have the same files."""
        new, scratch = made(name, earlier), made(f"{name}-scratch")
        assert sorted(one.name for one in new.iterdir()) == ["pca", "predictions"]
        for table in ("pca", "predictions", DIGESTS, SCORES_FOLDER):
            # As text, in which NaN equals NaN.
            ours, theirs = (repr(written(one / table).to_pylist()) for one in (new, scratch))
            assert ours == theirs, table
            assert files(new / table).keys() == files(new / "pca").keys()
        assert max(pq.read_metadata(f).num_rows for f in (new / "pca").glob("*")) <= 48 + 4
        return new

    def taken_over(new: Path, old: Path) -> int:
        return len({*files(new / "pca").values()} & {*files(old / "pca").values()})

    by_path = features.sort_by("path")
    commit(store, by_path.slice(0, 60), [20] * 3)
    commit(store, by_path.slice(100), [20] * 5)
    first = made("first")
    count = len(files(first / "pca"))
    assert count > 4

    # First nothing changes, then many rows at one position, and a few at the end.
    same = require_same("same", first, later(first, "none"))
    assert taken_over(same, first) == count
    commit(store, by_path.slice(60, 40), [40])
    more = require_same("more", first, later(first, "8-0.parquet"))
    assert 2 <= taken_over(more, first) < count

    # Rows are removed, including all rows of one file.
    gone = by_path.take([3, 4, 130])
    gone = pa.concat_tables([gone, by_path.slice(180)])
    known = known_rows(workers, store)
    stale = known.filter(pc.is_in(known["path"], gone["path"]))
    before = {file.name for file in store.files()}
    drop(workers, store, stale)
    names = {file.name for file in store.files()} - before
    less = require_same("less", more, later(more, *names, gone=gone))
    assert 1 <= taken_over(less, more) < len(files(more / "pca"))

    # Other rows get another label and another split.
    known = known_rows(workers, store)
    other = by_path.slice(70, 5).select(["path", "length", "modified"])
    other = other.append_column("label", pa.array(["Fig"] * 5))
    other = other.append_column("split", pa.array(["test"] * 5))
    before = {file.name for file in store.files()}
    relabel(workers, store, changed_rows(known, other))
    [name] = {file.name for file in store.files()} - before
    moved = require_same("moved", less, later(less, name))
    assert taken_over(moved, less) >= 1
    scored = written(moved / SCORES_FOLDER)
    assert pc.sum(pc.equal(scored["label"], "Fig")).as_py() == 5
