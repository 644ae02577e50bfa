import numpy as np
import pytest
from unpacked import unpack

from fruits.report.data import Plane
from fruits.report.map_data import quantised, start
from fruits.report.package import package


def test_packed_data_can_be_unpacked() -> None:
    arrays = {
        "a": np.arange(5, dtype=np.uint8),
        "b": np.array([[1.5, -2.5], [3.25, 0]], np.float32),
        "c": np.zeros(0, np.uint32),
    }
    about = unpack(package({"text": "é 🍎 </script>", "none": None}, arrays))
    assert (about["text"], about["none"]) == ("é 🍎 </script>", None)
    for name, array in arrays.items():
        assert about[name].tolist() == array.ravel().tolist()
        assert about["arrays"][name]["at"] % 8 == 0


def test_a_plane_with_distant_new_images_is_not_shown_first() -> None:
    rng = np.random.default_rng(0)
    labels, sides = np.arange(400) % 4, np.arange(400) // 200
    points = (10 * labels[:, None] + rng.normal(0, 1, (400, 2))).astype(np.float32)
    usual = Plane("one", ("x", "y"), points)
    collapsed = np.where(sides[:, None] == 0, 10 * labels[:, None] + 0.01 * points, points)
    other = Plane("other", ("x", "y"), collapsed.astype(np.float32))
    codes = labels.astype(np.uint32), sides.astype(np.uint32)
    assert start([usual], *codes) == 0
    assert start([other, usual], *codes) == 1
    assert start([usual, other], *codes) == 0


@pytest.mark.parametrize("count", [0, 1, 200])
def test_quantised_components_are_off_by_at_most_half_a_step(count: int) -> None:
    vectors = np.random.default_rng(0).normal(0, [[10, 1, 0]], (count, 3)).astype(np.float32)
    small, scales = quantised(vectors)
    assert small.dtype == np.int8
    assert (np.abs(small * scales - vectors) <= 0.5001 * scales).all()


def test_neighbours_of_quantised_components_are_neighbours() -> None:
    vectors = np.random.default_rng(1).normal(0, 1, (300, 24)).astype(np.float32)
    small, scales = quantised(vectors)
    exact = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    rough = np.linalg.norm((small * scales)[:, None] - small * scales, axis=2)
    np.fill_diagonal(exact, np.inf)
    np.fill_diagonal(rough, np.inf)
    near = np.take_along_axis(exact, rough.argmin(axis=1)[:, None], 1)[:, 0]
    assert (near <= 1.02 * exact.min(axis=1)).all()
