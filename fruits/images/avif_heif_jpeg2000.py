"""Decodes AVIF, HEIF and JPEG 2000, whose headers do not limit the cost of decoding them."""

import io
import struct

import numpy as np
from PIL import AvifImagePlugin, Image

from fruits.images.png import high_bits
from fruits.images.size_limits import RejectedImage, check_size

try:
    import pi_heif
except ImportError:
    pi_heif = None

# The decoder needs 13 bytes for each sample.
MAX_JPEG2000_SAMPLES = 96 << 20
# CMYK, sRGB, grey, sYCC.
_COLOURS_OF_JPEG2000 = (12, 16, 17, 18)

# A task has one core.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def load_avif(content: bytes) -> Image.Image:
    """Decodes an AVIF file.

    Raises:
        RejectedImage: the file is too large or damaged.
    """
    _check_boxes(content, "AVIF")
    image = Image.open(io.BytesIO(content), formats=("AVIF",))
    check_size(*image.size)
    image.load()
    return image


def load_heif(content: bytes) -> Image.Image:
    """Decodes the primary picture of a HEIC or HEIF file.

    Raises:
        RejectedImage: the file is too large or damaged, or the decoder is not installed.
    """
    if pi_heif is None:
        raise RejectedImage(
            "unsupported format: HEIC needs the package pi-heif (pip install pi-heif)"
        )
    _check_boxes(content, "HEIF")
    pi_heif.options.DECODE_THREADS = 1
    pi_heif.options.THUMBNAILS = pi_heif.options.DEPTH_IMAGES = pi_heif.options.AUX_IMAGES = False
    # Grey with more than 8 bits becomes white if pi-heif converts it to 8 bits.
    file = pi_heif.open_heif(content, convert_hdr_to_8bit=False)
    check_size(*file.size)
    if file.mode == "I;16":
        return Image.fromarray((np.asarray(file) >> 8).astype(np.uint8))
    if file.mode not in ("L", "LA", "RGB", "RGBA", "RGB;16", "RGBA;16"):
        raise RejectedImage(f"unsupported layout: HEIF with pixels of the kind {file.mode}")
    if file.mode.endswith(";16"):
        file = pi_heif.open_heif(content, convert_hdr_to_8bit=True)
    image: Image.Image = file.to_pillow()
    return image


def load_jpeg2000(content: bytes) -> Image.Image:
    """Decodes a JPEG 2000 file.

    Raises:
        RejectedImage: the file is too large, damaged, or has an unsupported layout.
    """
    place = content.find(b"\xff\x4f\xff\x51")
    if place < 0:
        raise RejectedImage("damaged: truncated: JPEG 2000 without a codestream")
    if place:
        _check_boxes(content, "JPEG 2000")
    try:
        right, bottom, left, top, across, down = struct.unpack_from(">6I", content, place + 8)
        (count,) = struct.unpack_from(">H", content, place + 40)
        samples = [struct.unpack_from("3B", content, place + 42 + 3 * n) for n in range(count)]
    except struct.error:
        raise RejectedImage("damaged: truncated: JPEG 2000 without its sizes") from None
    check_size(right - left, bottom - top)
    if (right - left) * (bottom - top) * count > MAX_JPEG2000_SAMPLES:
        raise RejectedImage(
            f"too large: {right - left} x {bottom - top} pixels of {count} samples to decode, "
            f"the limit is {MAX_JPEG2000_SAMPLES} samples"
        )
    if across and down and -(-right // across) * -(-bottom // down) > 65_535:
        raise RejectedImage("too large: JPEG 2000 of more than 65535 tiles")
    _check_jpeg2000(samples, content[:place])
    image: Image.Image = Image.open(io.BytesIO(content), formats=("JPEG2000",))
    image.load()
    return high_bits(image) if image.mode.startswith("I") else image


def _check_jpeg2000(samples: list[tuple[int, int, int]], boxes: bytes) -> None:
    """Rejects layouts that the decoder gets wrong: white as black, or wrong colours.

    Args:
        samples: depth, and horizontal and vertical subsampling, of each component.
        boxes: the bytes before the codestream.
    """
    what = ""
    if not 1 <= len(samples) <= 4:
        what = f"{len(samples)} components"
    elif any(depth & 128 for depth, _, _ in samples):
        what = "signed samples"
    elif len({depth for depth, _, _ in samples}) > 1:
        what = "components of different depths"
    elif any((across, down) != (1, 1) for _, across, down in samples):
        what = "components of different sizes"
    else:
        bits = samples[0][0] + 1
        if bits < 8 or bits > (16 if len(samples) == 1 else 8):
            what = f"{bits} bits per sample in {len(samples)} components"
    colours = boxes.find(b"colr") + 4
    if colours > 4 and boxes[colours : colours + 1] == b"\1":
        kind = int.from_bytes(boxes[colours + 3 : colours + 7])
        if kind not in _COLOURS_OF_JPEG2000:
            what = what or f"the colour space {kind}"
    if b"pclr" in boxes:
        what = what or "a palette"
    if what:
        raise RejectedImage(f"unsupported layout: JPEG 2000 with {what}")


def _check_boxes(content: bytes, name: str) -> None:
    """Rejects a file that ends inside one of its boxes."""
    place = 0
    for _ in range(100_000):
        if place + 8 > len(content):
            return
        length = int.from_bytes(content[place : place + 4])
        if length == 1:
            length = int.from_bytes(content[place + 8 : place + 16])
        if length == 0:
            return
        if length < 8:
            raise RejectedImage(f"damaged: {name} with a box of {length} bytes")
        place += length
        if place > len(content):
            raise RejectedImage(f"damaged: truncated: {name} with {len(content)} of {place} bytes")
    raise RejectedImage(f"too large: {name} of more than 100000 boxes")
