"""Writes the network of a run as a Keras archive with a softmax over its labels.

    python -m benchmarks.contenders.keras_archive OUTPUT FILE

The head has random weights: the predictions mean nothing, but take as long as those of any head.
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np

from fruits.networks.catalogue import BACKBONES
from fruits.networks.compile import keras_model


def write(output: str, file: str) -> None:
    """Writes FILE, and the labels as JSON next to it."""
    import keras

    name = json.loads(Path(output, "run.json").read_text())["parameters"]["backbone"]
    labels = json.loads(Path(output, "predictor/predictor.json").read_text())["labels"]
    backbone, _ = keras_model(name, "random")
    preprocess = importlib.import_module(BACKBONES[name].module).preprocess_input
    # The preprocessing of a channel is linear, so two pixels determine it.
    black, grey = (float(preprocess(np.full((1, 1, 1, 3), v, "float32")).flat[0]) for v in (0, 1))
    inputs = keras.Input(backbone.input_shape[1:])
    features = backbone(keras.layers.Rescaling(grey - black, black)(inputs))
    scores = keras.layers.Dense(len(labels), activation="softmax")(features)
    keras.Model(inputs, scores).save(file)
    Path(file).with_suffix(".json").write_text(json.dumps(labels))


if __name__ == "__main__":
    write(*sys.argv[1:])
