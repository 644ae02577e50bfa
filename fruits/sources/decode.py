"""The content of an image file -> pixels of a fixed size."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from fruits.errors import one_line

# Decoded pixels of one image: 64 Mi take 256 MB, and four times that as an animated WebP. JPEG is
# decoded at reduced scale, so a photograph of 200 megapixels passes; what does not is more likely a
# decompression bomb.
MAX_PIXELS = 64 << 20


Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit looks at the size before the reduction.


# Each scan of a progressive JPEG passes over all its pixels, 4 ms for 64 Mi; cameras write ten.
MAX_SCANS = 500


# Damaged EXIF and the like: what it says against the pixels comes as an error.
warnings.filterwarnings("ignore", module=r"PIL\.")


# Raster formats alone: Pillow knows others that run a program (EPS) or hide their size (ICO).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM")


class RejectedImage(Exception):
    """An image that yields no features; the message is the reason."""


def decode(content: bytes, side: int) -> NDArray[np.uint8]:
    """The pixels of an image file, squeezed into a square.

    JPEG files are decoded at the smallest scale that keeps twice the wanted side. The orientation
    of a photograph is applied, transparent pixels are laid on white, 16-bit grey keeps its eight
    high bits.

    Args:
        content: of the file.
        side: wanted height and width, in pixels.

    Returns:
        uint8 RGB of shape (side, side, 3).

    Raises:
        RejectedImage: with the reason, when the content is no image, damaged or too large.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception as error:
        raise RejectedImage(
            f"not an image: {one_line(error) if content else 'empty file'}"
        ) from error
    try:
        full = image.size
        image.draft(None, (2 * side, 2 * side))
        # A progressive JPEG holds all its coefficients in memory, whatever the scale.
        width, height = full if image.info.get("progressive") else image.size
        if width * height > MAX_PIXELS:
            raise RejectedImage(
                f"too large: {full[0]} x {full[1]} pixels to decode, the limit is {MAX_PIXELS}"
            )
        if image.info.get("progressive") and content.count(b"\xff\xda") > MAX_SCANS:
            raise RejectedImage(f"too large: more than {MAX_SCANS} scans to decode")
        # Before the orientation is asked for: Pillow turns a TIFF itself when it loads it.
        image.load()
        turn = _TURNS.get(_orientation(image) or 0)
        square = _colours(image).resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
        if square.mode == "RGBA":
            white = Image.new("RGBA", square.size, "white")
            square = Image.alpha_composite(white, square).convert("RGB")
        return np.asarray(square.transpose(turn) if turn is not None else square)
    except RejectedImage:
        raise
    # Decoders raise nearly anything on damaged files; the row carries what it was.
    except Exception as error:
        raise RejectedImage(f"damaged: {one_line(error)}") from error


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Damaged EXIF says nothing about the orientation, nor against the pixels.
        return None


def _colours(image: Image.Image) -> Image.Image:
    """The image as RGB, or as RGBA where it has transparency."""
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        image = Image.fromarray((grey >> 8).clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        raise RejectedImage("not an image: floating-point pixels have no defined range")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)
