import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fruits.reduction.transform import affine, rowwise_product


@pytest.mark.parametrize("columns", [1, 3, 5, 131, 600, 640])
@pytest.mark.parametrize("width", [7, 576, 1280])
def test_the_bits_of_a_row_do_not_depend_on_other_rows(width: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, width)).astype(np.float32)
    weights, offset = rng.normal(size=(width, columns)), rng.normal(size=columns)
    all_rows, components = rowwise_product(x, weights, offset[:1]), affine(x, weights, offset)
    some = rng.permutation(300)[:77]

    np.testing.assert_array_equal(rowwise_product(x[some], weights, offset[:1]), all_rows[some])
    for row in (0, 150, 299):
        one = slice(row, row + 1)
        np.testing.assert_array_equal(rowwise_product(x[one], weights, offset[:1]), all_rows[one])
        np.testing.assert_array_equal(affine(x[one], weights, offset), components[one])


def test_products_and_affine_maps_agree_with_numpy() -> None:
    rng = np.random.default_rng(1)
    x, weights = rng.normal(size=(1000, 33)).astype(np.float32), rng.normal(size=(33, 21))
    offset, shift = rng.normal(size=21), rng.normal(size=33)

    np.testing.assert_allclose(
        rowwise_product(x, weights, shift), (x - shift) @ weights, atol=1e-12
    )
    expected = x.astype(np.float64) @ weights + offset
    result = affine(x, weights, offset)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


def test_an_empty_matrix_has_an_empty_product() -> None:
    assert rowwise_product(np.empty((0, 4)), np.ones((4, 3))).shape == (0, 3)
    assert affine(np.empty((0, 4)), np.ones((4, 3)), np.zeros(3)).shape == (0, 3)


@pytest.mark.parametrize("columns", [3, 131, 640])
def test_the_number_of_threads_has_no_influence(columns: int) -> None:
    rng = np.random.default_rng(2)
    x, weights = rng.normal(size=(100, 1280)), rng.normal(size=(1280, columns))
    results = []

    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            results.append(rowwise_product(x, weights))

    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
