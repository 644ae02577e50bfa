"""Chooses the part of a photograph for the network: all, the centre, or the salient part."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CROPS = ("centre", "saliency")
"""The largest square in the centre, or a box around the salient part."""

SMALLEST = 4
"""A box is at least the shorter side divided by this, so that enough pixels remain."""

# The longer side of the small picture in which saliency is computed, in pixels.
_SIDE = 64
# The number of saliency levels for the threshold.
_LEVELS = 64
# The share of saliency that may be outside the box at each side, and the margin that is added.
_OUTSIDE, _MARGIN = 0.05, 0.15

# A difference in CIELab that is hardly visible.
_LEAST = 2.0
_BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16
_VALUES = np.arange(256) / 255
_LINEAR = np.where(_VALUES <= 0.04045, _VALUES / 12.92, ((_VALUES + 0.055) / 1.055) ** 2.4)
# From linear sRGB to XYZ, relative to white.
_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
) / np.array([[0.95047], [1.0], [1.08883]])

Box = tuple[int, int, int, int]


def crop(image: Image.Image, kind: str) -> Image.Image:
    """Crops an upright image.

    Args:
        image: an RGB image.
        kind: one of :data:`CROPS`, or empty for the whole image.
    """
    if not kind:
        return image
    box = centre(*image.size) if kind == "centre" else salient_box(image)
    return image if box == (0, 0, *image.size) else image.crop(box)


def centre(width: int, height: int) -> Box:
    """The largest square in the centre: left, top, right, bottom."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def salient_box(image: Image.Image) -> Box:
    """A box around the salient part: left, top, right, bottom, in pixels.

    At each of its four sides, 5 % of the saliency may be outside; then a margin of 15 % is added on
    each side. The box lies inside the image. It is a square, unless it is larger than the shorter
    side of the image. For an image without a salient part, it is the whole image.
    """
    mass = saliency(image)
    if mass.max() < _LEAST or mass.min() == mass.max():
        return 0, 0, *image.size
    mass = np.where(mass >= threshold(mass), mass, 0.0)
    spans = [
        _span(mass.sum(axis=axis), size) for axis, size in zip((0, 1), image.size, strict=True)
    ]
    side = (1 + 2 * _MARGIN) * max(end - begin for begin, end in spans)
    side = max(side, min(image.size) / SMALLEST)
    (left, right), (top, bottom) = (
        _around((begin + end) / 2, side, size)
        for (begin, end), size in zip(spans, image.size, strict=True)
    )
    return left, top, right, bottom


def saliency(image: Image.Image) -> NDArray[np.float64]:
    """The saliency of each part of an image: the distance of its colour from the mean colour.

    Achanta, Hemami, Estrada and Suesstrunk, "Frequency-tuned Salient Region Detection", CVPR 2009:
    the distance in CIELab, after a blur that removes noise and fine texture.

    Returns:
        float64 >= 0 of shape (height, width), for a small picture with the same proportions.
    """
    scale = _SIDE / max(image.size)
    size = [max(1, round(scale * side)) for side in image.size]
    small = image.resize((size[0], size[1]), Image.Resampling.BOX, reducing_gap=2.0)
    colours = _lab(np.asarray(small))
    distance = _blurred(colours) - colours.mean(axis=(0, 1))
    found: NDArray[np.float64] = np.sqrt((distance**2).sum(axis=2))
    return found


def threshold(values: NDArray[np.float64]) -> float:
    """The value that separates low from high numbers with the largest variance between them.

    Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE Transactions on Systems,
    Man, and Cybernetics 9 (1979).
    """
    counts, edges = np.histogram(values, _LEVELS)
    middles = (edges[:-1] + edges[1:]) / 2
    low = np.cumsum(counts)[:-1]
    high = values.size - low
    sums = np.cumsum(counts * middles)
    between = low * high * (sums[:-1] / low - (sums[-1] - sums[:-1]) / high) ** 2
    return float(edges[1 + np.argmax(between)])


def _lab(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """CIELab of sRGB, (height, width, 3): CIE 15 and IEC 61966-2-1, with D65 as white."""
    linear = _LINEAR[pixels] @ _TO_XYZ.T
    roots = np.where(linear > 0.008856, np.cbrt(linear), 7.787 * linear + 16 / 116)
    x, y, z = np.moveaxis(roots, 2, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=2)


def _blurred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Applies the binomial blur 1 4 6 4 1 along both axes; borders are repeated."""
    height, width, _ = values.shape
    wide = np.pad(values, [(2, 2), (2, 2), (0, 0)], "edge")
    rows = sum(w * wide[n : n + height] for n, w in enumerate(_BINOMIAL))
    found: NDArray[np.float64] = sum(w * rows[:, n : n + width] for n, w in enumerate(_BINOMIAL))
    return found


def _span(mass: NDArray[np.float64], size: int) -> tuple[float, float]:
    """Begin and end of the salient part along an axis, in pixels of the image."""
    share = np.concatenate([[0], np.cumsum(mass)]) / mass.sum()
    begin, end = np.interp([_OUTSIDE, 1 - _OUTSIDE], share, np.linspace(0, size, len(share)))
    return float(begin), float(end)


def _around(middle: float, side: float, size: int) -> tuple[int, int]:
    """Begin and end of a span around `middle`, moved and shortened to lie inside the image."""
    whole = min(max(1, round(side)), size)
    begin = min(max(0, round(middle - whole / 2)), size - whole)
    return begin, begin + whole
