"""The network and the classifier as one OpenVINO model: pixels in, probabilities out.

For programs that know nothing of this package. What a caller has to know is in its ``rt_info``, in
the section ``model_info`` as OpenVINO's Model API documents it.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fruits.classify.model import Array, Classifier
from fruits.networks.graph import CompiledGraph, InputSpec

MODEL = ("model.bin", "model.xml")
"""The files that OpenVINO writes of a model."""


def classification_model(graph: CompiledGraph, classifier: Classifier) -> dict[str, bytes]:
    """The files of a model from uint8 RGB (1, height, width, 3) to float32 probabilities (1, c).

    It computes in float32 what the classifier computes in float64.

    Args:
        graph: of the engine ``openvino``.
        classifier: of the features of this network.

    Returns:
        The contents of :data:`MODEL`, by name.
    """
    import openvino

    parts = graph.parts
    model = openvino.Core().read_model(model=parts["graph.xml"], weights=parts["graph.bin"])
    theirs = {operation.friendly_name for operation in model.get_ops()}
    model.reshape([1, graph.input.height, graph.input.width, 3])
    features = model.outputs[0].get_node().input_value(0)
    probabilities = _probabilities(features, classifier)
    pixels = model.get_parameters()[0]
    pixels.set_layout(openvino.Layout("NHWC"))
    pixels.output(0).set_names({"image"})
    probabilities.output(0).set_names({"probabilities"})
    whole = openvino.Model([probabilities], [pixels], "fruits")
    # OpenVINO's own names count what a process has made: equal models would be unequal files.
    ours = (one for one in whole.get_ordered_ops() if one.friendly_name not in theirs)
    for number, operation in enumerate(ours):
        operation.set_friendly_name(f"classifier/{number}")
    for key, value in model_info(classifier.labels, graph.input).items():
        whole.set_rt_info(value, ["model_info", key])
    with tempfile.TemporaryDirectory() as folder:
        # float16 weights would save half the bytes and cost agreement.
        openvino.save_model(whole, Path(folder) / "model.xml", compress_to_fp16=False)
        return {name: (Path(folder) / name).read_bytes() for name in MODEL}


# What the Model API calls the ways to bring an image to the wanted shape. Its crop takes the
# largest part of these proportions: that a margin is cut off as well cannot be said.
_RESIZES = {"squash": "standard", "shortest_edge": "crop", "pad": "fit_to_window_letterbox"}


_INTERPOLATIONS = {"bicubic": "CUBIC", "bilinear": "LINEAR", "nearest": "NEAREST"}


def model_info(labels: tuple[str, ...], spec: InputSpec) -> dict[str, str]:
    """What OpenVINO's Model API, Model Server and DL Streamer read of a model.

    The list of labels is split at spaces: those within a label become underscores. A box around
    what stands out cannot be said: the caller has to cut it out.
    """
    square = spec.crop == "centre" and spec.height == spec.width
    return {
        "model_type": "Classification",
        "labels": " ".join("_".join(label.split()) or "_" for label in labels),
        "resize_type": "crop" if square else _RESIZES[spec.resize],
        "interpolation_mode": _INTERPOLATIONS.get(spec.interpolation, "CUBIC"),
        # The model takes RGB, and these programs decode to BGR.
        "reverse_input_channels": "True",
    }


def _probabilities(features: Any, classifier: Classifier) -> Any:
    from openvino import opset13 as ops

    if classifier.transform == "sqrt":
        features = ops.multiply(ops.sign(features), ops.sqrt(ops.abs(features)))
    # What all labels have in common changes no probability, and the mean of the features is taken
    # off first: in float32, large terms that cancel each other would cost digits.
    weights = classifier.coefficients - classifier.coefficients.mean(axis=0)
    bias = classifier.intercept - classifier.intercept.mean() + weights @ classifier.mean
    weights, bias = (one / classifier.temperature for one in (weights, bias))
    centred = ops.subtract(features, _constant(classifier.mean))
    logits = ops.add(ops.matmul(centred, _constant(weights), False, True), _constant(bias))
    return ops.softmax(logits, 1)


def _constant(values: Array) -> Any:
    from openvino import opset13 as ops

    return ops.constant(np.ascontiguousarray(values, np.float32))
