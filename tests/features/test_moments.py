from collections.abc import Callable, Iterator
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import PCA, MinMaxScaler, MinMaxScalerModel, PCAModel, StandardScaler
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col
from sklearn import decomposition, preprocessing  # type: ignore[import-untyped]

from fruits.errors import ConfigError, InputError
from fruits.features.moments import Moments, measured
from fruits.features.rows import lists, matrix
from fruits.reduction.fit import SCALERS, choose_components, fit_reduction, principal_axes
from fruits.reduction.transform import affine
from fruits.spark.models import fit_scaler, reduction_stages

Rows = NDArray[Any]


def features(rows: int = 300, width: int = 8, seed: int = 0, constant: bool = True) -> Rows:
    """Correlated float32 rows; the second-last feature is far from zero, the last one constant."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width)) * np.geomspace(1, 0.05, width)[:, None]
    x = rng.normal(size=(rows, width)) @ mixing + rng.normal(size=width)
    x[:, -2] += 1e4
    if constant:
        x[:, -1] = 0.1
    return x.astype(np.float32)


def frame(spark: SparkSession, x: Rows, sizes: list[int] | None = None) -> DataFrame:
    """Make a table of id and features, in as many partitions as sizes, of so many rows each."""
    cuts = np.cumsum([0, *(sizes or [len(x)])])
    assert cuts[-1] == len(x)

    def part(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                ids = np.arange(cuts[number], cuts[number + 1])
                yield pa.RecordBatch.from_arrays([pa.array(ids), lists(x[ids])], ["id", "features"])

    numbers = spark.range(0, len(cuts) - 1, numPartitions=len(cuts) - 1)
    return numbers.mapInArrow(part, "id long, features array<float>")


def as_vectors(table: DataFrame) -> DataFrame:
    return table.withColumn("features", array_to_vector(col("features")))


def column(table: DataFrame, name: str) -> Rows:
    rows = table.select("id", name).coalesce(1).collect()
    return np.array([row[name] for row in sorted(rows, key=lambda row: int(row["id"]))])


def assert_same(one: Moments, other: Moments, tolerance: float) -> None:
    assert one.count == other.count
    np.testing.assert_array_equal(one.minimum, other.minimum)
    np.testing.assert_array_equal(one.maximum, other.maximum)
    np.testing.assert_allclose(one.mean, other.mean, rtol=tolerance)
    scale = np.sqrt(np.outer(np.diag(other.scatter), np.diag(other.scatter)))
    assert (np.abs(one.scatter - other.scatter) <= tolerance * scale).all()


def up_to_sign(axes: Rows, like: Rows) -> Rows:
    turned: Rows = axes * np.sign((axes * like).sum(axis=0))
    return turned


# Moments


@pytest.mark.parametrize(("pieces", "tolerance"), [(1, 1e-14), (40, 1e-11)])
def test_moments_are_those_of_two_passes_even_where_the_mean_dwarfs_the_spread(
    pieces: int, tolerance: float
) -> None:
    x = np.random.default_rng(1).normal(1e4, 1e-2, size=(20_000, 12))
    exact = x.astype(np.longdouble)
    centred = exact - exact.mean(axis=0)
    expected = Moments(
        len(x),
        exact.mean(axis=0).astype(np.float64),
        x.min(axis=0),
        x.max(axis=0),
        (centred.T @ centred).astype(np.float64),
    )

    merged = reduce(Moments.merge, map(Moments.of, np.array_split(x, pieces)))

    assert_same(merged, expected, tolerance)


def test_merging_is_associative_and_commutative_and_nothing_is_its_neutral_element() -> None:
    a, b, c = (Moments.of(x) for x in np.split(features(), [7, 100]))

    assert_same(a.merge(b).merge(c), a.merge(b.merge(c)), 1e-12)
    assert_same(a.merge(b), b.merge(a), 1e-12)
    assert a.merge(Moments.empty()) is a
    assert Moments.empty().merge(a) is a


def test_the_scatter_is_exactly_symmetric() -> None:
    merged = reduce(Moments.merge, map(Moments.of, np.array_split(features(), 9)))

    np.testing.assert_array_equal(merged.scatter, merged.scatter.T)


@pytest.mark.parametrize("value", [0.1, 1e30, -7.7e-12])
def test_a_constant_feature_has_exactly_no_scatter(value: float) -> None:
    x = features(1000)
    x[:, 3] = value

    merged = reduce(Moments.merge, map(Moments.of, np.array_split(x, 11)))

    assert not merged.scatter[3].any()
    assert merged.mean[3] == merged.minimum[3] == merged.maximum[3] == np.float32(value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    x = features(20)
    x[11, 2] = bad

    with pytest.raises(InputError, match="NaN or infinite"):
        Moments.of(x)


def test_moments_of_other_widths_do_not_merge() -> None:
    with pytest.raises(InputError, match="rows of 8 and of 5 numbers"):
        Moments.of(features(width=8)).merge(Moments.of(features(width=5)))


def test_bytes_hold_all_of_the_moments() -> None:
    original = Moments.of(features(50, 70))

    packed = original.to_bytes()
    restored = Moments.from_bytes(packed)

    assert len(packed) < 8 * (70 * 71 / 2 + 3 * 70) + 64
    for name in ("count", "mean", "minimum", "maximum", "scatter"):
        np.testing.assert_array_equal(getattr(restored, name), getattr(original, name))
    assert Moments.from_bytes(Moments.empty().to_bytes()).count == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: b"",
        lambda packed: packed[:20],
        lambda packed: packed[:-8],
        lambda packed: packed + b"\0" * 8,
        lambda packed: b"x" + packed[1:],
        lambda packed: packed[:200] + bytes([packed[200] ^ 1]) + packed[201:],
    ],
    ids=["nothing", "half a header", "cut short", "too long", "something else", "one bit"],
)
def test_damaged_bytes_are_refused(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError, match="wanted packed moments"):
        Moments.from_bytes(damage(Moments.of(features()).to_bytes()))


# Arrow


def test_a_slice_of_an_arrow_array_is_viewed_and_not_copied() -> None:
    x = features(10, 4)
    array = lists(x)

    rows = matrix(array.slice(3, 5))

    np.testing.assert_array_equal(rows, x[3:8])
    assert np.shares_memory(rows, array.values.to_numpy())
    assert array.type == pa.list_(pa.float32())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0], None, [3.0, 4.0]], "1 nulls"),
        ([[1.0, 2.0], [3.0, None]], "1 nulls"),
        ([[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]], "rows of 1 and of 3 numbers"),
        ([[], []], "rows of none"),
    ],
)
def test_rows_that_make_no_matrix_are_refused(rows: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        matrix(pa.array(rows, pa.list_(pa.float32())))


@pytest.mark.parametrize("sizes", [[5000], [0, 1, 2047, 0, 7, 2900, 45, 0], [10] * 500])
def test_how_rows_are_cut_into_arrays_makes_no_difference_to_a_bit(sizes: list[int]) -> None:
    x = features(5000)
    cuts = np.cumsum([0, *sizes])

    total = measured(lists(x[start:end]) for start, end in pairwise(cuts))

    whole = measured([lists(x)])
    assert total.to_bytes() == whole.to_bytes()
    assert_same(total, Moments.of(x), 1e-10)


def test_doubles_are_taken_as_they_are() -> None:
    rows = pa.array([[1e15 + 1, 1.0], [1e15 + 3, 2.0]], pa.list_(pa.float64()))

    assert measured([rows]).mean.tolist() == [1e15 + 2, 1.5]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0], None], "1 nulls"),
        ([[1.0, 2.0], [1.0, None]], "1 nulls"),
        ([[1.0, 2.0], [1.0]], "rows of"),
        ([[1.0, 2.0], [1.0, float("nan")]], "NaN"),
    ],
    ids=["null rows", "null numbers", "lengths", "not finite"],
)
@pytest.mark.parametrize("together", [True, False])
def test_bad_rows_are_one_clear_error(rows: list[Any], message: str, together: bool) -> None:
    arrays = [
        pa.array(part, pa.list_(pa.float32()))
        for part in ([rows] if together else [[r] for r in rows])
    ]

    with pytest.raises(InputError, match=message) as caught:
        measured(arrays)
    assert "\n" not in str(caught.value)


# Scalers


def test_scalers_are_what_spark_learns_and_survive_saving(
    spark: SparkSession, tmp_path: Path
) -> None:
    table = frame(spark, features(), [100, 200])
    collected = Moments.of(features())
    vectors = as_vectors(table).coalesce(1).cache()
    theirs: dict[str, Any] = {
        "minmax": MinMaxScaler(inputCol="features", outputCol="scaled"),
        "standard": StandardScaler(
            withMean=True, withStd=True, inputCol="features", outputCol="scaled"
        ),
    }
    learned = {"minmax": ("originalMin", "originalMax"), "standard": ("mean", "std")}

    for kind, estimator in theirs.items():
        expected = estimator.fit(vectors)
        scaler: Any = fit_scaler(collected, kind, "features", "scaled")
        scaler.save(str(tmp_path / kind))
        loaded = type(expected).load(str(tmp_path / kind))

        for model in (scaler, loaded):
            assert parameters(model) == parameters(expected)
            for name in learned[kind]:
                np.testing.assert_allclose(
                    getattr(model, name).toArray(), getattr(expected, name).toArray(), rtol=1e-9
                )
        scaled = column(loaded.transform(vectors), "scaled")
        np.testing.assert_allclose(scaled, column(expected.transform(vectors), "scaled"), atol=1e-9)
        assert set(scaled[:, -1]) == {0.5 if kind == "minmax" else 0.0}
    assert fit_scaler(collected, "none", "features", "scaled") is None


def parameters(model: Any) -> dict[str, Any]:
    return {param.name: value for param, value in model.extractParamMap().items()}


def test_an_unknown_scaler_is_refused() -> None:
    with pytest.raises(ConfigError, match="wanted one of minmax, standard, none; got 'robust'"):
        fit_scaler(Moments.of(features()), "robust", "features", "scaled")


# PCA


@pytest.mark.parametrize("kind", SCALERS)
def test_components_are_what_spark_learns_and_a_saved_model_computes(
    spark: SparkSession, tmp_path: Path, kind: str
) -> None:
    table = frame(spark, features(), [0, 120, 180])
    vectors = as_vectors(table).coalesce(1).cache()
    theirs: dict[str, list[Any]] = {
        "minmax": [MinMaxScaler(inputCol="features", outputCol="scaled")],
        "standard": [
            StandardScaler(withMean=True, withStd=True, inputCol="features", outputCol="scaled")
        ],
        "none": [],
    }
    pca = PCA(k=5, inputCol="features" if kind == "none" else "scaled", outputCol="pca")
    expected: Any = Pipeline(stages=[*theirs[kind], pca]).fit(vectors).stages[-1]

    reduction = fit_reduction(Moments.of(features()), kind, 5)
    PipelineModel([*reduction_stages(reduction)]).save(str(tmp_path / "model"))
    model = PipelineModel.load(str(tmp_path / "model"))
    loaded: Any = model.stages[-1]

    assert isinstance(loaded, PCAModel)
    assert parameters(loaded) == parameters(expected)
    np.testing.assert_allclose(
        up_to_sign(loaded.pc.toArray(), expected.pc.toArray()), expected.pc.toArray(), atol=1e-6
    )
    np.testing.assert_allclose(
        loaded.explainedVariance.toArray(), expected.explainedVariance.toArray(), atol=1e-9
    )

    computed = model.transform(vectors).withColumn("pca", vector_to_array(col("pca")))
    slow = column(computed, "pca")
    fast = affine(column(table, "features"), reduction.weights, reduction.offset)
    assert fast.dtype == np.float32
    assert (np.abs(fast - slow) <= 1e-6 * np.abs(slow).max(axis=0)).all()


def test_components_are_what_scikit_learn_learns() -> None:
    x = features(constant=False).astype(np.float64)
    theirs = decomposition.PCA(svd_solver="full").fit(preprocessing.MinMaxScaler().fit_transform(x))
    collected = Moments.of(x)

    explained, axes = principal_axes(collected, 1 / (collected.maximum - collected.minimum))

    np.testing.assert_allclose(explained, theirs.explained_variance_ratio_, atol=1e-9)
    np.testing.assert_allclose(
        up_to_sign(axes, theirs.components_.T), theirs.components_.T, atol=1e-6
    )


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize(("components", "kept"), [(1.0, 5), (1, 1), (6, 6), (0.97, 5), (0.6, 2)])
def test_fewer_images_than_features(components: int | float, kept: int) -> None:
    x = features(6, 40)

    reduction = fit_reduction(Moments.of(x), "standard", components)

    assert reduction.components == kept
    assert reduction.weights.shape == (40, kept)
    assert reduction.explained_variance.shape == (40,)
    assert reduction.explained_variance.sum() == pytest.approx(1)
    assert (reduction.explained_variance[:5] > 1e-6).all()
    assert not reduction.explained_variance[5:].any()
    with pytest.raises(ConfigError, match=r"wanted at most 6, .* got 7"):
        fit_reduction(Moments.of(x), "standard", 7)


@pytest.mark.usefixtures("spark")
def test_all_of_the_variance_is_the_rank_whatever_is_constant_or_repeated() -> None:
    x = features(3000, 10)
    x[:, 4], x[:, 5] = x[:, 3], 2 * x[:, 8]

    for kind in SCALERS:
        assert fit_reduction(Moments.of(x), kind, 1.0).components == 7


@pytest.mark.parametrize("kind", SCALERS)
def test_a_single_image_or_identical_ones_have_no_components(kind: str) -> None:
    with pytest.raises(InputError, match="wanted two images or more for a PCA, found 1;"):
        fit_reduction(Moments.of(features(1)), kind, 1)
    with pytest.raises(InputError, match="found 9 with the same features"):
        fit_reduction(Moments.of(np.repeat(features(1), 9, axis=0)), kind, 0.97)


@pytest.mark.usefixtures("spark")
def test_a_single_image_still_has_a_scaler() -> None:
    single = Moments.of(features(1))

    scaler = fit_scaler(single, "minmax", "features", "scaled")

    assert isinstance(scaler, MinMaxScalerModel)
    assert scaler.originalMin == scaler.originalMax


def test_the_largest_loading_is_positive_and_of_equal_ones_the_first() -> None:
    explained, axes = principal_axes(Moments.of(features(500, 30)), np.ones(30))
    for axis in axes.T:
        assert axis[np.argmax(np.abs(axis))] > 0

    opposite = np.random.default_rng(2).normal(size=(400, 1)) * [1.0, -1.0, 1.0 + 1e-12]
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        _, axes = principal_axes(Moments.of(opposite[:, order]), np.ones(3))
        assert axes[0, 0] > 0
    assert all(one >= other for one, other in pairwise(explained))


# The number of components


@pytest.mark.parametrize(
    ("components", "kept"),
    [
        (1, 1),
        (4, 4),
        (5, 5),
        (0.0001, 1),
        (0.5, 1),
        (0.51, 2),
        (0.8, 2),
        (0.8000001, 3),
        (0.9999999, 4),
        (1.0, 4),
    ],
)
def test_components_are_a_count_or_a_share(components: int | float, kept: int) -> None:
    assert choose_components(np.array([0.5, 0.3, 0.1, 0.1 - 1e-15, 1e-15]), components) == kept


def test_a_share_is_reached_whatever_the_sum_rounds_to() -> None:
    assert 0.7 + 0.1 < 0.8
    assert choose_components(np.array([0.7, 0.1, 0.1, 0.1]), 0.8) == 2


@pytest.mark.parametrize(
    "components", [0, -3, 0.0, -0.5, 1.5, 600.0, float("nan"), float("inf"), True, False, "0.97"]
)
def test_what_is_neither_a_count_nor_a_share_is_refused(components: Any) -> None:
    with pytest.raises(ConfigError, match="components: wanted a whole number"):
        choose_components(np.array([0.9, 0.1]), components)


def test_more_components_than_there_can_be_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"components: wanted at most 2, .* got 3"):
        choose_components(np.array([0.9, 0.1]), 3)
