"""The network and the classifier as one OpenVINO model: pixels in, probabilities out.

It is for programs that do not use this package. The section ``model_info`` of its ``rt_info``
describes how to call it, as documented by OpenVINO's Model API.
"""

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fruits.classify.model import Array, Classifier
from fruits.networks.graph import CompiledGraph, InputSpec

MODEL = ("model.bin", "model.xml")
"""The files that OpenVINO writes for a model."""


def classification_model(graph: CompiledGraph, classifier: Classifier) -> dict[str, bytes]:
    """Makes a model from uint8 RGB (1, height, width, 3) to float32 probabilities (1, c).

    It computes in float32, while the classifier computes in float64.

    Args:
        graph: the graph of a network for the engine ``openvino``.
        classifier: the classifier for the features of this network.

    Returns:
        The contents of the files :data:`MODEL`, by name.
    """
    import openvino

    parts = graph.parts
    model = openvino.Core().read_model(model=parts["graph.xml"], weights=parts["graph.bin"])
    theirs = {operation.friendly_name for operation in model.get_ops()}
    model.reshape([1, graph.input.height, graph.input.width, 3])
    features = model.outputs[0].get_node().input_value(0)
    probabilities = probabilities_of(features, classifier)
    pixels = model.get_parameters()[0]
    pixels.set_layout(openvino.Layout("NHWC"))
    pixels.output(0).set_names({"image"})
    probabilities.output(0).set_names({"probabilities"})
    whole = openvino.Model([probabilities], [pixels], "fruits")
    # OpenVINO numbers its names within a process, so equal models would have different files.
    ours = (one for one in whole.get_ordered_ops() if one.friendly_name not in theirs)
    for number, operation in enumerate(ours):
        operation.set_friendly_name(f"classifier/{number}")
    for key, value in model_info(classifier.labels, graph.input).items():
        whole.set_rt_info(value, ["model_info", key])
    with tempfile.TemporaryDirectory() as folder:
        # float16 weights would need half the bytes, but the results would differ.
        openvino.save_model(whole, Path(folder) / "model.xml", compress_to_fp16=False)
        return {name: (Path(folder) / name).read_bytes() for name in MODEL}


# The Model API's names for ways of resizing. Its crop takes the largest part with these
# proportions; it has no option to cut off a margin as well.
_RESIZES = {"squash": "standard", "shortest_edge": "crop", "pad": "fit_to_window_letterbox"}


_INTERPOLATIONS = {"bicubic": "CUBIC", "bilinear": "LINEAR", "nearest": "NEAREST"}


def model_info(labels: tuple[str, ...], spec: InputSpec) -> dict[str, str]:
    """The information for OpenVINO's Model API, Model Server and DL Streamer.

    These split the list of labels at spaces, so labels are written by :func:`_as_words`. They do
    not support a salient box: the caller must crop it.
    """
    square = spec.crop == "centre" and spec.height == spec.width
    return {
        "model_type": "Classification",
        "labels": " ".join(_as_words(labels)),
        "resize_type": "crop" if square else _RESIZES[spec.resize],
        "interpolation_mode": _INTERPOLATIONS.get(spec.interpolation, "CUBIC"),
        # The model takes RGB, and these programs decode to BGR.
        "reverse_input_channels": "True",
    }


# Of these, XML allows only some, and a program may not expect them.
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def _as_words(labels: tuple[str, ...]) -> list[str]:
    """Labels without spaces and control characters, all different.

    Underscores replace spaces. Of several labels that become equal, those after the first one get
    a number: `a b` and `a_b` become `a_b` and `a_b_2`.
    """
    words = [_CONTROL.sub("", "_".join(label.split())) or "_" for label in labels]
    taken, seen = set(words), set[str]()
    for place, word in enumerate(words):
        number = 2
        while words[place] in seen:
            if (name := f"{word}_{number}") not in taken:
                words[place] = name
                taken.add(name)
            number += 1
        seen.add(words[place])
    return words


def probabilities_of(features: Any, classifier: Classifier) -> Any:
    """Adds the operations from float32 features (n, d) to probabilities (n, c)."""
    from openvino import opset13 as ops

    if classifier.transform != "none":
        features = ops.multiply(ops.sign(features), ops.sqrt(ops.abs(features)))
    if classifier.transform == "sqrt-l2":
        # The smallest number replaces a length of 0, so that zeros stay zeros.
        least = float(np.finfo(np.float32).tiny)
        features = ops.normalize_l2(features, np.array([1]), least, "max")
    # A term common to all labels does not change probabilities, so it is subtracted, and the mean
    # of the features as well: in float32, large terms that cancel each other would lose digits.
    weights = classifier.coefficients - classifier.coefficients.mean(axis=0)
    bias = classifier.intercept - classifier.intercept.mean() + weights @ classifier.mean
    weights, bias = (one / classifier.temperature for one in (weights, bias))
    centred = ops.subtract(features, _constant(classifier.mean))
    logits = ops.add(ops.matmul(centred, _constant(weights), False, True), _constant(bias))
    return ops.softmax(logits, 1)


def _constant(values: Array) -> Any:
    from openvino import opset13 as ops

    return ops.constant(np.ascontiguousarray(values, np.float32))
