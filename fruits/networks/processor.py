"""The instruction sets of this processor, and those that a compiled model really uses.

Engines choose kernels for the processor: the last bits of float32 results differ between
instruction sets, and bfloat16 silently becomes float32 on processors without it.
"""

import platform
import re
import socket
from pathlib import Path
from typing import Any

from fruits.errors import BackboneError

# From the newest to the oldest; each contains the ones after it. The keys are the names in
# OpenVINO's kernels, the values are the flags of Linux.
INSTRUCTIONS = {"amx": "amx_tile", "avx512": "avx512f", "avx2": "avx2", "sse4": "sse4_1"}


# The operations that decide the precision, because they do nearly all of the arithmetic.
_HEAVY = ("Convolution", "GroupConvolution", "FullyConnected", "MatMul")


def instructions() -> str:
    """The newest instruction set for float32 arithmetic, or the name of another architecture."""
    flags = _cpuinfo("flags").split()
    # AMX has no float32.
    names = [name for name, flag in INSTRUCTIONS.items() if flag in flags and name != "amx"]
    return names[0] if names else platform.machine()


def instruction_sets() -> list[str]:
    """The architecture, and all sets of :data:`INSTRUCTIONS` of this processor."""
    flags = _cpuinfo("flags").split()
    return [platform.machine(), *(name for name, flag in INSTRUCTIONS.items() if flag in flags)]


def openvino_precisions() -> list[str]:
    """The :data:`fruits.networks.graph.PRECISIONS` that OpenVINO supports on this processor."""
    import openvino

    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["f32", *(["bf16"] if "BF16" in able else [])]


def tensorflow_precisions() -> list[str]:
    """The :data:`fruits.networks.graph.PRECISIONS` that TensorFlow supports on this processor."""
    # Its oneDNN has bfloat16 kernels for AVX-512; without it, the graph stays in float32.
    return ["f32", *(["bf16"] if "avx512f" in _cpuinfo("flags").split() else [])]


def require_bfloat16(precisions: list[str]) -> None:
    """Checks that bfloat16 would not silently become float32.

    Raises:
        BackboneError: ``bf16`` is not one of the precisions.
    """
    if "bf16" not in precisions:
        raise BackboneError(
            f"precision: wanted bf16; the processor of {socket.gethostname()} has no bfloat16 and "
            "would compute in f32: set precision to f32, or use processors with AVX512_BF16 or AMX "
            "for all workers"
        )


def openvino_ran(compiled: Any) -> str:
    """Describes how a compiled model runs: OpenVINO's version, precision, instruction set.

    Args:
        compiled: an ``openvino.CompiledModel``.
    """
    import openvino

    precisions, kernels = set(), ""
    for operation in compiled.get_runtime_model().get_ops():
        about = operation.get_rt_info()
        if "layerType" in about and about["layerType"].value in _HEAVY:
            precisions.add(about["runtimePrecision"].value)
            kernels += about["primitiveType"].value + " "
    found = [name for name in INSTRUCTIONS if name in kernels]
    release = openvino.__version__.partition("-")[0]
    return f"openvino {release} {'+'.join(sorted(precisions))} {(found or [instructions()])[0]}"


def _cpuinfo(name: str) -> str:
    """A line of the first processor in ``/proc/cpuinfo``; empty on other systems."""
    path = Path("/proc/cpuinfo")
    found = re.search(rf"^{name}\s*:(.*)$", path.read_text(), re.M) if path.exists() else None
    return found[1].strip() if found else ""
