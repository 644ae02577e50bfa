from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray
from pyspark.sql import SparkSession
from sklearn.discriminant_analysis import (  # type: ignore[import-untyped]
    LinearDiscriminantAnalysis,
)

from fruits.classify.fit import SHRINKAGES
from fruits.classify.groups import TRAIN_ONLY
from fruits.classify.model import TRANSFORMS, mapped
from fruits.classify.train import Fold, train
from fruits.features.moments import Moments
from fruits.features.rows import FEATURES, REJECTED, lists, write_rows
from fruits.features.writer import FeatureWriter
from fruits.spark import folds as folds_module
from fruits.spark.folds import cross_validation
from fruits.storage.lock import exclusive

ROWS = 300
LABELS = ["Fig", "Kiwi", "Lime"]


@pytest.fixture
def rows() -> pa.Table:
    """Three labels that overlap; every tenth image is no training image."""
    rng = np.random.default_rng(7)
    means = rng.normal(size=(3, 8)) * 0.8
    x = means[np.arange(ROWS) % 3] + rng.normal(size=(ROWS, 8))
    columns = {
        "path": [f"file:/x/{LABELS[n % 3]}/é{n}.jpg" for n in range(ROWS)],
        "label": [LABELS[n % 3] for n in range(ROWS)],
        "split": ["test" if n % 10 == 0 else "train" for n in range(ROWS)],
        "sha256": ["00" * 32] * ROWS,
        "length": [10] * ROWS,
        "modified": pa.array([0] * ROWS, pa.timestamp("us", tz="UTC")),
        "features": lists(x.astype(np.float32)),
    }
    return pa.table(columns, FEATURES)


@pytest.fixture
def folds(rows: pa.Table) -> pa.Table:
    """Four folds, and some images that are never tested."""
    training = rows.filter(pc.equal(rows["split"], "train"))
    fold = [TRAIN_ONLY if n % 13 == 0 else n // 3 % 4 for n in range(training.num_rows)]
    columns = {"path": training["path"], "label": training["label"], "fold": fold}
    return pa.table(
        columns, pa.schema([("path", pa.string()), ("label", pa.string()), ("fold", pa.int64())])
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureWriter]:
    with exclusive(f"file:{tmp_path}/out/_lock") as lock:
        yield FeatureWriter(f"file:{tmp_path}/out/features", lock)


def commit(store: FeatureWriter, rows: pa.Table, files: int) -> None:
    """Commits rows as a chunk of some files."""
    cuts = [rows.num_rows * n // files for n in range(files + 1)]
    names = [f"{len(store.files()) + n:032x}.parquet" for n in range(files)]
    for name, (start, end) in zip(names, pairwise(cuts), strict=True):
        write_rows(f"{store.staged}/{name}", rows.slice(start, end - start))
    store.commit(names, REJECTED.empty_table())


def features_of(rows: pa.Table) -> NDArray[Any]:
    return np.array(rows["features"].to_pylist(), np.float32)


def joined(rows: pa.Table, folds: pa.Table) -> pa.Table:
    """The training images in the order of their paths, with their features and folds."""
    own = rows["features"].take(pc.index_in(folds["path"], rows["path"]))
    return folds.append_column("features", own).sort_by("path")


def content(found: tuple[dict[str, Moments], list[Fold]]) -> list[Any]:
    """All that a cross-validation has, to compare."""
    moments, folds = found
    return [
        {name: own.to_bytes() for name, own in moments.items()},
        *([own.to_bytes() for own in fold.moments.values()] for fold in folds),
        *(fold.features().tolist() for fold in folds),
        *(list(fold.labels) for fold in folds),
    ]


def test_each_fold_has_the_moments_and_the_features_of_its_images(
    spark: SparkSession, store: FeatureWriter, rows: pa.Table, folds: pa.Table, tmp_path: Path
) -> None:
    commit(store, rows, 5)
    table = joined(rows, folds)
    x, labels, fold_of = features_of(table), table["label"].to_pylist(), table["fold"].to_numpy()

    moments, found = cross_validation(spark, store, folds, f"file:{tmp_path}/folds")

    assert list(moments) == list(TRANSFORMS)
    assert len(found) == 4
    for transform in TRANSFORMS:
        assert moments[transform].to_bytes() == Moments.of(mapped(x, transform), labels).to_bytes()
    for number, fold in enumerate(found):
        some = np.flatnonzero(fold_of == number)
        own = [labels[n] for n in some]
        assert list(fold.labels) == own
        np.testing.assert_array_equal(fold.features(), x[some])
        for transform in TRANSFORMS:
            expected = Moments.of(mapped(x[some], transform), own)
            assert fold.moments[transform].to_bytes() == expected.to_bytes()
        with pytest.raises(KeyError):
            fold.moments["cube"]


def test_training_is_what_scikit_learn_does_by_hand(
    spark: SparkSession, store: FeatureWriter, rows: pa.Table, folds: pa.Table, tmp_path: Path
) -> None:
    commit(store, rows, 3)
    table = joined(rows, folds)
    x, labels = features_of(table).astype(np.float64), np.array(table["label"].to_pylist())
    fold_of = table["fold"].to_numpy()

    training = train(*cross_validation(spark, store, folds, f"file:{tmp_path}/folds"))

    tested = fold_of != TRAIN_ONLY
    for trial in training.trials:
        z = np.copysign(np.sqrt(np.abs(x)), x) if trial.transform == "sqrt" else x
        right = 0
        for number in range(4):
            own = fold_of == number
            model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=trial.shrinkage)
            right += (model.fit(z[~own], labels[~own]).predict(z[own]) == labels[own]).sum()
        assert trial.accuracy == right / tested.sum()
    assert len(training.trials) == len(TRANSFORMS) * len(SHRINKAGES)
    assert training.evaluation is not None
    assert training.evaluation.accuracy == max(trial.accuracy for trial in training.trials)


@pytest.mark.parametrize("cuts", [[ROWS], [11, 200, 89], [1, 298, 1]])
def test_neither_chunks_nor_files_nor_the_order_make_a_difference_to_a_bit(
    spark: SparkSession,
    store: FeatureWriter,
    rows: pa.Table,
    folds: pa.Table,
    cuts: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folds_module, "SCORED", 100)
    rng = np.random.default_rng(len(cuts))
    with exclusive(f"file:{tmp_path}/plain/_lock") as lock:
        plain = FeatureWriter(f"file:{tmp_path}/plain/features", lock)
        commit(plain, rows, 1)
        expected = content(cross_validation(spark, plain, folds, f"file:{tmp_path}/one"))
    shuffled = rows.take(rng.permutation(ROWS))
    for start, end in pairwise(np.cumsum([0, *cuts])):
        commit(store, shuffled.slice(start, end - start), min(4, end - start))

    other = folds.take(rng.permutation(folds.num_rows))
    found = content(cross_validation(spark, store, other, f"file:{tmp_path}/other"))

    assert found == expected


def test_a_sample_of_the_images_is_scored(
    spark: SparkSession,
    store: FeatureWriter,
    rows: pa.Table,
    folds: pa.Table,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folds_module, "SCORED", 80)
    commit(store, rows, 4)

    moments, found = cross_validation(spark, store, folds, f"file:{tmp_path}/folds", ["none"])

    assert moments["none"].count == folds.num_rows
    assert sum(len(fold.labels) for fold in found) == 80
    assert all(fold.features().shape == (len(fold.labels), 8) for fold in found)
    assert min(len(fold.labels) for fold in found) > 10
    assert sum(fold.moments["none"].count for fold in found) == (
        folds.num_rows - folds["fold"].to_pylist().count(TRAIN_ONLY)
    )


def test_images_without_features_are_an_error(
    spark: SparkSession, store: FeatureWriter, rows: pa.Table, folds: pa.Table, tmp_path: Path
) -> None:
    commit(store, rows.slice(0, 250), 2)

    with pytest.raises(ValueError, match="wanted features of all 270 training images"):
        cross_validation(spark, store, folds, f"file:{tmp_path}/folds")


def test_where_nothing_is_tested_there_are_no_folds(
    spark: SparkSession, store: FeatureWriter, rows: pa.Table, folds: pa.Table, tmp_path: Path
) -> None:
    commit(store, rows, 2)
    never = folds.set_column(2, "fold", pa.array([TRAIN_ONLY] * folds.num_rows))

    moments, found = cross_validation(spark, store, never, f"file:{tmp_path}/folds")

    assert found == []
    assert train(moments, found).evaluation is None
