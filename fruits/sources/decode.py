"""Contents of image files -> pixels, or the reason why there are none."""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fruits.errors import one_line
from fruits.sources import bmp, containers, formats, gif, jpeg, netpbm, png, tiff, webp
from fruits.sources.exif import TURNS, orientation
from fruits.sources.formats import SUFFIXES
from fruits.sources.limited import decode_limited, watched
from fruits.sources.limits import RejectedImage

__all__ = ["SUFFIXES", "RejectedImage", "decode"]

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit applies to the size before the reduction.
# Of damaged EXIF and the like; damaged pixels are an error.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(content: bytes, side: int, exact: bool = False) -> NDArray[np.uint8]:
    """The pixels of an image file, resized to a square.

    JPEG files are decoded at the smallest scale that keeps twice the wanted side. The orientation
    of a photograph is applied, transparent pixels are laid on white, samples of more than 8 bits
    keep their eight high bits. ``docs/pixels.md`` says all of it.

    Args:
        content: of the file.
        side: wanted height and width, in pixels.
        exact: decode JPEG at full scale, as Keras does.

    Returns:
        uint8 RGB of shape (side, side, 3).

    Raises:
        RejectedImage: with the reason, when the content is no image, damaged, too large or of a
            layout whose pixels are not known to come out right.
    """
    if not isinstance(content, bytes):
        content = bytes(memoryview(content))
    kind = formats.format_of(content)
    if kind is None:
        raise RejectedImage(f"not an image: {formats.describe(content)}")
    if kind in _UNBOUNDED or (kind == "TIFF" and tiff.is_unbounded(content)):
        return decode_limited(content, side, exact)
    return watched(decode_here, content, side, exact)


def decode_here(content: bytes, side: int, exact: bool = False) -> NDArray[np.uint8]:
    """Like :func:`decode`, always in this process."""
    kind = formats.format_of(content) or ""
    try:
        if kind == "JPEG":
            return _square(jpeg.load(content, None if exact else 2 * side), side)
        return _square(_LOADERS[kind](content), side)
    except RejectedImage:
        raise
    except MemoryError:
        raise RejectedImage("too large: it takes too much memory to decode") from None
    # Decoders raise nearly any exception on damaged files; it becomes the reason.
    except Exception as error:
        reason = one_line(error)
        cut = "truncated: " if "truncated" in reason.lower() else ""
        raise RejectedImage(f"damaged: {cut}{reason}") from error


# Formats whose cost of decoding does not follow from their headers.
_UNBOUNDED = ("AVIF", "HEIF", "JPEG2000")

_LOADERS: dict[str, Callable[[bytes], Image.Image]] = {
    "PNG": png.load,
    "WEBP": webp.load,
    "GIF": gif.load,
    "TIFF": tiff.load,
    "BMP": bmp.load,
    "PPM": netpbm.load,
    "JPEG2000": containers.load_jpeg2000,
    "AVIF": containers.load_avif,
    "HEIF": containers.load_heif,
}


def _square(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """The image resized to a square, without transparency, upright."""
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode != mode:
        image, info = image.convert(mode), image.info
        image.info = info
    square = image.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    if mode == "RGBA":
        white = Image.new("RGBA", square.size, "white")
        square = Image.alpha_composite(white, square).convert("RGB")
    turn = TURNS.get(orientation(image.info))
    return np.asarray(square.transpose(turn) if turn is not None else square)
