"""Converts a concrete TensorFlow function to a graph with its weights, for either engine."""

import tempfile
from pathlib import Path
from typing import Any


def frozen_graph(function: Any) -> bytes:
    """The serialized ``GraphDef`` of a function, with the output ``features``."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    frozen = convert_variables_to_constants_v2(function)
    with frozen.graph.as_default():
        tf.identity(frozen.outputs[0], name="features")
    content: bytes = frozen.graph.as_graph_def().SerializeToString()
    return content


def as_openvino(function: Any) -> Any:
    """The ``openvino.Model`` of a function."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        # With a file, because converting the function fails in OpenVINO 2026.4 on Python 3.13.
        frozen = Path(folder) / "graph.pb"
        frozen.write_bytes(frozen_graph(function))
        return openvino.convert_model(frozen)
