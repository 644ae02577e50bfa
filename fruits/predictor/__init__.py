"""Recognises images by what a run has learned: no Spark, no Java, no TensorFlow, no pickle.

    predictor = Predictor.load("s3://bucket/output")
    predictor.predict(content).label

A run writes it by `write_predictor`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fruits.predictor.images import Neighbour
    from fruits.predictor.predictor import Prediction, Predictor
    from fruits.predictor.write import write_predictor

# Where each name is. A server that only copies the files of a predictor needs none of the modules
# that these need.
_HOMES = {
    "Neighbour": "fruits.predictor.images",
    "Prediction": "fruits.predictor.predictor",
    "Predictor": "fruits.predictor.predictor",
    "write_predictor": "fruits.predictor.write",
}

__all__ = ["Neighbour", "Prediction", "Predictor", "write_predictor"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
