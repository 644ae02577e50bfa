"""Decodes BMP, because Pillow misreads some palettes and decodes run lengths slowly."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fruits.images.size_limits import RejectedImage, check_size

_RAW, _RLE8, _RLE4, _BITFIELDS, _JPEG, _PNG, _ALPHABITFIELDS = range(7)
_COMPRESSIONS = {_JPEG: "a JPEG inside", _PNG: "a PNG inside", 11: "CMYK", 12: "CMYK", 13: "CMYK"}
# Default masks: 16-bit pixels have five bits for each colour, 32-bit pixels have eight.
_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
# The most codes of a run-length file, because each takes a step in Python.
MAX_CODES = 4 << 20


@dataclass(slots=True)
class _Header:
    width: int
    height: int
    top_down: bool
    bits: int
    compression: int
    masks: tuple[int, ...]
    palette: NDArray[np.uint8]
    pixels: int  # The offset of the pixels in the file.


def load(content: bytes) -> Image.Image:
    """Decodes a BMP file.

    Raises:
        RejectedImage: the file is too large, damaged, or has an unsupported layout.
    """
    if not content.startswith(b"BM"):
        # A bitmap without a file header, as the clipboard uses it.
        content = b"BM" + bytes(12) + content
    try:
        header = _read_header(content)
    except struct.error:
        raise RejectedImage("damaged: truncated: BMP that ends before its pixels") from None
    if header.compression in (_RLE8, _RLE4):
        indices = _run_lengths(content, header)
        return _coloured(indices, header)
    stride = (header.width * header.bits + 31) // 32 * 4
    # Some programs leave out the padding of the last row.
    needed = stride * (header.height - 1) + (header.width * header.bits + 7) // 8
    if len(content) - header.pixels < needed:
        raise RejectedImage(
            f"damaged: truncated: BMP with {max(0, len(content) - header.pixels)} "
            f"of {needed} bytes of pixels"
        )
    if header.bits == 24:
        direction = 1 if header.top_down else -1
        size = (header.width, header.height)
        data = content[header.pixels :] + bytes(4)
        return Image.frombytes("RGB", size, data, "raw", "BGR", stride, direction)
    data = content[header.pixels : header.pixels + needed].ljust(stride * header.height, b"\0")
    rows = np.frombuffer(data, np.uint8).reshape(header.height, stride)
    if not header.top_down:
        rows = rows[::-1]
    if header.bits <= 8:
        return _coloured(_unpacked(rows, header.bits)[:, : header.width], header)
    return _masked(np.ascontiguousarray(rows), header)


def _read_header(content: bytes) -> _Header:
    offset, size = struct.unpack_from("<II", content, 10)
    masks: tuple[int, ...] = ()
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", content, 18)
        compression, colours, entry = _RAW, 0, 3
    elif size in (16, 40, 52, 56, 64, 108, 124):
        width, height, _, bits = struct.unpack_from("<iiHH", content, 18)
        if size == 16:
            compression = colours = 0
        else:
            compression, _, _, _, colours = struct.unpack_from("<IIiiI", content, 30)
        entry = 4
    else:
        raise RejectedImage(f"unsupported layout: BMP with a header of {size} bytes")
    top_down, height = height < 0, abs(height)
    check_size(width, height)
    if compression not in _COMPRESSIONS and bits not in (1, 2, 4, 8, 16, 24, 32):
        raise RejectedImage(f"unsupported layout: BMP with {bits} bits per pixel")
    _check_compression(compression, bits, size)
    end = 14 + size
    if compression in (_BITFIELDS, _ALPHABITFIELDS):
        count = 4 if size >= 56 or compression == _ALPHABITFIELDS else 3
        masks = struct.unpack_from(f"<{count}I", content, 54)
        end = max(end, 54 + 4 * count)
        masks = (*masks, 0)[:4]
    elif bits in _MASKS:
        masks = _MASKS[bits]
    palette = np.zeros((256, 3), np.uint8)
    offset = offset or (end if bits > 8 else 0)
    if bits <= 8:
        colours = colours or 1 << bits
        # Limited by the bits per pixel, and by the bytes before the pixels if the file names them.
        if offset <= end:
            offset = end + colours * entry
        colours = min(colours, 1 << bits, (offset - end) // entry)
        if not colours:
            raise RejectedImage("damaged: BMP without its palette")
        table = np.frombuffer(content, np.uint8, colours * entry, end).reshape(-1, entry)
        palette[:colours] = table[:, 2::-1]
    return _Header(width, height, top_down, bits, compression, masks, palette, offset)


def _check_compression(compression: int, bits: int, size: int) -> None:
    if size == 64 and compression in (_BITFIELDS, _JPEG):
        raise RejectedImage("unsupported layout: BMP of OS/2 with Huffman coding or 24-bit runs")
    if compression in _COMPRESSIONS:
        raise RejectedImage(f"unsupported layout: BMP with {_COMPRESSIONS[compression]}")
    allowed = {_RAW: (1, 2, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,)}
    allowed |= dict.fromkeys((_BITFIELDS, _ALPHABITFIELDS), (16, 32))
    if bits not in allowed.get(compression, ()):
        raise RejectedImage(
            f"unsupported layout: BMP with compression {compression} and {bits} bits per pixel"
        )


def _unpacked(rows: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Unpacks rows with several pixels in a byte into one number per pixel."""
    if bits == 8:
        return rows
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    pixels = (rows[:, :, None] >> shifts) & np.uint8((1 << bits) - 1)
    return pixels.reshape(len(rows), -1)


def _coloured(indices: NDArray[np.uint8], header: _Header) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(indices))
    image.putpalette(header.palette.tobytes())
    return image.convert("RGB")


def _masked(rows: NDArray[np.uint8], header: _Header) -> Image.Image:
    """Decodes pixels of 16 or 32 bits; masks select the bits of each colour."""
    pixels = rows.view("<u2" if header.bits == 16 else "<u4")[:, : header.width]
    if not all(header.masks[:3]):
        raise RejectedImage("unsupported layout: BMP without masks for its colours")
    bands = [_band(pixels, mask) for mask in header.masks if mask]
    # If all 8 bits are zero, the program did not fill the alpha channel.
    if len(bands) == 4 and not bands[3].any():
        bands.pop()
    return Image.merge("RGBA" if len(bands) == 4 else "RGB", [Image.fromarray(b) for b in bands])


def _band(pixels: NDArray[np.unsignedinteger], mask: int) -> NDArray[np.uint8]:
    low = (mask & -mask).bit_length() - 1
    most = mask >> low
    if most & (most + 1):
        raise RejectedImage(f"unsupported layout: BMP with a mask of scattered bits ({mask:#x})")
    values = (pixels >> low) & most
    if most == 255:
        return values.astype(np.uint8)
    if most > 255:
        return (values >> (most.bit_length() - 8)).astype(np.uint8)
    scale = (np.arange(most + 1) * 255 + most // 2) // most
    scaled: NDArray[np.uint8] = scale.astype(np.uint8)[values]
    return scaled


def _run_lengths(content: bytes, header: _Header) -> NDArray[np.uint8]:
    """The palette indices of a run-length file; skipped pixels have index 0."""
    width, height = header.width, header.height
    four = header.compression == _RLE4
    pixels = bytearray(width * height)
    place, end = header.pixels, len(content)
    x = y = codes = 0
    while y < height:
        if place + 2 > end:
            raise RejectedImage("damaged: truncated: BMP whose run lengths end early")
        codes += 1
        if codes > MAX_CODES:
            raise RejectedImage(f"too large: BMP of more than {MAX_CODES} run lengths")
        count, value = content[place], content[place + 1]
        place += 2
        if count:
            pair = (value >> 4, value & 15) if four else (value, value)
            run = bytes(pair) * ((count + 1) // 2)
        elif value == 0:
            x, y = 0, y + 1
            continue
        elif value == 1:
            break
        elif value == 2:
            if place + 2 > end:
                continue
            x, y = x + content[place], y + content[place + 1]
            place += 2
            continue
        else:
            count = value
            length = (count + 1) // 2 if four else count
            run = content[place : place + length]
            if len(run) < length:
                raise RejectedImage("damaged: truncated: BMP whose run lengths end early")
            if four:
                run = bytes(half for byte in run for half in (byte >> 4, byte & 15))
            place += length + (length & 1)
        fitting = max(0, min(count, width - x))
        start = y * width + x
        pixels[start : start + fitting] = run[:fitting]
        x += count
    rows = np.frombuffer(pixels, np.uint8).reshape(height, width)
    return rows if header.top_down else rows[::-1]
