"""Recognises images by what a run has learned: no Spark, no Java, no TensorFlow, no pickle.

    predictor = Predictor.load("s3://bucket/output")
    predictor.predict(content).label

A run writes it by `write_predictor`.
"""

from fruits.predictor.images import Neighbour
from fruits.predictor.predictor import Prediction, Predictor
from fruits.predictor.write import write_predictor

__all__ = ["Neighbour", "Prediction", "Predictor", "write_predictor"]
