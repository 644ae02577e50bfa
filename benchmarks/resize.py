"""Compares other ways to resize with Pillow's, on one core.

    python -m benchmarks.resize --images DIR [--side 224] [--count 200]

Pillow's bicubic filter uses integers: weights of 22 bits, first rows and then columns, rounded and
clipped to 0..255 after each of the two passes. The alternatives:

* OpenVINO's Interpolate operation in the mode ``bicubic_pillow``, which rounds at the same points,
* the same two passes as matrix products in float64, which is exact for such numbers,
* the same two passes in NumPy, one weight of the filter at a time.
"""

import argparse
import io
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset11
from PIL import Image

from benchmarks.report import table

Pixels = NDArray[np.uint8]
Resize = Callable[[Image.Image, Pixels], Pixels]

BITS = 22
"""The bits of a weight, see PRECISION_BITS in Pillow's Resample.c."""
REPEATS = 3


def main() -> None:
    options = _options()
    files = sorted(path for path in Path(options.images).rglob("*.jpg"))
    step = max(1, len(files) // options.count)
    contents = [path.read_bytes() for path in files[::step]]
    images = [Image.open(io.BytesIO(content)).convert("RGB") for content in contents]
    size = images[0].size
    images = [image for image in images if image.size == size]
    decoding = _milliseconds(lambda: list(map(_decoded, contents)), len(contents))
    lines: list[list[object]] = [["decoding a JPEG, for comparison", decoding, ""]]
    expected = [_pillow(options.side)(image, np.asarray(image)) for image in images]
    for name, make in _CONTENDERS.items():
        resize = make(size, options.side)
        pairs = [(image, np.asarray(image)) for image in images]
        got = [resize(image, pixels) for image, pixels in pairs]
        differing = np.mean([(a != b).mean() for a, b in zip(got, expected, strict=True)])
        spent = _milliseconds(lambda: [resize(*pair) for pair in pairs], len(pairs))  # noqa: B023
        lines.append([name, spent, f"{differing:.1e}"])
    print(f"{len(images)} images of {size[0]} x {size[1]} pixels, to {options.side}\n")
    print(table(lines, ["", "ms per image", "share of different values"]))


def weights(size: int, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pillow's bicubic filter: for each of `side` pixels the first source pixel, and its weights.

    Returns:
        Arrays (side,) and (side, n), integers in units of 2^-22; weights outside the filter are 0.
    """
    scale = max(size / side, 1.0)
    support = 2.0 * scale
    first = np.zeros(side, np.int64)
    found = np.zeros((side, math.ceil(support) * 2 + 1), np.int64)
    for number in range(side):
        centre = (number + 0.5) * size / side
        low = max(int(centre - support + 0.5), 0)
        high = min(int(centre + support + 0.5), size)
        own = _bicubic((np.arange(low, high) - centre + 0.5) / scale)
        own /= own.sum()
        first[number] = low
        found[number, : high - low] = np.trunc(own * (1 << BITS) + np.copysign(0.5, own))
    return first, found


def _bicubic(x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Keys' cubic convolution with a = -0.5 (IEEE Trans. ASSP 29, 1981), as in Pillow."""
    a, x = -0.5, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _pillow(side: int) -> Resize:
    return lambda image, _: np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def _openvino(size: tuple[int, int], side: int) -> Resize:
    given = ov.opset13.parameter([1, size[1], size[0], 3], ov.Type.u8)
    target, axes = np.array([side, side], np.int64), np.array([1, 2], np.int64)
    node = opset11.interpolate(given, target, "bicubic_pillow", "sizes", axes=axes, cube_coeff=-0.5)
    settings = {"INFERENCE_NUM_THREADS": 1}
    request = ov.compile_model(ov.Model([node], [given]), "CPU", settings).create_infer_request()

    def resize(_: Image.Image, pixels: Pixels) -> Pixels:
        result: Pixels = next(iter(request.infer([pixels[np.newaxis]]).values()))[0]
        return np.clip(result, 0, 255).astype(np.uint8)

    return resize


def _products(size: tuple[int, int], side: int) -> Resize:
    across, down = (_dense(extent, side) for extent in size)

    def resize(_: Image.Image, pixels: Pixels) -> Pixels:
        rows = _rounded(across @ pixels.astype(np.float64))  # (height, side, 3)
        columns = down @ rows.reshape(len(rows), -1).astype(np.float64)
        return _rounded(columns).reshape(side, side, 3)

    return resize


def _dense(extent: int, side: int) -> NDArray[np.float64]:
    first, found = weights(extent, side)
    dense = np.zeros((side, extent + found.shape[1]))
    for number, (start, own) in enumerate(zip(first, found, strict=True)):
        dense[number, start : start + len(own)] = own
    return np.ascontiguousarray(dense[:, :extent])


def _rounded(sums: NDArray[np.float64]) -> Pixels:
    return np.clip(np.floor(sums / (1 << BITS) + 0.5), 0, 255).astype(np.uint8)


def _taps(size: tuple[int, int], side: int) -> Resize:
    passes = [weights(extent, side) for extent in size]

    def along(pixels: Pixels, axis: int) -> Pixels:
        first, found = passes[1 - axis]
        shape = (1, side, 1) if axis else (side, 1, 1)
        total = np.full(1, 1 << (BITS - 1), np.int32)
        for tap, own in enumerate(found.T.astype(np.int32)):
            place = np.minimum(first + tap, pixels.shape[axis] - 1)
            total = total + np.take(pixels, place, axis).astype(np.int32) * own.reshape(shape)
        return np.clip(total >> BITS, 0, 255).astype(np.uint8)

    return lambda _, pixels: along(along(pixels, 1), 0)


_CONTENDERS: dict[str, Callable[[tuple[int, int], int], Resize]] = {
    "Pillow": lambda _, side: _pillow(side),
    "OpenVINO, bicubic_pillow": _openvino,
    "matrix products in float64": _products,
    "NumPy, tap by tap": _taps,
}


def _decoded(content: bytes) -> None:
    Image.open(io.BytesIO(content)).convert("RGB")


def _milliseconds(work: Callable[[], object], count: int) -> float:
    spent = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begin)
    return min(spent) / count * 1000


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resize", description=__doc__)
    parser.add_argument("--images", required=True, help="a folder of JPEG images of one size")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--count", type=int, default=200)
    return parser.parse_args()


if __name__ == "__main__":
    main()
