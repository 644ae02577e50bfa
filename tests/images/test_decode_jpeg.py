"""JPEG of every process and colour space; complete files, and files with missing data."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from fruits.images.decode import RejectedImage, decode

SIDE = 64
# Blocks of one colour, as large as a unit of any subsampling; their inner pixels are compared.
COARSE = np.random.default_rng(0).integers(0, 256, (2, 2, 4), np.uint8)
BLOCKS = np.kron(COARSE, np.ones((32, 32, 1), np.uint8))
RGB = np.ascontiguousarray(BLOCKS[..., :3])
GREY = np.ascontiguousarray(BLOCKS[..., 0])
INSIDE = np.kron(np.ones((2, 2), bool), np.pad(np.ones((16, 16), bool), 8))


def gap(found, wanted):
    return np.abs(found.astype(int) - wanted)[INSIDE].max()


def photograph(width=320, height=240, **options):
    """A picture with detail everywhere."""
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8))
    buffer = io.BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def segment(marker, data):
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def reason_of(content, **options):
    with pytest.raises(RejectedImage) as caught:
        decode(content, SIDE, **options)
    return str(caught.value)


# Colour spaces and processes


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
def test_every_subsampling_gives_its_colours(subsampling):
    content = imagecodecs.jpeg8_encode(RGB, 95, subsampling=subsampling)
    found = decode(content, SIDE)
    assert gap(found, BLOCKS[..., :3]) <= 3
    assert gap(found, imagecodecs.jpeg8_decode(content)) <= 3


def test_grey():
    content = imagecodecs.jpeg8_encode(GREY, 95)
    assert gap(decode(content, SIDE), BLOCKS[..., :1]) <= 1


def test_rgb_without_conversion_to_ycc():
    content = imagecodecs.jpeg8_encode(RGB, 95, colorspace="rgb", outcolorspace="rgb")
    assert b"Adobe" in content
    assert gap(decode(content, SIDE), BLOCKS[..., :3]) <= 1


@pytest.mark.parametrize("stored", ["cmyk", "ycck"])
def test_the_inverted_inks_of_adobe(stored):
    content = imagecodecs.jpeg8_encode(BLOCKS, 95, colorspace="cmyk", outcolorspace=stored)
    assert b"Adobe" in content
    # Inverted: 255 is no ink.
    wanted = BLOCKS[..., :3] * (BLOCKS[..., 3:] / 255)
    assert gap(decode(content, SIDE), wanted) <= 2


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_blocks": 3}])
def test_the_order_of_the_data_does_not_change_the_pixels(options, exact):
    plain = decode(photograph(), SIDE, exact)
    np.testing.assert_array_equal(decode(photograph(**options), SIDE, exact), plain)


def with_frame(content, marker=None, precision=None, components=None):
    """Another frame header in a file."""
    place = content.find(b"\xff\xc0")
    changed = bytearray(content)
    if marker is not None:
        changed[place + 1] = marker
    if precision is not None:
        changed[place + 4] = precision
    if components is not None:
        changed[place + 9] = components
    return bytes(changed)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            imagecodecs.jpeg8_encode(RGB.astype(np.uint16) << 4, 95, bitspersample=12),
            "unsupported layout: JPEG with 12 bits per sample",
        ),
        (
            imagecodecs.jpeg8_encode(RGB, lossless=True),
            "unsupported layout: lossless JPEG",
        ),
        (imagecodecs.ljpeg_encode(GREY), "unsupported layout: lossless JPEG"),
        (with_frame(photograph(), marker=0xC5), "unsupported layout: hierarchical JPEG"),
        (
            with_frame(photograph(), marker=0xCB),
            "unsupported layout: arithmetic-coded lossless JPEG",
        ),
        (with_frame(photograph(), components=2), "unsupported layout: JPEG with 2 components"),
    ],
)
def test_unsupported_processes_are_named(content, reason):
    assert reason_of(content) == reason


# Complete and truncated files


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("tail", [b"", b"\xff", b"\n", bytes(16)])
def test_a_jpeg_without_only_its_end_marker_is_decoded(options, tail):
    content = photograph(**options)
    found = decode(content.removesuffix(b"\xff\xd9") + tail, SIDE)
    np.testing.assert_array_equal(found, decode(content, SIDE))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 7}])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99, 0.999])
def test_a_jpeg_with_missing_data_is_truncated(options, share):
    content = photograph(**options)
    reason = reason_of(content[: int(len(content) * share)])
    assert reason.startswith("damaged: truncated: ")


@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 7}, {"progressive": True}])
@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
@pytest.mark.parametrize("exact", [False, True])
def test_half_of_the_data_with_an_end_marker_is_truncated(options, share, exact):
    content = photograph(1200, 900, **options)
    reason = reason_of(content[: int(len(content) * share)] + b"\xff\xd9", exact=exact)
    assert reason.startswith("damaged: truncated: ")


def test_a_black_photograph_is_not_truncated():
    buffer = io.BytesIO()
    Image.new("RGB", (300, 300)).save(buffer, "JPEG")
    assert not decode(buffer.getvalue(), SIDE).any()


def test_bytes_after_the_end_marker_are_ignored():
    content = photograph()
    np.testing.assert_array_equal(
        decode(content + b"\0junk" + content, SIDE), decode(content, SIDE)
    )


# Exact decoding


def test_exact_decoding_uses_the_full_scale():
    content = photograph(1600, 1200)
    found = decode(content, SIDE, exact=True)
    full = Image.fromarray(imagecodecs.jpeg8_decode(content))
    resized = full.resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    np.testing.assert_array_equal(found, np.asarray(resized))
    assert (decode(content, SIDE) != found).any()


def test_photographs_of_less_than_four_times_the_side_are_always_exact():
    content = photograph(4 * SIDE - 1, 240)
    np.testing.assert_array_equal(decode(content, SIDE), decode(content, SIDE, exact=True))


# Metadata


def test_orientation_and_picture_are_found_in_much_metadata():
    content = photograph()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\3\0\0\0\0\0\0"
    many = segment(0xE1, exif) + 200 * segment(0xE5, bytes(100)) + 200 * segment(0xFE, b"text")
    found = decode(content[:2] + many + content[2:], SIDE)
    np.testing.assert_array_equal(found, decode(content, SIDE)[::-1, ::-1])


def test_only_the_first_picture_is_decoded():
    buffer = io.BytesIO()
    pictures = [Image.new("RGB", (90, 90), colour) for colour in ("red", "blue")]
    pictures[0].save(buffer, "MPO", save_all=True, append_images=pictures[1:])
    found = decode(buffer.getvalue(), SIDE)
    assert np.abs(found.astype(int) - (255, 0, 0)).max() < 5


@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"restart_marker_blocks": 7}])
@pytest.mark.parametrize("end", [b"\xff\xd9", b""])
@pytest.mark.parametrize("length", [100, 100_000])
def test_zeros_instead_of_data_are_missing_data(options, end, length):
    whole = photograph(**options)
    place = len(whole) * 2 // 3
    content = (whole[:place] + bytes(length) + whole[place + length :]).removesuffix(b"\xff\xd9")
    with pytest.raises(RejectedImage, match=r"damaged: truncated: (zeros instead|pixels)"):
        decode(content + end, SIDE)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}])
def test_zeros_after_a_complete_picture_are_padding(options):
    whole = photograph(**options)
    for content in (whole + bytes(5000), whole[:-2] + bytes(5000)):
        np.testing.assert_array_equal(decode(content, SIDE), decode(whole, SIDE))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_an_area_of_one_colour_may_be_zeros(mode):
    buffer = io.BytesIO()
    Image.new(mode, (2000, 2000), "white").save(buffer, "JPEG", optimize=True)
    whole = buffer.getvalue()
    assert bytes(64) in whole
    assert (decode(whole, SIDE) == 255).all()
