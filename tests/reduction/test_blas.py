import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from fruits.classify.axes import discriminant_axes
from fruits.classify.fit import Discriminant
from fruits.features.moments import Moments
from fruits.reduction.blas import one_blas_thread
from fruits.reduction.fit import fit_reduction

BLAS = ThreadpoolController().select(user_api="blas")


def threads() -> set[int]:
    """The threads of NumPy's BLAS; SciPy, which only tests use, may have its own BLAS."""
    return {one["num_threads"] for one in BLAS.info() if "numpy" in one["filepath"]}


def test_the_limit_is_reset_by_the_last_of_several_threads() -> None:
    start = threading.Barrier(4)

    def work(_: int) -> None:
        start.wait()
        for _ in range(50):
            with one_blas_thread():
                assert threads() == {1}

    # The limit also applies while another thread has its own limit.
    with threadpool_limits(2, user_api="blas"):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert threads() == {2}


def test_the_number_of_blas_threads_does_not_change_the_bits_of_fits() -> None:
    rng = np.random.default_rng(1)
    x = np.abs(rng.normal(size=(700, 500)) @ rng.normal(size=(500, 500))).astype(np.float32)
    moments = Moments.of(x, [str(number % 7) for number in range(700)])

    def bits() -> list[bytes]:
        reduction = fit_reduction(moments, "standard", 0.9)
        classifier = Discriminant.of(moments).classifier(0.3, distance_shrinkage=0.9)
        arrays = (reduction.weights, reduction.offset, classifier.coefficients)
        arrays += (classifier.whitening, classifier.centres, discriminant_axes(classifier).weights)
        return [array.tobytes() for array in arrays]

    with threadpool_limits(1, user_api="blas"):
        one = bits()
    with threadpool_limits(2, user_api="blas"):
        two = bits()
    assert one == two


def test_an_error_resets_the_limit() -> None:
    before = threads()
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        raise ZeroDivisionError
    assert threads() == before
