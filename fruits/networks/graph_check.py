"""Checks that a compiled graph only computes with its input and its own constants.

A graph comes from the cache, from a saved model or from a folder of the user. TensorFlow has
operations that read and write any file or run Python code, so each operation must be on a list of
allowed ones. OpenVINO's own operations only compute. Operations from extension libraries are
refused, and so are a few of its own that keep a state, draw random numbers or repeat a subgraph.
"""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

from fruits.errors import BackboneError, one_line

# Arithmetic, and operations that rearrange results; enough for all networks of the catalogue.
_OPERATIONS = """
Abs Add AddN AddV2 AvgPool BiasAdd Cast ConcatV2 Const Conv2D DepthwiseConv2dNative Elu
Erf Exp ExpandDims Floor FusedBatchNorm FusedBatchNormV3 GatherV2 Greater GreaterEqual
Identity IdentityN LeakyRelu Less Log MatMul Max MaxPool Maximum Mean Minimum MirrorPad
Mul Neg NoOp Pack Pad PadV2 Placeholder Pow Prod RealDiv Relu Relu6 Reshape ReverseV2
Rsqrt Select SelectV2 Shape Sigmoid Slice Softmax Split Sqrt Square Squeeze StopGradient
StridedSlice Sub Sum Tanh Transpose
"""


TENSORFLOW_OPERATIONS = frozenset(_OPERATIONS.split())


# OpenVINO's operations whose result does not depend only on the image, or that may never end.
OPENVINO_REFUSED = frozenset(
    ("Assign", "ReadValue", "RandomUniform", "Multinomial", "Loop", "TensorIterator")
)


# The most bytes of a constant in addition to its bytes in the file.
FILLED_BYTES = 1 << 20


# What to do about a graph that this package made.
_COMPILE_AGAIN = "delete it, so that it is compiled again"


def require_safe_openvino(xml: bytes, constants: bytes, remedy: str = _COMPILE_AGAIN) -> None:
    """Checks that an OpenVINO model has only allowed operations, and constants in its file.

    Args:
        xml: the model.
        constants: the content of the file next to it.
        remedy: what to do if it has anything else.

    Raises:
        BackboneError: it contains anything else.
    """
    try:
        for layer in read_xml(xml).iter("layer"):
            kind, version = str(layer.get("type")), str(layer.get("version"))
            if not re.fullmatch(r"opset[0-9]{1,2}", version):
                raise ValueError(f"the operation {kind} of {version}")
            if kind in OPENVINO_REFUSED:
                raise ValueError(f"the operation {kind}")
            for data in layer.iter("data"):
                # Only constants have both. The offset of a PriorBox is a position in a picture.
                if {"offset", "size"}.issubset(data.keys()):
                    offset, size = int(data.get("offset", 0)), int(data.get("size", 0))
                    if min(offset, size) < 0 or offset + size > len(constants):
                        raise ValueError("a constant that is not in its file")
    except (ElementTree.ParseError, ValueError) as error:
        raise BackboneError(_refused(one_line(error), remedy)) from error


def read_xml(content: bytes) -> ElementTree.Element:
    """Parses the XML of an OpenVINO model.

    Raises:
        ElementTree.ParseError: it is not XML.
        ValueError: it has anything that OpenVINO does not write and that could be dangerous.
    """
    # Entities can make a small text very large, and another encoding could hide them.
    if b"\0" in content or re.search(rb"<!(DOCTYPE|ENTITY)", content, re.IGNORECASE):
        raise ValueError("a document type or an encoding that OpenVINO does not write")
    return ElementTree.fromstring(content)


def require_pure(model: Any) -> None:
    """Checks the operations of an ``openvino.Model`` before it runs for the first time.

    Raises:
        BackboneError: its output does not depend only on its input.
    """
    for operation in model.get_ops():
        if (kind := operation.get_type_name()) in OPENVINO_REFUSED:
            raise BackboneError(f"wanted a network that only computes; got the operation {kind}")


def require_safe_tensorflow(definition: Any) -> None:
    """Checks that a TensorFlow graph has only allowed operations, and no constants that expand.

    Args:
        definition: the ``GraphDef``.

    Raises:
        BackboneError: it contains anything else.
    """
    import tensorflow as tf

    if definition.library.function or definition.library.gradient:
        raise BackboneError(_refused("functions of its own"))
    for node in definition.node:
        if node.op not in TENSORFLOW_OPERATIONS:
            raise BackboneError(_refused(f"the operation {node.op}"))
        if node.op == "Const":
            tensor = node.attr["value"].tensor
            sizes = [dimension.size for dimension in tensor.tensor_shape.dim]
            count = 1
            for size in sizes:
                count *= size
            bytes_ = count * tf.dtypes.as_dtype(tensor.dtype).size
            if min(sizes, default=0) < 0 or bytes_ > tensor.ByteSize() + FILLED_BYTES:
                raise BackboneError(_refused(f"a constant of {bytes_} bytes that are not there"))


def _refused(what: str, remedy: str = _COMPILE_AGAIN) -> str:
    return (
        f"wanted a network of arithmetic operations only; got one with {what}, so it is not run: "
        f"{remedy}"
    )
