"""Decodes the layouts of TIFF that are decoded correctly, with steps that Pillow leaves out."""

import io
import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fruits.images.size_limits import RejectedImage, check_size
from fruits.images.tiff_data import JPEG, LZMA, check_part

# The most strips or tiles of a file: Pillow and libtiff keep hundreds of bytes for each.
MAX_PARTS = 1 << 18
# The most bytes of tags in addition to the file size: several tags may point to the same bytes.
_MUCH_METADATA = 16 << 20

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _COUNTS, _PLANAR, _COLOURS = 273, 277, 278, 279, 284, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_INKS, _EXTRA, _FORMAT = 332, 338, 339

_WANTED = {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _OFFSETS, _SAMPLES, _ROWS_PER_STRIP}
_WANTED |= {_COUNTS, _PLANAR, _COLOURS, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS}
_WANTED |= {_INKS, _EXTRA, _FORMAT}

# The format letter of struct, and the size in bytes, for each type of a tag's values.
_TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I"}
_TYPES |= {16: "Q", 17: "q", 18: "Q"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}

_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925)
_OLD_JPEG = 6
# Their parts are complete files, or have a dictionary of any size.
_UNBOUNDED = (_OLD_JPEG, JPEG, LZMA)
_COMPRESSION_NAMES = {
    9: "JBIG",
    10: "JBIG",
    32766: "NeXT",
    32809: "ThunderScan",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "SGI Log",
    34677: "SGI Log",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of a camera",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_PHOTOMETRICS = {
    0: "grey whose zero is white",
    1: "grey",
    2: "RGB",
    3: "palette",
    4: "transparency mask",
    5: "CMYK",
    6: "YCbCr",
    8: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32803: "colour filter array (camera raw)",
    32844: "logarithmic luminance",
    32845: "logarithmic luminance",
    34892: "linear raw of a camera",
}
_SAMPLES_OF_COLOUR = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
_FORMATS = {2: "signed integers", 3: "floating-point samples", 5: "complex", 6: "complex"}
# (Photometric interpretation, bits): the most extra samples.
_LAYOUTS = {
    **{(grey, bits): 0 for grey in (0, 1) for bits in (1, 2, 4, 12, 16, 32)},
    (0, 8): 0,
    (1, 8): 1,
    (2, 8): 3,
    (2, 16): 1,
    **{(3, bits): 0 for bits in (1, 2, 4)},
    (3, 8): 1,
    (5, 8): 2,
    (5, 16): 0,
    (6, 8): 0,
}


@dataclass(slots=True)
class _Directory:
    """The first directory of tags.

    Attributes:
        order: The byte order, "<" or ">".
        tags: The values of the tags that describe the pixels.
    """

    order: str
    tags: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def one(self, tag: int, default: int) -> int:
        values = self.tags.get(tag)
        return values[0] if values else default


def load(content: bytes) -> Image.Image:
    """Decodes the first picture of a TIFF file to 8 bits.

    Raises:
        RejectedImage: the file is too large, damaged, or has an unsupported layout.
    """
    directory = _read_directory(content)
    _check_layout(directory)
    _check_parts(directory, content)
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=("TIFF",))
    except UnidentifiedImageError as error:
        raise _unsupported(_words(directory)) from error
    image.load()
    # Pillow has already applied the orientation.
    image.info.pop("exif", None)
    image.info.pop("xmp", None)
    return _finished(image, directory)


def is_unbounded(content: bytes) -> bool:
    """Whether the tags do not limit the cost of decompression."""
    try:
        return _read_directory(content).one(_COMPRESSION, 1) in _UNBOUNDED
    except RejectedImage:
        return False


def _read_directory(content: bytes) -> _Directory:
    order = "<" if content[:2] == b"II" else ">"
    big = content[2:4] in (b"+\0", b"\0+")
    directory = _Directory(order)
    try:
        (place,) = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, place)
        place += 8 if big else 2
        length = 20 if big else 12
        if place + count * length > len(content):
            raise RejectedImage("damaged: truncated: TIFF that ends within its tags")
        total = 0
        for start in range(place, place + count * length, length):
            tag, kind, number = struct.unpack_from(
                order + ("HHQ" if big else "HHI"), content, start
            )
            size = number * _SIZES.get(kind, 0)
            total += size
            if total > len(content) + _MUCH_METADATA:
                raise RejectedImage("too large: TIFF whose tags are larger than the file")
            values = start + (12 if big else 8)
            if size > (8 if big else 4):
                (values,) = struct.unpack_from(order + ("Q" if big else "I"), content, values)
            if tag in _WANTED and kind in _TYPES and number:
                if values + size > len(content):
                    raise RejectedImage("damaged: truncated: TIFF that ends before its tags")
                directory.tags.setdefault(
                    tag, struct.unpack_from(f"{order}{number}{_TYPES[kind]}", content, values)
                )
    except (struct.error, OverflowError):
        raise RejectedImage("damaged: truncated: TIFF that ends before its tags") from None
    if _WIDTH not in directory.tags or _HEIGHT not in directory.tags:
        raise RejectedImage("damaged: TIFF without a width or height")
    return directory


def _check_layout(directory: _Directory) -> None:
    """Rejects layouts whose pixels would be wrong or missing."""
    one = directory.one
    compression = one(_COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        name = _COMPRESSION_NAMES.get(compression, f"unknown ({compression})")
        raise _unsupported(f"{name} compression")
    if compression == _OLD_JPEG:
        # Programs that write it set few other tags.
        directory.tags[_PHOTOMETRIC] = (6,)
        directory.tags.setdefault(_SAMPLES, (3,))
        directory.tags.setdefault(_BITS, (8,))
    photometric = one(_PHOTOMETRIC, 0)
    name = _PHOTOMETRICS.get(photometric, f"photometric interpretation {photometric}")
    if photometric not in _SAMPLES_OF_COLOUR:
        raise _unsupported(f"{name} pixels")
    for value in directory.tags.get(_FORMAT, ()):
        if value in _FORMATS:
            raise _unsupported(f"{_FORMATS[value]}, which have no defined range")
    bits, _, extra = _samples(directory)
    if len(set(bits)) > 1:
        raise _unsupported("samples of different sizes")
    if photometric == 5 and one(_INKS, 1) != 1:
        raise _unsupported("inks other than CMYK")
    if photometric == 3 and len(directory.tags.get(_COLOURS, ())) < 3 << bits[0]:
        raise RejectedImage("damaged: TIFF without its palette")
    if photometric == 6 and compression not in (_OLD_JPEG, JPEG):
        raise _unsupported("YCbCr pixels that are not JPEG")
    most = _LAYOUTS.get((photometric, bits[0]))
    # Pillow reads separate planes correctly only in the simplest layouts.
    separate_planes = one(_PLANAR, 1) == 2 and (extra > 0 or (bits[0] != 8 and compression == 1))
    if most is None or not 0 <= extra <= most or separate_planes:
        raise _unsupported(_words(directory))


def _samples(directory: _Directory) -> tuple[tuple[int, ...], int, int]:
    """The bits of each sample, the number of samples, and the number of extra samples."""
    samples = directory.one(_SAMPLES, 1)
    if not 0 < samples <= 64:
        raise RejectedImage(f"unsupported layout: TIFF with {samples} samples per pixel")
    bits = directory.tags.get(_BITS) or (1,)
    extra = samples - _SAMPLES_OF_COLOUR.get(directory.one(_PHOTOMETRIC, 0), samples)
    return bits[:samples] if len(bits) > 1 else bits * samples, samples, extra


def _words(directory: _Directory) -> str:
    """The layout in words."""
    photometric = directory.one(_PHOTOMETRIC, 0)
    bits, samples, extra = _samples(directory)
    words = f"{bits[0]} bits per sample, {_PHOTOMETRICS.get(photometric, photometric)}"
    words += f" in {samples} samples" if samples > 1 else ""
    words += f", {extra} of them extra" if extra > 0 else ""
    words += ", separate planes" if directory.one(_PLANAR, 1) == 2 else ""
    return words + (", big-endian" if directory.order == ">" else "")


def _unsupported(what: str) -> RejectedImage:
    return RejectedImage(f"unsupported layout: TIFF with {what}")


def _check_parts(directory: _Directory, content: bytes) -> None:
    """Rejects strips and tiles that are much larger than the picture, or are not in the file."""
    one, tags = directory.one, directory.tags
    width, height = one(_WIDTH, 0), one(_HEIGHT, 0)
    check_size(width, height)
    bits, samples, _ = _samples(directory)
    tiled = _TILE_OFFSETS in tags and _OFFSETS not in tags
    if tiled:
        across, down = one(_TILE_WIDTH, 0), one(_TILE_HEIGHT, 0)
        check_size(across, down, "pixels in a tile")
        if across * down > 16 * width * height + (1 << 20):
            raise RejectedImage(
                f"too large: tiles of {across} x {down} pixels for a picture of {width} x {height}"
            )
    else:
        across, down = width, min(one(_ROWS_PER_STRIP, height), height)
        if down < 1:
            raise RejectedImage("damaged: TIFF with strips without rows")
    planes = samples if one(_PLANAR, 1) == 2 else 1
    parts = -(-width // across) * -(-height // down) * planes
    offsets = tags.get(_TILE_OFFSETS if tiled else _OFFSETS, ())
    counts = tags.get(_TILE_COUNTS if tiled else _COUNTS, ())
    if parts > MAX_PARTS or len(offsets) > 4 * MAX_PARTS:
        raise RejectedImage(f"too large: TIFF of more than {MAX_PARTS} strips or tiles")
    if len(offsets) < parts or (counts and len(counts) < parts):
        raise RejectedImage(f"damaged: TIFF with {len(offsets)} of {parts} strips or tiles")
    if not counts and one(_COMPRESSION, 1) != 1:
        raise RejectedImage("damaged: TIFF without the lengths of its strips")
    if one(_COMPRESSION, 1) == 1:
        # Lengths in the tags may be wrong here, because decoders do not need them.
        part = -(-across * sum(bits) // (8 * planes)) * down
        last = -(-across * sum(bits) // (8 * planes)) * ((height - 1) % down + 1)
        lengths = [
            last if not tiled and (n + 1) % (parts // planes) == 0 else part for n in range(parts)
        ]
    else:
        lengths = list(counts[:parts])
        if not all(lengths):
            raise RejectedImage("damaged: TIFF with strips or tiles that are missing")
    end = max(offset + part for offset, part in zip(offsets, lengths, strict=False))
    if end > len(content):
        raise RejectedImage(f"damaged: truncated: TIFF with pixels to byte {end} of {len(content)}")
    for offset, part in zip(offsets, lengths, strict=False):
        check_part(one(_COMPRESSION, 1), content, offset, offset + part)


def _finished(image: Image.Image, directory: _Directory) -> Image.Image:
    photometric = directory.one(_PHOTOMETRIC, 0)
    bits = _samples(directory)[0][0]
    if photometric in (0, 1) and bits > 8:
        grey = np.asarray(image)
        if bits == 32:
            grey = grey.view(np.uint32)
        if photometric == 0:
            grey = ~grey
        return Image.fromarray((grey >> (bits - 8)).astype(np.uint8))
    if image.mode == "La":
        return image.convert("LA")
    if photometric == 3:
        image.putpalette(_palette(directory.tags[_COLOURS], bits).tobytes())
    return image


def _palette(values: tuple[int, ...], bits: int) -> NDArray[np.uint8]:
    """Colours of shape (2 ** bits, 3); old programs write 8 bits instead of 16."""
    table = np.array(values[: 3 << bits], np.uint16).reshape(3, -1).T
    return (table >> 8 if table.max() > 255 else table).astype(np.uint8)
