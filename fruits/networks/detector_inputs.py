"""Sets additional inputs of detectors for which only one value is correct.

``pixel_mask`` of DETR and similar networks is 1 for pixels of the photograph and 0 for padding: it
is all ones, because a squashed photograph fills the input. ``orig_target_sizes`` of RT-DETR and
similar networks is the width and the height to which boxes are scaled: those of the input.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fruits.errors import BackboneError
from fruits.images.resize import InputSpec

MASK, SIZES = "pixel_mask", "orig_target_sizes"


def with_known_inputs(model: Any, spec: InputSpec) -> Any:
    """Replaces the known inputs by constants, so that the photograph is the only input.

    Args:
        model: an ``openvino.Model``.
        spec: how photographs are resized.

    Raises:
        BackboneError: no single value is correct for an input.
    """
    import openvino
    from openvino import opset13 as ops

    left = []
    for port, node in zip(model.inputs, model.get_parameters(), strict=True):
        name = next((one for one in (MASK, SIZES) if one in port.get_names()), None)
        if name is None:
            left.append(node)
            continue
        shape = [one.get_length() if one.is_static else 0 for one in port.get_partial_shape()]
        value = _mask(shape, spec) if name == MASK else _sizes(shape, spec)
        fixed = ops.constant(value.astype(port.get_element_type().to_dtype())).output(0)
        for user in node.output(0).get_target_inputs():
            user.replace_source_output(fixed)
    if len(left) == len(model.inputs):
        return model
    return openvino.Model(model.get_results(), left, "detector")


def _mask(shape: list[int], spec: InputSpec) -> Any:
    """All ones; dynamic sides, given as 0, are those of the photograph."""
    if len(shape) != 3 or shape[0] > 1:
        raise BackboneError(f"wanted {MASK} of the shape (1, height, width); got {tuple(shape)}")
    if spec.resize != "squash":
        raise BackboneError(
            f"wanted resize squash, because {MASK} would have to mark the borders of each "
            f'photograph; got {spec.resize}: write "squash", or export it without {MASK}'
        )
    return np.ones((1, shape[1] or spec.height, shape[2] or spec.width))


def _sizes(shape: list[int], spec: InputSpec) -> Any:
    """The width and the height; some programs use the other order."""
    if len(shape) != 2 or shape[0] > 1 or shape[1] not in (0, 2):
        raise BackboneError(f"wanted {SIZES} of the shape (1, 2); got {tuple(shape)}")
    if spec.height != spec.width:
        raise BackboneError(
            f"wanted a square input, because it is unknown whether {SIZES} begins with the "
            f"width or the height; got {spec.width} x {spec.height} pixels: export it without "
            f"{SIZES}"
        )
    return np.array([[spec.width, spec.height]])
