"""Thumbnails have the colours, the orientation and the proportions of the image."""

import io
import zlib

import numpy as np
import pytest
from encoded import encode
from PIL import Image, PngImagePlugin

from fruits.images.decode import decode, decode_whole
from fruits.images.thumbnail import SIDE, thumbnail


def picture(width: int, height: int) -> Image.Image:
    """A smooth picture, red at the left and green at the top."""
    across, down = np.meshgrid(np.linspace(255, 0, width), np.linspace(255, 0, height))
    return Image.fromarray(np.dstack([across, down, np.full_like(down, 90)]).astype(np.uint8))


def small(content: bytes, side: int = 224) -> Image.Image:
    return Image.open(io.BytesIO(thumbnail(decode(content, side), content)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(300, 300), (320, 240), (200, 600), (1000, 200)])
def test_a_thumbnail_looks_like_the_image(kind: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    found = small(encode(image, kind))
    assert (found.format, found.mode) == ("JPEG", "RGB")
    assert SIDE <= max(found.size) < 2 * SIDE
    assert min(found.size) == pytest.approx(max(found.size) * min(size) / max(size), abs=1)
    assert (found.width > found.height) == (size[0] > size[1])
    expected = image.resize(found.size, Image.Resampling.BOX)
    difference = np.abs(np.asarray(found, np.int16) - np.asarray(expected, np.int16))
    assert difference.mean() < 4


@pytest.mark.parametrize("side", [16, 96, 160, 224, 299, 600])
def test_a_thumbnail_is_made_from_any_input_size(side: int) -> None:
    found = small(encode(picture(400, 200), "JPEG"), side)
    assert min(side, SIDE) <= found.width < 2 * SIDE
    assert found.height == pytest.approx(found.width / 2, abs=1)


def test_the_orientation_of_a_photograph_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was rotated
    found = small(encode(picture(320, 160), "JPEG", exif=exif))
    assert found.height == pytest.approx(2 * found.width, abs=1)
    upright = np.asarray(picture(320, 160).transpose(Image.Transpose.ROTATE_270).resize(found.size))
    assert np.abs(np.asarray(found, np.int16) - upright).mean() < 5


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def with_segment(jpeg: bytes, segment: bytes) -> bytes:
    """Adds an APP1 segment to a JPEG file."""
    return jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2) + segment + jpeg[2:]


def chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)


def rotated(kind: str) -> bytes:
    """A picture of 320 x 160 pixels with the orientation of a rotated camera."""
    exif = Image.Exif()
    exif[0x0112] = 6
    if kind.startswith("JPEG"):
        jpeg = encode(picture(320, 160), "JPEG")
        many = b"http://ns.adobe.com/xmp/extension/\0" + bytes(100)
        for _ in range(150 if kind == "JPEG, much metadata" else 0):
            jpeg = with_segment(jpeg, many)
        return with_segment(jpeg, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    if kind == "PNG, 16 bits":
        grey = np.asarray(picture(320, 160).convert("L"), np.uint16) * 257
        return encode(Image.fromarray(grey), "PNG", exif=exif)
    if kind == "PNG, XMP":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
        return encode(picture(320, 160), "PNG", pnginfo=texts)
    if kind == "PNG, last chunk":
        plain, end = encode(picture(320, 160), "PNG"), chunk(b"IEND", b"")
        return plain.removesuffix(end) + chunk(b"eXIf", exif.tobytes()[6:]) + end
    return encode(picture(320, 160), "PNG", exif=exif)


@pytest.mark.parametrize(
    "kind",
    [
        *("PNG", "PNG, XMP", "PNG, last chunk", "PNG, 16 bits"),
        *("JPEG, XMP", "JPEG, much metadata"),
    ],
)
def test_the_proportions_are_those_of_the_upright_photograph(kind: str) -> None:
    content = rotated(kind)
    assert decode_whole(content).size == (160, 320)
    found = small(content)
    assert found.height == pytest.approx(2 * found.width, abs=1)
    upright = Image.fromarray(decode(content, 224)).resize(found.size)
    assert np.abs(np.asarray(found, np.int16) - np.asarray(upright)).mean() < 5


def test_damaged_metadata_of_a_png_are_ignored() -> None:
    plain, end = encode(picture(320, 160), "PNG"), chunk(b"IEND", b"")
    found = small(plain.removesuffix(end) + chunk(b"eXIf", b"MM")[:-1] + b"x" + end)
    assert found.width == pytest.approx(2 * found.height, abs=1)


def test_pictures_of_other_formats_are_squares() -> None:
    found = small(encode(picture(320, 160), "WEBP", lossless=True))
    assert found.width == found.height


def test_a_line_of_pixels_has_a_thumbnail() -> None:
    found = small(encode(picture(3000, 1), "PNG"))
    assert min(found.size) >= 8


def test_thumbnails_are_a_few_kilobytes() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    content = encode(Image.fromarray(noise), "JPEG")
    assert len(thumbnail(decode(content, 224), content)) < 8_000
    smooth = encode(picture(300, 300), "JPEG")
    assert len(thumbnail(decode(smooth, 224), smooth)) < 2_000
