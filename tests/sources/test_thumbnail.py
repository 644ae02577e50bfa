"""Thumbnails have the colours, the orientation and the proportions of the image."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fruits.sources.decode import decode
from fruits.sources.thumbnail import SIDE, thumbnail


def picture(width: int, height: int) -> Image.Image:
    """A smooth picture, red at the left and green at the top."""
    across, down = np.meshgrid(np.linspace(255, 0, width), np.linspace(255, 0, height))
    return Image.fromarray(np.dstack([across, down, np.full_like(down, 90)]).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def small(content: bytes, side: int = 224) -> Image.Image:
    return Image.open(io.BytesIO(thumbnail(decode(content, side), content)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(300, 300), (320, 240), (200, 600), (1000, 200)])
def test_a_thumbnail_looks_like_the_image(kind: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    found = small(encoded(image, kind))
    assert (found.format, found.mode) == ("JPEG", "RGB")
    assert SIDE <= max(found.size) < 2 * SIDE
    assert min(found.size) == pytest.approx(max(found.size) * min(size) / max(size), abs=1)
    assert (found.width > found.height) == (size[0] > size[1])
    expected = image.resize(found.size, Image.Resampling.BOX)
    difference = np.abs(np.asarray(found, np.int16) - np.asarray(expected, np.int16))
    assert difference.mean() < 4


@pytest.mark.parametrize("side", [16, 96, 160, 224, 299, 600])
def test_a_thumbnail_is_made_from_any_input_size(side: int) -> None:
    found = small(encoded(picture(400, 200), "JPEG"), side)
    assert min(side, SIDE) <= found.width < 2 * SIDE
    assert found.height == pytest.approx(found.width / 2, abs=1)


def test_the_orientation_of_a_photograph_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was rotated
    found = small(encoded(picture(320, 160), "JPEG", exif=exif))
    assert found.height == pytest.approx(2 * found.width, abs=1)
    upright = np.asarray(picture(320, 160).transpose(Image.Transpose.ROTATE_270).resize(found.size))
    assert np.abs(np.asarray(found, np.int16) - upright).mean() < 5


def test_pictures_of_other_formats_are_squares() -> None:
    found = small(encoded(picture(320, 160), "WEBP", lossless=True))
    assert found.width == found.height


def test_a_line_of_pixels_has_a_thumbnail() -> None:
    found = small(encoded(picture(3000, 1), "PNG"))
    assert min(found.size) >= 8


def test_thumbnails_are_a_few_kilobytes() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    content = encoded(Image.fromarray(noise), "JPEG")
    assert len(thumbnail(decode(content, 224), content)) < 8_000
    smooth = encoded(picture(300, 300), "JPEG")
    assert len(thumbnail(decode(smooth, 224), smooth)) < 2_000
