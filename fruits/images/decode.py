"""Decodes the contents of image files into pixels, or raises the reason for a rejection."""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fruits.errors import one_line
from fruits.images import avif_heif_jpeg2000, bmp, formats, gif, jpeg, netpbm, png, tiff, webp
from fruits.images.crop import Box, crop
from fruits.images.decode_process import decode_limited, with_time_limit
from fruits.images.exif import TURNS, orientation
from fruits.images.formats import SUFFIXES
from fruits.images.resize import InputSpec, resize
from fruits.images.size_limits import RejectedImage

__all__ = ["SUFFIXES", "RejectedImage", "decode"]

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit applies to the size before it is reduced.
# Warnings about damaged EXIF and similar; damaged pixels raise an error.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(content: bytes, spec: InputSpec | int, exact: bool = False) -> NDArray[np.uint8]:
    """Decodes an image file and resizes it to the input shape of a network.

    JPEG files are decoded at the smallest scale that keeps twice the wanted side, if the network
    allows that. The orientation of a photograph is applied, transparent pixels are composited on
    white, and samples of more than 8 bits keep their eight high bits. ``docs/pixels.md`` has all
    details.

    Args:
        content: the bytes of the file.
        spec: the wanted shape and how to resize; a number is the side of a square to which the
            image is resized without keeping its proportions.
        exact: decode JPEG at full scale, as Keras does.

    Returns:
        uint8 RGB of shape (height, width, 3).

    Raises:
        RejectedImage: with the reason: the content is not an image, is damaged, is too large, or
            has a layout that is not known to be decoded correctly.
    """
    return _decoded(content, InputSpec(spec) if isinstance(spec, int) else spec, exact)


def _decoded(content: bytes, spec: InputSpec | None, exact: bool) -> NDArray[np.uint8]:
    if not isinstance(content, bytes):
        content = bytes(memoryview(content))
    kind = formats.format_of(content)
    if kind is None:
        raise RejectedImage(f"not an image: {formats.describe(content)}")
    if kind in _UNBOUNDED or (kind == "TIFF" and tiff.is_unbounded(content)):
        return decode_limited(content, spec, exact)
    return with_time_limit(decode_here, content, spec, exact)


def decode_whole(content: bytes) -> Image.Image:
    """Like :func:`decode`, in the original size: RGB, upright, JPEG at full scale."""
    return Image.fromarray(_decoded(content, None, True))


def decode_box(content: bytes, box: Box, spec: InputSpec) -> NDArray[np.uint8]:
    """Like :func:`decode`, for one box of the upright image, in pixels at full scale."""
    return np.asarray(resize(decode_whole(content).crop(box), spec))


def decode_here(content: bytes, spec: InputSpec | None, exact: bool = False) -> NDArray[np.uint8]:
    """Like :func:`decode`, always in this process; without a spec, in the original size."""
    kind = formats.format_of(content) or ""
    try:
        if kind == "JPEG":
            side = None if exact or spec is None else spec.least_side()
            return _shaped(jpeg.load(content, side), spec)
        return _shaped(_LOADERS[kind](content), spec)
    except RejectedImage:
        raise
    except MemoryError:
        raise RejectedImage("too large: decoding it needs too much memory") from None
    # Decoders raise nearly any exception for damaged files; it becomes the reason.
    except Exception as error:
        reason = one_line(error)
        cut = "truncated: " if "truncated" in reason.lower() else ""
        raise RejectedImage(f"damaged: {cut}{reason}") from error


# Formats whose headers do not limit the cost of decoding.
_UNBOUNDED = ("AVIF", "HEIF", "JPEG2000")

_LOADERS: dict[str, Callable[[bytes], Image.Image]] = {
    "PNG": png.load,
    "WEBP": webp.load,
    "GIF": gif.load,
    "TIFF": tiff.load,
    "BMP": bmp.load,
    "PPM": netpbm.load,
    "JPEG2000": avif_heif_jpeg2000.load_jpeg2000,
    "AVIF": avif_heif_jpeg2000.load_avif,
    "HEIF": avif_heif_jpeg2000.load_heif,
}


def _shaped(image: Image.Image, spec: InputSpec | None) -> NDArray[np.uint8]:
    """The opaque, upright image in the shape of the spec, or in its original shape."""
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode != mode:
        image, info = image.convert(mode), image.info
        image.info = info
    if spec is None:
        return np.asarray(_opaque(_upright(image)))
    # A rotated square is a square of the same size, and rotating the resized one is cheaper.
    late = spec.is_squashed_square
    if not late:
        image = _upright(image)
    shaped = resize(image if late else crop(_opaque(image), spec.crop), spec)
    shaped.info = image.info
    return np.asarray(_upright(_opaque(shaped)) if late else shaped)


def _opaque(image: Image.Image) -> Image.Image:
    """The image on a white background."""
    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    turn = TURNS.get(orientation(image.info))
    return image.transpose(turn) if turn is not None else image
