import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import partial, reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyspark.ml import Pipeline
from pyspark.ml.feature import PCA, MinMaxScaler, PCAModel, StandardScaler
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col
from saved_model import written_and_loaded
from sklearn import decomposition, preprocessing  # type: ignore[import-untyped]

from fruits.errors import ConfigError, InputError
from fruits.features.exact import Exact
from fruits.features.moments import Moments, measured_by_label
from fruits.features.moments_bytes import OldMoments
from fruits.features.moments_file import merge_files, read_moments
from fruits.features.rows import lists, matrix
from fruits.reduction.fit import SCALERS, choose_components, fit_reduction, principal_axes
from fruits.reduction.transform import affine
from fruits.spark.models import reduction_stages, scaler_stage
from fruits.storage.files import replace
from fruits.storage.location import Location

Rows = NDArray[Any]


def measured(columns: Iterable[pa.Array]) -> Moments:
    """The moments of rows without labels in several arrays."""
    return measured_by_label(
        pa.record_batch({"features": column, "label": pa.nulls(len(column), pa.string())})
        for column in columns
    )


def features(rows: int = 300, width: int = 8, seed: int = 0, constant: bool = True) -> Rows:
    """Correlated float32 rows; the last feature is constant, the one before is far from zero."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width)) * np.geomspace(1, 0.05, width)[:, None]
    x = rng.normal(size=(rows, width)) @ mixing + rng.normal(size=width)
    x[:, -2] += 1e4
    if constant:
        x[:, -1] = 0.1
    return x.astype(np.float32)


def frame(spark: SparkSession, x: Rows, sizes: list[int] | None = None) -> DataFrame:
    """A table of id and features, with one partition of the given number of rows per size."""
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


def up_to_sign(axes: Rows, like: Rows) -> Rows:
    turned: Rows = axes * np.sign((axes * like).sum(axis=0))
    return turned


# Moments


Labels = list[str | None]


def bits(moments: Moments) -> dict[str, Any]:
    """All values that a fit can use."""
    names = ("count", "mean", "minimum", "maximum", "scatter")
    values = {name: np.asarray(getattr(moments, name)).tobytes() for name in names}
    for label, sums in moments.labels.items():
        values[f"label {label}"] = (sums.count, sums.sum().tobytes())
    return values


def hard(rows: int = 200, width: int = 9, seed: int = 0) -> Rows:
    """float32 rows whose magnitudes do not fit in a single grid."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)) * 10.0 ** rng.integers(-3, 2, (rows, width))
    x[:, 0] *= 1e-11
    x[:, 1] *= 1e6
    x[:, 2] = np.where(rng.random(rows) < 0.01, 1e-42, 0)  # sometimes a denormal number
    x[:, 3] = 1e4 + rng.normal(size=rows) * 1e-2
    x[:, 4] = rng.choice([1e-30, 1e-3, 1e30], rows)
    x[:, 5] = rng.choice([-0.0, 0.0], rows)
    return x.astype(np.float32)


def names_of(rows: int, labels: int = 4) -> Labels:
    return [None if n % labels == 0 else f"l{n % labels}" for n in range(rows)]


def fractions_of(x: Rows) -> tuple[list[Fraction], list[list[Fraction]]]:
    """Mean and scatter without rounding."""
    rows = [[Fraction(float(value)) for value in row] for row in x]
    mean = [sum(column, Fraction()) / len(rows) for column in zip(*rows, strict=True)]
    centred = [[v - m for v, m in zip(row, mean, strict=True)] for row in rows]
    columns = list(zip(*centred, strict=True))
    return mean, [
        [sum((a * b for a, b in zip(one, other, strict=True)), Fraction()) for other in columns]
        for one in columns
    ]


@pytest.mark.parametrize(
    "x",
    [
        features(60),
        hard(60),
        hard(60).astype(np.float64),
        np.random.default_rng(1).normal(1e4, 1e-2, size=(50, 5)),
        np.random.default_rng(2).normal(size=(50, 5)) * 1e-11,
        np.random.default_rng(3).normal(size=(50, 5)) * 1e6,
        -np.abs(np.random.default_rng(4).normal(size=(50, 5))).astype(np.float32),
        np.full((50, 3), 1e-45, np.float32) * np.arange(50, dtype=np.float32)[:, None],
        np.array([[1e120, 1.0], [1e120 + 1e105, -1e-120], [0.0, 3.0]]),
    ],
    ids=["features", "mixed", "doubles", "far", "small", "large", "negative", "denormal", "wild"],
)
def test_mean_and_scatter_equal_exact_fractions_rounded_once(x: Rows) -> None:
    mean, scatter = fractions_of(x)

    moments = Moments.of(x)

    close = partial(np.testing.assert_allclose, rtol=4e-16, atol=0)
    close(moments.mean, np.array(mean, float), rtol=1e-15)
    close(moments.scatter, np.array(scatter, float))
    np.testing.assert_array_equal(moments.minimum, x.min(axis=0))
    np.testing.assert_array_equal(moments.maximum, x.max(axis=0))


@pytest.mark.parametrize("pieces", [1, 40])
def test_moments_agree_with_two_passes_in_80_bits(pieces: int) -> None:
    if np.finfo(np.longdouble).nmant < 60:
        pytest.skip("this processor has no 80-bit numbers")
    x = np.maximum(np.random.default_rng(1).normal(0.3, 0.4, size=(20_000, 12)), 0)
    x = np.column_stack([x, x[:, 0] * 1e-11, x[:, 1] * 1e6]).astype(np.float32)
    exact = x.astype(np.longdouble)
    centred = exact - exact.mean(axis=0)
    expected = centred.T @ centred

    merged = reduce(Moments.merge, map(Moments.of, np.array_split(x, pieces)))

    np.testing.assert_allclose(merged.mean, exact.mean(axis=0).astype(float), rtol=1e-15)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert (np.abs(merged.scatter - expected) <= 1e-15 * scale).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_rows_and_merges_does_not_change_the_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, labels = np.concatenate([hard(), features(3000, 9)]), names_of(3200)
    whole = Moments.of(x, labels)
    order = rng.permutation(len(x))
    cuts = np.sort(rng.integers(0, len(x), 6))

    parts = [Moments.of(x[some], [labels[n] for n in some]) for some in np.split(order, cuts)]
    rng.shuffle(parts)  # type: ignore[arg-type]
    one_by_one = reduce(Moments.merge, parts)
    in_pairs = parts[0].merge(parts[1]).merge(reduce(Moments.merge, parts[2:]))

    for merged in (one_by_one, in_pairs):
        assert bits(merged) == bits(whole)
        assert merged.to_bytes() == whole.to_bytes()


@pytest.mark.parametrize("gone", [slice(0, 1), slice(0, 199), slice(50, 150), slice(0, 0)])
def test_subtraction_equals_measuring_the_remaining_rows(gone: slice) -> None:
    x, labels = hard(), names_of(200)
    rest = np.delete(np.arange(200), gone)
    expected = Moments.of(x[rest], [labels[row] for row in rest])

    left = Moments.of(x, labels).subtract(Moments.of(x[gone], labels[gone]))

    np.testing.assert_array_equal(left.scatter, expected.scatter)
    np.testing.assert_array_equal(left.products.words, expected.products.words)
    assert left.labels.keys() == expected.labels.keys()
    for label in left.unranged:
        own = x[[row for row in rest if labels[row] == label]].astype(np.float64)
        left = left.with_range(label, own.min(axis=0), own.max(axis=0))
    assert bits(left) == bits(expected)
    assert left.to_bytes() == expected.to_bytes()


def test_subtracting_all_rows_leaves_empty_moments() -> None:
    moments = Moments.of(hard(), names_of(200))

    assert moments.subtract(moments).count == 0
    assert moments.subtract(moments).merge(moments) is moments


def test_a_range_is_unknown_only_after_a_row_at_its_end_was_subtracted() -> None:
    x = np.array([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0], [2.0, 7.0]], np.float32)
    all_rows = Moments.of(x, ["a"] * 4)

    inner = all_rows.subtract(Moments.of(np.array([[2.0, 6.0]], np.float32), ["a"]))
    outer = all_rows.subtract(Moments.of(x[3:], ["a"]))

    assert inner.unranged == []
    assert inner.maximum.tolist() == [3, 7]
    assert outer.unranged == ["a"]
    assert Moments.from_bytes(outer.to_bytes()).unranged == ["a"]
    with pytest.raises(ValueError, match=r"ranges of the labels \['a'\]"):
        _ = outer.maximum
    assert outer.with_range("a", x[:3].min(axis=0), x[:3].max(axis=0)).maximum.tolist() == [3, 7]


@pytest.mark.parametrize(
    "gone",
    [(np.ones((3, 2)), ["a"] * 3), (np.ones((1, 2)), ["b"]), (np.ones((1, 3)), ["a"])],
    ids=["more rows", "another label", "another width"],
)
def test_rows_that_are_not_included_cannot_be_subtracted(gone: tuple[Rows, Labels]) -> None:
    with pytest.raises(ValueError, match="wanted moments of rows that are among these"):
        Moments.of(np.ones((2, 2)), ["a", "a"]).subtract(Moments.of(*gone))


def test_each_label_has_its_count_sum_and_range() -> None:
    x, labels = hard(), names_of(200)

    moments = Moments.of(x, labels)

    assert list(moments.labels) == [None, "l1", "l2", "l3"]
    for label, sums in moments.labels.items():
        own = x[[name == label for name in labels]]
        exact = [sum(map(Fraction, column)) for column in own.astype(float).T.tolist()]
        assert sums.count == 50
        np.testing.assert_allclose(sums.sum(), np.array(exact, float), rtol=3e-16)
        np.testing.assert_array_equal(sums.minimum, own.min(axis=0))
        np.testing.assert_array_equal(sums.maximum, own.max(axis=0))


def test_more_labels_than_a_block_has_rows() -> None:
    x = features(5000, 3)

    moments = Moments.of(x, [str(n) for n in range(5000)])

    assert len(moments.labels) == 5000
    np.testing.assert_array_equal(moments.labels["4999"].sum(), x[4999])
    np.testing.assert_array_equal(moments.scatter, Moments.of(x).scatter)


def test_a_hundred_million_rows_do_not_overflow() -> None:
    rows = np.full((2048, 2), [5.999999, 1e6], np.float32)
    moments = Moments.of(rows)
    for _ in range(16):  # 134 million rows
        moments = moments.merge(moments)
    other = moments.merge(Moments.of(np.zeros((1, 2))))

    count, value = 2048 << 16, Fraction(float(np.float32(5.999999)))
    assert moments.count == count
    assert moments.mean.tolist() == rows[0].tolist()
    assert not moments.scatter.any()
    exact = value**2 * count - (value * count) ** 2 / (count + 1)
    assert other.scatter[0, 0] == pytest.approx(float(exact), rel=4e-16)


def test_a_change_of_magnitude_between_blocks_is_followed() -> None:
    parts = [features(2048) * np.float32(factor) for factor in (1, 1e-20, 1e10, 3, 1e-20)]
    x = np.concatenate(parts)

    merged = reduce(Moments.merge, map(Moments.of, parts))

    assert bits(Moments.of(x)) == bits(merged)


def test_more_blocks_than_int64_can_add_up() -> None:
    x = features(70 * 2048, 2, constant=False)

    exact = x.astype(np.float64).T.tolist()

    assert Moments.of(x).mean.tolist() == pytest.approx([math.fsum(c) / len(x) for c in exact])
    assert bits(Moments.of(x)) == bits(
        Moments.of(x[: len(x) // 2]).merge(Moments.of(x[len(x) // 2 :]))
    )


@pytest.mark.parametrize("count", [1, 3, 49, 10**9])
@pytest.mark.parametrize("exponent", [-300, -96, 0, 48, 200])
def test_exact_numbers_are_divided_with_one_rounding(count: int, exponent: int) -> None:
    values = np.array([0, 1, -1, 7, -(2**62) + 1, 2**61 - 5, 123456789])

    quotients = Exact.sum_of(len(values), [(values, exponent)]).divided_by(count)

    expected = [float(Fraction(v) * Fraction(2) ** exponent / count) for v in values.tolist()]
    assert quotients.tolist() == expected
    assert Exact.zeros(2).divided_by(count).tolist() == [0, 0]


def test_empty_moments_are_the_neutral_element() -> None:
    a = Moments.of(features())

    assert a.merge(Moments.empty()) is a
    assert Moments.empty().merge(a) is a
    assert Moments.empty().mean.size == 0


def test_one_row_has_a_mean_and_no_scatter() -> None:
    x = features(1)

    single = Moments.of(x)

    assert single.mean.tolist() == x[0].tolist()
    assert not single.scatter.any()


def test_a_wide_row_has_all_its_products() -> None:
    x = np.maximum(np.random.default_rng(5).normal(size=(20, 700)), 0).astype(np.float32)

    scatter = Moments.of(x).scatter

    np.testing.assert_array_equal(scatter, scatter.T)
    np.testing.assert_allclose(scatter, np.cov(x.astype(float).T) * 19, atol=1e-13)


@pytest.mark.parametrize("value", [0.1, 1e30, -7.7e-12])
def test_a_constant_feature_has_exactly_no_scatter(value: float) -> None:
    x = features(1000)
    x[:, 3] = value

    merged = reduce(Moments.merge, map(Moments.of, np.array_split(x, 11)))

    assert not merged.scatter[3].any()
    assert merged.mean[3] == merged.minimum[3] == merged.maximum[3] == np.float32(value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_features_that_are_not_finite_are_refused(bad: float, dtype: type) -> None:
    x = features(20).astype(dtype)
    x[11, 2] = bad

    with pytest.raises(InputError, match="NaN or infinite"):
        Moments.of(x)


@pytest.mark.parametrize("value", [1e-200, -1e200])
def test_doubles_whose_squares_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="wanted features between 2\\^-400 and 2\\^400"):
        Moments.of(np.array([[value, 1.0]]))


def test_moments_of_different_widths_cannot_be_merged() -> None:
    with pytest.raises(InputError, match="rows of 8 and of 5 numbers"):
        Moments.of(features(width=8)).merge(Moments.of(features(width=5)))


def test_packed_moments_are_complete() -> None:
    original = Moments.of(hard(50, 70), [*names_of(48), "é\n", "漢"])

    restored = Moments.from_bytes(original.to_bytes())

    assert bits(restored) == bits(original)
    assert restored.to_bytes() == original.to_bytes()
    assert bits(restored.merge(original)) == bits(original.merge(original))
    assert Moments.from_bytes(Moments.empty().to_bytes()).count == 0


def test_packed_moments_are_small() -> None:
    x = np.abs(np.random.default_rng(0).normal(size=(300, 200))).astype(np.float32)
    one, other = (len(Moments.of(x, labels).to_bytes()) for labels in (None, names_of(300, 11)))

    assert one < 12 * 200 * 201 / 2
    assert other - one < 10 * 25 * 200


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


def test_files_of_moments_are_added_up_and_subtracted(tmp_path: Path) -> None:
    x, labels = hard(), names_of(200)
    files = [Location.of(f"{tmp_path}/{n}.moments") for n in range(4)]
    for file, some in zip(files, (slice(0, 90), slice(90, 200), slice(0, 30)), strict=False):
        replace(file, Moments.of(x[some], labels[some]).to_bytes())

    merge_files(files[:2], files[3])
    assert read_moments(files[3]).to_bytes() == Moments.of(x, labels).to_bytes()
    merge_files(files[:2], files[3], files[2:3])
    left, expected = read_moments(files[3]), Moments.of(x[30:], labels[30:])
    assert (left.count, left.mean.tolist()) == (170, expected.mean.tolist())
    np.testing.assert_array_equal(left.scatter, expected.scatter)
    with pytest.raises(ValueError, match="wanted moments of rows that are among these"):
        merge_files(files[2:3], files[3], files[1:2])


def test_bytes_of_an_earlier_version_are_recognised() -> None:
    old = b"moments1" + bytes(500)

    with pytest.raises(OldMoments, match="an earlier one"):
        Moments.from_bytes(old)


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
        ([[], []], "empty rows"),
    ],
)
def test_rows_that_are_not_a_matrix_are_refused(rows: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        matrix(pa.array(rows, pa.list_(pa.float32())))


@pytest.mark.parametrize("sizes", [[5000], [0, 1, 2047, 0, 7, 2900, 45, 0], [10] * 500])
def test_the_division_of_rows_into_arrays_does_not_change_the_bits(sizes: list[int]) -> None:
    x = features(5000)
    cuts = np.cumsum([0, *sizes])

    total = measured(lists(x[start:end]) for start, end in pairwise(cuts))

    whole = measured([lists(x)])
    assert total.to_bytes() == whole.to_bytes()
    assert total.to_bytes() == Moments.of(x).to_bytes()


def test_batches_have_labels() -> None:
    x, labels = features(5000), names_of(5000)
    rows = pa.record_batch({"label": pa.array(labels), "features": lists(x)})

    total = measured_by_label(rows.slice(start, 700) for start in range(0, 5000, 700))

    assert total.to_bytes() == Moments.of(x, labels).to_bytes()


def test_doubles_are_not_rounded() -> None:
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
def test_invalid_rows_are_one_clear_error(rows: list[Any], message: str, together: bool) -> None:
    arrays = [
        pa.array(part, pa.list_(pa.float32()))
        for part in ([rows] if together else [[r] for r in rows])
    ]

    with pytest.raises(InputError, match=message) as caught:
        measured(arrays)
    assert "\n" not in str(caught.value)


# Scalers


def test_scalers_agree_with_spark_also_after_saving(spark: SparkSession, tmp_path: Path) -> None:
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
        scaler: Any = scaler_stage(collected, kind)
        (loaded,) = written_and_loaded([scaler], tmp_path / kind).stages

        assert type(loaded) is type(expected)
        for values in (scaler.defaults | scaler.params, parameters(loaded)):
            assert values == parameters(expected)
        for name in learned[kind]:
            for value in (scaler.learned[name][-1], getattr(loaded, name)):
                np.testing.assert_allclose(
                    value.toArray(), getattr(expected, name).toArray(), rtol=1e-9
                )
        scaled = column(loaded.transform(vectors), "scaled")
        np.testing.assert_allclose(scaled, column(expected.transform(vectors), "scaled"), atol=1e-9)
        assert set(scaled[:, -1]) == {0.5 if kind == "minmax" else 0.0}
    assert scaler_stage(collected, "none") is None


def parameters(model: Any) -> dict[str, Any]:
    return {param.name: value for param, value in model.extractParamMap().items()}


def test_an_unknown_scaler_is_refused() -> None:
    with pytest.raises(ConfigError, match="wanted one of minmax, standard, none; got 'robust'"):
        scaler_stage(Moments.of(features()), "robust")


# PCA


@pytest.mark.parametrize("kind", SCALERS)
def test_components_agree_with_spark_and_with_a_saved_model(
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
    model = written_and_loaded(reduction_stages(reduction), tmp_path / "model")
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


def test_components_agree_with_scikit_learn() -> None:
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
def test_all_variance_keeps_as_many_components_as_the_rank() -> None:
    x = features(3000, 10)
    x[:, 4], x[:, 5] = x[:, 3], 2 * x[:, 8]

    for kind in SCALERS:
        assert fit_reduction(Moments.of(x), kind, 1.0).components == 7


@pytest.mark.parametrize("kind", SCALERS)
def test_a_single_image_or_identical_ones_have_no_components(kind: str) -> None:
    with pytest.raises(InputError, match="wanted at least two images for a PCA; got 1:"):
        fit_reduction(Moments.of(features(1)), kind, 1)
    with pytest.raises(InputError, match="got 9 with the same features"):
        fit_reduction(Moments.of(np.repeat(features(1), 9, axis=0)), kind, 0.97)


def test_a_single_image_still_has_a_scaler() -> None:
    single = Moments.of(features(1))

    scaler = scaler_stage(single, "minmax")

    assert scaler is not None
    assert scaler.class_name == "org.apache.spark.ml.feature.MinMaxScalerModel"
    assert scaler.learned["originalMin"] == scaler.learned["originalMax"]


def test_the_first_of_the_largest_loadings_is_positive() -> None:
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


def test_a_share_is_reached_despite_rounding() -> None:
    assert 0.7 + 0.1 < 0.8
    assert choose_components(np.array([0.7, 0.1, 0.1, 0.1]), 0.8) == 2


@pytest.mark.parametrize(
    "components", [0, -3, 0.0, -0.5, 1.5, 600.0, float("nan"), float("inf"), True, False, "0.97"]
)
def test_a_value_that_is_neither_a_count_nor_a_share_is_refused(components: Any) -> None:
    with pytest.raises(ConfigError, match="components: wanted a whole number"):
        choose_components(np.array([0.9, 0.1]), components)


def test_more_components_than_possible_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"components: wanted at most 2, .* got 3"):
        choose_components(np.array([0.9, 0.1]), 3)
