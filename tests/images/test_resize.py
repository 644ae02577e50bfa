"""Resizing by the options of an input spec."""

import io

import numpy as np
import pytest
from encoded import encode
from PIL import Image, ImageFilter

from fruits.images.decode import decode
from fruits.images.resize import InputSpec


def noise(width: int, height: int) -> Image.Image:
    values = np.random.RandomState(0).randint(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def test_a_padded_image_keeps_its_proportions() -> None:
    spec = InputSpec(64, 96, "pad", "bilinear", fill=(1, 2, 3), reduce=False)
    found = decode(encode(Image.new("RGB", (100, 50), "white")), spec)
    assert found.shape == (64, 96, 3)
    assert (found[8:56] == 255).all()
    assert (found[:8] == (1, 2, 3)).all()
    assert (found[56:] == (1, 2, 3)).all()


def test_the_centre_is_cropped_after_the_shortest_edge_is_resized() -> None:
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80] = 200
    found = decode(encode(Image.fromarray(wide)), InputSpec(40, 40, "shortest_edge"))
    assert (found == 200).all()


@pytest.mark.parametrize("resize", ["squash", "shortest_edge", "pad"])
def test_the_orientation_is_applied_before_resizing(resize: str) -> None:
    spec = InputSpec(48, 32, resize, "bilinear", reduce=False)
    upright = noise(60, 100)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a viewer
    lying = encode(upright.transpose(Image.Transpose.ROTATE_90), exif=exif)
    np.testing.assert_array_equal(decode(lying, spec), decode(encode(upright), spec))


@pytest.mark.parametrize("resize", ["squash", "shortest_edge", "pad"])
def test_transparent_pixels_are_white_in_every_shape(resize: str) -> None:
    spec = InputSpec(32, 48, resize, fill=(255, 255, 255), reduce=False)
    clear = Image.new("RGBA", (50, 70), (255, 0, 0, 0))
    assert (decode(encode(clear), spec) == 255).all()


def test_a_network_without_reduction_gets_the_full_scale() -> None:
    content = encode(noise(900, 700), "JPEG", quality=95)
    whole = Image.open(io.BytesIO(content)).resize((64, 64), Image.Resampling.LANCZOS)
    found = decode(content, InputSpec(64, interpolation="lanczos", reduce=False))
    np.testing.assert_array_equal(found, np.asarray(whole))
    reduced = decode(content, InputSpec(64, interpolation="lanczos"))
    assert (reduced != found).any()


def test_images_decoded_in_another_process_get_the_same_shape() -> None:
    spec = InputSpec(40, 56, "shortest_edge", "bilinear", edge=60, rounding="even", reduce=False)
    image = noise(80, 80)
    content = encode(image, "JPEG2000", irreversible=False)
    np.testing.assert_array_equal(decode(content, spec), decode(encode(image), spec))


def test_only_the_crop_of_a_very_long_image_is_resized() -> None:
    spec = InputSpec(32, 32, "shortest_edge", "bicubic", reduce=False)
    strip = noise(32 * 30, 32).filter(ImageFilter.GaussianBlur(2))
    whole = strip.resize((32 * 30, 32), Image.Resampling.BICUBIC)
    left = (32 * 30 - 32) // 2
    expected = np.asarray(whole.crop((left, 0, left + 32, 32))).astype(int)
    assert np.abs(decode(encode(strip), spec) - expected).max() <= 1
