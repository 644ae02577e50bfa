from typing import Any

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from fruits.classify.model import Classifier
from fruits.predictor import Predictor

BLAS = ThreadpoolController().select(user_api="blas")


def threads() -> set[int]:
    """The threads of NumPy's BLAS; SciPy, which only tests use, may have its own BLAS."""
    return {one["num_threads"] for one in BLAS.info() if "numpy" in one["filepath"]}


def test_the_products_of_a_prediction_use_one_thread_of_the_blas(
    trained: Any, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    distances = Classifier.distances

    def watched(self: Classifier, features: np.ndarray) -> np.ndarray:
        seen.append(threads())
        return distances(self, features)

    monkeypatch.setattr(Classifier, "distances", watched)
    with threadpool_limits(2, user_api="blas"):
        predictor.predict(trained.contents[0])
        after = threads()

    assert seen == [{1}]
    assert after == {2}
