"""The search gives the same neighbours as comparing all rows."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fruits.predictor import neighbours
from fruits.predictor.neighbours import Neighbours


def searched(rows: NDArray[np.float32]) -> Neighbours:
    return Neighbours(rows, np.linalg.norm(rows.astype(np.float64), axis=1))


def one_by_one(rows: NDArray[np.float32], query: NDArray[np.float32], count: int) -> list[int]:
    gaps = [float(((row - query) ** 2).sum()) for row in rows.astype(np.longdouble)]
    return sorted(range(len(rows)), key=lambda place: (gaps[place], place))[:count]


@pytest.mark.parametrize("away", [0.0, 1e3, 1e6])
def test_the_nearest_are_exact_beyond_the_precision_of_float32(
    monkeypatch: pytest.MonkeyPatch, away: float
) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK_ROWS", 64)
    rng = np.random.default_rng(3)
    # Far from the origin, the products of all rows are equal in float32.
    rows = (away + rng.normal(size=(500, 40))).astype(np.float32)
    queries = (away + rng.normal(size=(11, 40))).astype(np.float32)
    found = list(searched(rows).nearest(queries))
    assert len(found) == 11
    for query, (places, distances) in zip(queries, found, strict=True):
        assert list(places) == one_by_one(rows, query, 5)
        gaps = np.linalg.norm(rows[places].astype(np.longdouble) - query, axis=1)
        np.testing.assert_allclose(distances, gaps.astype(float), rtol=1e-12)


def test_the_first_of_equal_rows_are_returned() -> None:
    rows = np.ones((50, 3), np.float32)
    [(places, distances)] = searched(rows).nearest(np.ones((1, 3), np.float32))
    assert (list(places), list(distances)) == ([0, 1, 2, 3, 4], [0] * 5)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_matrix_with_few_rows_gives_few_neighbours(count: int) -> None:
    rows = np.arange(count * 2, dtype=np.float32).reshape(count, 2)
    [(places, distances)] = searched(rows).nearest(np.zeros((1, 2), np.float32))
    assert list(places) == [*range(count)]
    assert len(distances) == count


def test_no_query_gives_no_result() -> None:
    assert list(searched(np.ones((3, 2), np.float32)).nearest(np.empty((0, 2), np.float32))) == []
