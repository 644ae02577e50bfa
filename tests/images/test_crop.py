"""The part of a photograph that a network gets."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fruits.errors import BackboneError
from fruits.images import crop
from fruits.images.decode import decode
from fruits.images.resize import InputSpec

Pixels = NDArray[np.uint8]


def photograph(width: int = 400, height: int = 300, seed: int = 0) -> Pixels:
    """Grey noise on green, with an orange disc of a fifth of the height in its upper right."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(0, 12, (height, width, 1)) + np.array([60, 110, 60])
    y, x = np.mgrid[:height, :width]
    disc = (x - 0.7 * width) ** 2 + (y - 0.3 * height) ** 2 < (height / 5) ** 2
    pixels[disc] = (230, 130, 20)
    return pixels.clip(0, 255).astype(np.uint8)


def encoded(pixels: Pixels, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(400, 300), (300, 401), (7, 4), (5, 5), (1, 9)])
def test_the_centre_is_the_largest_square(size: tuple[int, int]) -> None:
    width, height = size
    pixels = photograph(width, height)
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    square = pixels[top : top + side, left : left + side]
    found = decode(encoded(pixels), InputSpec(32, crop="centre"))
    np.testing.assert_array_equal(found, decode(encoded(square), InputSpec(32)))


def test_a_salient_fruit_fills_the_box() -> None:
    for seed, size in enumerate([(400, 300), (300, 400), (3000, 400), (64, 64)]):
        width, height = size
        left, top, right, bottom = crop.salient_box(Image.fromarray(photograph(*size, seed)))
        x, y, radius = 0.7 * width, 0.3 * height, height / 5
        # Nearly the whole disc, and not much more.
        assert left < x - 0.8 * radius < x + 0.8 * radius < right
        assert top < y - 0.8 * radius < y + 0.8 * radius < bottom
        assert right - left == bottom - top < 4 * radius


def test_the_network_gets_the_pixels_of_the_box() -> None:
    pixels = photograph()
    left, top, right, bottom = crop.salient_box(Image.fromarray(pixels))
    found = decode(encoded(pixels), InputSpec(32, crop="saliency"))
    box = pixels[top:bottom, left:right]
    np.testing.assert_array_equal(found, decode(encoded(box), InputSpec(32)))


@pytest.mark.parametrize("kind", crop.CROPS)
def test_the_crop_is_applied_to_the_upright_picture(kind: str) -> None:
    pixels = photograph(360, 240)
    exif = Image.Exif()
    exif[274] = 6  # The stored picture is rotated by 90 degrees.
    lying = encoded(np.ascontiguousarray(np.rot90(pixels, 1)), exif=exif)
    spec = InputSpec(32, crop=kind)
    np.testing.assert_array_equal(decode(lying, spec), decode(encoded(pixels), spec))


def test_transparent_pixels_are_not_salient() -> None:
    pixels = np.full((300, 400, 4), 255, np.uint8)
    pixels[..., :3] = photograph()
    hidden = pixels.copy()
    hidden[200:, :100] = (255, 0, 255, 0)
    pixels[200:, :100] = 255
    spec = InputSpec(32, crop="saliency")
    np.testing.assert_array_equal(decode(encoded(hidden), spec), decode(encoded(pixels), spec))


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (100, 80)])
def test_a_picture_of_one_colour_is_not_cropped(size: tuple[int, int]) -> None:
    assert crop.salient_box(Image.new("RGB", size, (90, 20, 20))) == (0, 0, *size)


def test_a_box_is_inside_the_picture_and_not_too_small() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        width, height = rng.integers(1, 300, 2).tolist()
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        pixels[:, : width // 2] //= 8
        left, top, right, bottom = crop.salient_box(Image.fromarray(pixels))
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert min(right - left, bottom - top) >= min(width, height) // crop.SMALLEST
    dot = np.full((400, 400, 3), 80, np.uint8)
    dot[300:306, 100:106] = (255, 0, 0)
    left, top, right, bottom = crop.salient_box(Image.fromarray(dot))
    assert (right - left, bottom - top) == (100, 100)
    assert left < 100 < 106 < right


def test_colours_are_converted_to_cielab() -> None:
    known = {
        (255, 255, 255): (100, 0, 0),
        (0, 0, 0): (0, 0, 0),
        (255, 0, 0): (53.24, 80.09, 67.20),
        (0, 255, 0): (87.73, -86.18, 83.18),
        (0, 0, 255): (32.30, 79.19, -107.86),
        (128, 128, 128): (53.59, 0, 0),
    }
    found = crop._lab(np.array([list(known)], np.uint8))
    np.testing.assert_allclose(found[0], list(known.values()), atol=0.05)


def test_the_threshold_minimises_the_variance_of_both_parts() -> None:
    rng = np.random.default_rng(0)
    for low, high in ((10, 30), (5, 80), (40, 50)):
        values = np.concatenate([rng.normal(low, 4, 3000), rng.normal(high, 6, 900)])
        levels = np.linspace(values.min(), values.max(), 65)[1:-1]
        within = [
            sum(part.size * part.var() for part in (values[values < t], values[values >= t]))
            for t in levels
        ]
        step = levels[1] - levels[0]
        assert abs(crop.threshold(values) - levels[np.argmin(within)]) < 1.5 * step


def test_a_large_jpeg_keeps_the_pixels_of_a_small_box() -> None:
    content = encoded(photograph(4000, 3000), "JPEG", quality=95)
    spec = InputSpec(64, crop="saliency")
    fast, exact = (decode(content, spec, exact).astype(int) for exact in (False, True))
    assert np.abs(fast - exact).mean() < 2


def test_the_decoding_process_crops_the_same_part() -> None:
    pixels = photograph()
    spec = InputSpec(32, crop="saliency")
    lossless = encoded(pixels, "JPEG2000", irreversible=False)
    np.testing.assert_array_equal(decode(lossless, spec), decode(encoded(pixels), spec))


def test_an_unknown_crop_is_refused() -> None:
    with pytest.raises(BackboneError, match="crop as one of centre, saliency"):
        InputSpec(32, crop="left")
