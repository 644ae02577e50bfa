from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from fruits.classify.fit import fit_lda
from fruits.classify.rows import PREDICTIONS, TablePredictor
from fruits.features.moments import Moments
from fruits.features.rows import FEATURES, REJECTED, lists, write_rows
from fruits.features.writer import FeatureWriter
from fruits.reduction.fit import Reduction, fit_reduction
from fruits.spark import project as projection
from fruits.spark.project import project
from fruits.storage.lock import exclusive

ROWS = 200


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "FILES_OF_A_TASK", 2)
    monkeypatch.setattr(projection, "ROWS_OF_A_FILE", 24)
    monkeypatch.setattr(projection, "_ROWS_OF_A_SAMPLE", 4)


@pytest.fixture
def features() -> pa.Table:
    rng = np.random.default_rng(5)
    # Upper case, accents and what lies beyond 16 bits: the order is that of code points.
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
        write_rows(f"{store.staged}/{names[-1]}", rows.slice(sum(sizes[:number]), size))
        if len(names) == 3 or number == len(sizes) - 1:
            store.commit(names, REJECTED.empty_table())
            names = []


def written(folder: Path) -> pa.Table:
    """The rows in the order of the files' names, as Arrow's own reader has them."""
    return pads.dataset(folder, format="parquet").to_table()


@pytest.mark.parametrize("sizes", [[200], [70, 1, 9, 60, 60], [10] * 20])
@pytest.mark.parametrize("order", ["of the paths", "by chance"])
def test_components_are_in_the_order_of_the_paths_whatever_the_commits(
    spark: SparkSession,
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
    images, _ = project(spark, store, reduction, f"file:{tmp_path}/new")
    assert images == ROWS
    rows = written(tmp_path / "new" / "pca")
    assert rows["path"].to_pylist() == sorted(paths)
    assert rows["label"].to_pylist() == features["label"].take(by_path).to_pylist()
    x = np.array(features["features"].to_pylist())[by_path]
    expected = x @ reduction.weights + reduction.offset
    np.testing.assert_allclose(rows["pca"].to_pylist(), expected, rtol=1e-5, atol=1e-6)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pca"]


def test_components_have_the_same_bits_whatever_the_commits(
    spark: SparkSession,
    store: FeatureWriter,
    features: pa.Table,
    reduction: Reduction,
    tmp_path: Path,
) -> None:
    commit(store, features.slice(150), [50])
    commit(store, features.slice(0, 90), [7, 80, 3])
    commit(store, features.slice(90, 60), [1, 59])
    project(spark, store, reduction, f"file:{tmp_path}/many")
    with exclusive(f"file:{tmp_path}/one/_lock") as lock:
        whole = FeatureWriter(f"file:{tmp_path}/one/features", lock)
        commit(whole, features, [ROWS])
        project(spark, whole, reduction, f"file:{tmp_path}/single")
    many, single = written(tmp_path / "many/pca"), written(tmp_path / "single/pca")
    assert many.combine_chunks().equals(single.combine_chunks())
    sizes = [pq.read_metadata(file).num_rows for file in (tmp_path / "many/pca").iterdir()]
    assert len(sizes) > 4
    assert max(sizes) < ROWS / 2


def test_only_files_of_a_listing_have_components(
    spark: SparkSession,
    store: FeatureWriter,
    features: pa.Table,
    reduction: Reduction,
    tmp_path: Path,
) -> None:
    commit(store, features, [20] * 10)
    some = features.select(["path"]).take([199, 3, 77])
    images, _ = project(spark, store, reduction, f"file:{tmp_path}/new", some)
    assert images == 3
    expected = sorted(some["path"].to_pylist())
    assert written(tmp_path / "new/pca")["path"].to_pylist() == expected


@pytest.mark.parametrize("sizes", [[200], [10] * 20])
def test_predictions_are_those_of_the_classifier_in_the_order_of_the_paths(
    spark: SparkSession,
    store: FeatureWriter,
    features: pa.Table,
    reduction: Reduction,
    tmp_path: Path,
    sizes: list[int],
) -> None:
    labelled = features.filter(pc.is_valid(features["label"]))
    x = np.array(labelled["features"].to_pylist(), np.float32)
    classifier = fit_lda(Moments.of(x, labelled["label"].to_pylist()), 0.1)
    commit(store, features, sizes)
    prediction = TablePredictor(classifier, classifier.centres @ np.eye(6), frozenset(["test"]))
    _, scores = project(*(spark, store, reduction, f"file:{tmp_path}/new"), prediction=prediction)
    rows = written(tmp_path / "new/predictions")
    expected = features.sort_by("path")
    own = classifier.predict(np.array(expected["features"].to_pylist(), np.float32))
    assert rows.schema == PREDICTIONS
    assert rows["path"].to_pylist() == expected["path"].to_pylist()
    assert rows["predicted"].to_pylist() == [classifier.labels[n] for n in own.predicted]
    assert rows["confidence"].to_pylist() == own.confidence.tolist()
    tested = labelled.filter(pc.field("split") == "test")["path"].to_pylist()
    assert sorted(scores["path"].to_pylist()) == sorted(tested)
