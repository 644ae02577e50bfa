"""What a compiled graph may do: arithmetic on its input and its own constants, nothing else.

A graph comes from the cache, from a saved model or from a folder of a user's. TensorFlow has
operations that read and write any file or run Python code, so each operation has to be on a list.
OpenVINO's own operations only compute; it can be extended by libraries, which is refused, and a few
of its operations keep a state, draw random numbers or repeat something, which is refused as well.
"""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

from fruits.errors import BackboneError, one_line

# Arithmetic, and operations that arrange its results; enough for all networks of the catalogue.
_OPERATIONS = """
Abs Add AddN AddV2 AvgPool BiasAdd Cast ConcatV2 Const Conv2D DepthwiseConv2dNative Elu
Erf Exp ExpandDims Floor FusedBatchNorm FusedBatchNormV3 GatherV2 Greater GreaterEqual
Identity IdentityN LeakyRelu Less Log MatMul Max MaxPool Maximum Mean Minimum MirrorPad
Mul Neg NoOp Pack Pad PadV2 Placeholder Pow Prod RealDiv Relu Relu6 Reshape ReverseV2
Rsqrt Select SelectV2 Shape Sigmoid Slice Softmax Split Sqrt Square Squeeze StopGradient
StridedSlice Sub Sum Tanh Transpose
"""


TENSORFLOW_OPERATIONS = frozenset(_OPERATIONS.split())


# Of OpenVINO's own operations, those whose result is not a function of the image alone, or that
# may never end. Its others do nothing but compute.
OPENVINO_REFUSED = frozenset(
    ("Assign", "ReadValue", "RandomUniform", "Multinomial", "Loop", "TensorIterator")
)


# Bytes that a constant may take beyond those that are written down for it.
FILLED_BYTES = 1 << 20


def require_safe_openvino(xml: bytes, constants: bytes) -> None:
    """Checks an OpenVINO model: operations that compute, constants within its file.

    Args:
        xml: the model.
        constants: the content of the file next to it.

    Raises:
        BackboneError: when it holds anything else.
    """
    try:
        # Entities can make a small text very large, and another encoding could hide them.
        if b"\0" in xml or re.search(rb"<!(DOCTYPE|ENTITY)", xml, re.IGNORECASE):
            raise ValueError("a document type or an encoding that OpenVINO does not write")
        root = ElementTree.fromstring(xml)
        for layer in root.iter("layer"):
            kind, version = str(layer.get("type")), str(layer.get("version"))
            if not re.fullmatch(r"opset[0-9]{1,2}", version):
                raise ValueError(f"the operation {kind} of {version}")
            if kind in OPENVINO_REFUSED:
                raise ValueError(f"the operation {kind}")
            for data in layer.iter("data"):
                offset, size = int(data.get("offset", 0)), int(data.get("size", 0))
                if min(offset, size) < 0 or offset + size > len(constants):
                    raise ValueError("a constant that is not in its file")
    except (ElementTree.ParseError, ValueError) as error:
        raise BackboneError(_refused(one_line(error))) from error


def require_pure(model: Any) -> None:
    """Checks the operations of an ``openvino.Model`` before it is run for the first time.

    Raises:
        BackboneError: when its output is not a function of its input alone.
    """
    for operation in model.get_ops():
        if (kind := operation.get_type_name()) in OPENVINO_REFUSED:
            raise BackboneError(f"wanted a network that only computes; got the operation {kind}")


def require_safe_tensorflow(definition: Any) -> None:
    """Checks a TensorFlow graph: known operations only, and no constant that grows when loaded.

    Args:
        definition: the ``GraphDef``.

    Raises:
        BackboneError: when it holds anything else.
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


def _refused(what: str) -> str:
    return (
        f"wanted a compiled graph of arithmetic; got one with {what}: it is not run; "
        "delete it, so that it is compiled again"
    )
