"""Decoding of ordinary pictures; other test files cover layouts, damage and costs."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from encoded import encode
from PIL import Image, ImageOps

from fruits.images.decode import RejectedImage, decode


def picture(width=96, height=64, seed=0):
    """A smooth picture without symmetry."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def squeezed(image, side):
    """The expected result of `decode` for an image, as int."""
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC), int)


def difference(one, other):
    return np.abs(np.asarray(one, int) - np.asarray(other, int)).max()


def reason_of(content, side=64):
    with pytest.raises(RejectedImage) as caught:
        decode(content, side)
    reason = str(caught.value)
    assert reason.isprintable(), "one line"
    assert "0x" not in reason, "no address in memory"
    return reason


# Kinds of pixels. An image of the wanted size is not resized, so each pixel can be compared.


def test_a_picture_is_resized_to_a_square_with_bicubic_interpolation():
    image = picture(150, 90)
    found = decode(encode(image, "PNG"), 64)
    assert found.shape == (64, 64, 3)
    assert found.dtype == np.uint8
    assert difference(found, squeezed(image, 64)) == 0
    assert difference(found, squeezed(image.transpose(Image.Transpose.ROTATE_180), 64)) > 100


def test_a_small_picture_is_enlarged():
    assert difference(decode(encode(picture(7, 9), "PNG"), 64), squeezed(picture(7, 9), 64)) == 0


def test_a_picture_of_one_pixel_fills_the_square():
    assert np.unique(decode(encode(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"), 32)).size == 3
    assert (decode(encode(Image.new("L", (1, 1), 77), "JPEG"), 32) == 77).all()


def test_grey_pixels_become_three_equal_channels():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = decode(encode(Image.fromarray(grey), "PNG"), 16)
    np.testing.assert_array_equal(found, np.dstack([grey] * 3))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_high_bits(format):
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    found = decode(encode(Image.fromarray(deep), format), 16)
    np.testing.assert_array_equal(found, np.dstack([deep // 256] * 3))


def test_black_and_white_pixels_become_0_and_255():
    bits = Image.fromarray(np.eye(16, dtype=bool))
    np.testing.assert_array_equal(decode(encode(bits, "PNG"), 16)[..., 1], 255 * np.eye(16))


def test_the_inks_of_a_cmyk_photograph_become_their_colours():
    image = picture()
    content = encode(image.convert("CMYK"), "JPEG", quality=100)
    assert Image.open(io.BytesIO(content)).mode == "CMYK"
    assert difference(decode(content, 64), squeezed(image, 64)) < 16


def test_palette_indices_become_their_colours():
    colours = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)
    indices = np.random.default_rng(1).permutation(256).astype(np.uint8).reshape(16, 16)
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    assert image.mode == "P"
    np.testing.assert_array_equal(decode(encode(image, "PNG"), 16), colours[indices])


def on_white(colour, alpha):
    return np.round(255 + (np.asarray(colour) - 255.0) * alpha / 255)


def test_transparent_pixels_become_white():
    colour = (200, 100, 0)
    for alpha in (0, 64, 128, 255):
        content = encode(Image.new("RGBA", (8, 8), (*colour, alpha)), "PNG")
        assert difference(decode(content, 8), on_white(colour, alpha)) <= 1


def test_transparent_grey_pixels_become_white():
    content = encode(Image.new("LA", (8, 8), (40, 128)), "PNG")
    assert difference(decode(content, 8), on_white([40] * 3, 128)) <= 1


def test_transparent_colours_of_a_palette_become_white():
    indices = np.tile(np.array([0, 1, 2, 3], np.uint8), (4, 1))
    image = Image.fromarray(indices)
    colours = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (10, 20, 30)])
    image.putpalette(colours.astype(np.uint8).tobytes())
    alphas = (0, 128, 255, 255)
    found = decode(encode(image, "PNG", transparency=bytes(alphas)), 4)
    wanted = [on_white(colour, alpha) for colour, alpha in zip(colours, alphas, strict=True)]
    assert difference(found, wanted) <= 1


@pytest.mark.parametrize(("mode", "key"), [("RGB", (9, 8, 7)), ("L", 9)])
def test_the_transparent_colour_of_a_file_becomes_white(mode, key):
    content = encode(Image.new(mode, (8, 8), key), "PNG", transparency=key)
    assert (decode(content, 8) == 255).all()


def test_the_colour_of_transparent_pixels_is_not_visible():
    pixels = np.zeros((90, 90, 4), np.uint8)
    pixels[...] = (255, 0, 0, 0)
    pixels[30:60, 30:60] = (0, 0, 255, 255)
    found = decode(encode(Image.fromarray(pixels), "PNG"), 32).astype(int)
    # Between blue and white, red and green are equal.
    assert difference(found[..., 0], found[..., 1]) <= 1
    assert found[16, 16].tolist() == [0, 0, 255]
    assert found[0, 0].tolist() == [255, 255, 255]


def test_floating_point_pixels_are_rejected():
    image = Image.fromarray(np.full((8, 8), 0.5, np.float32))
    assert "floating-point" in reason_of(encode(image, "TIFF"))


# Formats


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_each_format_of_photographs_is_decoded(format):
    image = picture()
    options = {"quality": 95} if format in ("JPEG", "WEBP") else {}
    assert difference(decode(encode(image, format, **options), 64), squeezed(image, 64)) < 40


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "MPO", "TIFF"])
def test_the_first_picture_of_several_is_decoded(format):
    first, second = Image.new("RGB", (40, 30), (255, 0, 0)), Image.new("RGB", (40, 30), (0, 0, 255))
    content = encode(first, format, save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(content)).n_frames == 2
    assert difference(decode(content, 16), [255, 0, 0]) < 5


@pytest.mark.parametrize("format", ["ICO", "ICNS", "EPS", "PDF", "PCX"])
def test_unsupported_formats_are_not_opened(format):
    assert reason_of(encode(picture(64, 64), format)).startswith("not an image: ")


def test_contents_may_be_buffers_of_arrow():
    content = encode(picture(), "PNG")
    np.testing.assert_array_equal(decode(pa.py_buffer(content), 32), decode(content, 32))


# Orientation

# How a camera stores an upright scene for each orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_orientation_of_the_camera_is_applied(format, orientation):
    upright = picture()
    turn = STORED[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    content = encode(stored, format, exif=exif, **options.get(format, {}))

    found = decode(content, 64)

    # Bicubic resizing rounds between its two passes, so a rotated picture may differ in one bit.
    assert difference(found, squeezed(upright, 64)) <= (8 if format == "JPEG" else 2)
    with Image.open(io.BytesIO(content)) as image:
        transposed = ImageOps.exif_transpose(image)
    assert difference(found, squeezed(transposed, 64)) <= 2


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_invalid_orientation_is_ignored(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(picture(), "PNG", exif=exif)
    assert difference(decode(content, 64), squeezed(picture(), 64)) == 0


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\x08\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40,
        b"Exif\0\0garbage" * 3,
    ],
    ids=["empty", "short", "endless", "garbage"],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_pixels_with_broken_exif_are_decoded(exif):
    plain = encode(picture(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    np.testing.assert_array_equal(decode(plain[:2] + segment + plain[2:], 64), decode(plain, 64))


# Large files

MEMORY_PROGRAM = """
import io, re, sys
from pathlib import Path
from PIL import Image
from fruits.images.decode import decode

def peak():
    return int(re.search("VmHWM:(.*)kB", Path("/proc/self/status").read_text())[1])

content = Path(sys.argv[1]).read_bytes()
small = io.BytesIO()
Image.new("RGB", (100, 100)).save(small, "JPEG")
decode(small.getvalue(), 224)
start = peak()
decode(content, 224)
between = peak()
Image.open(io.BytesIO(content)).resize((224, 224))
print(between - start, peak() - start)
"""


@pytest.fixture(scope="module")
def large_photograph(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    picture(6000, 4000).save(path, quality=80)
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' own accounts")
def test_a_large_photograph_needs_a_fraction_of_its_full_memory(large_photograph):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM, str(large_photograph)],
        capture_output=True,
        text=True,
        check=True,
    )
    reduced, full = map(int, done.stdout.split())
    assert full > 60_000
    assert reduced < full / 4


def test_a_large_photograph_is_reduced_with_little_difference(large_photograph):
    found = decode(large_photograph.read_bytes(), 224).astype(int)
    gap = np.abs(found - squeezed(Image.open(large_photograph), 224))
    assert gap.mean() < 1.5
    assert gap.max() < 12


def test_the_limit_applies_to_the_pixels_that_are_decoded(monkeypatch):
    monkeypatch.setattr("fruits.images.size_limits.MAX_PIXELS", 100_000)
    image = picture(600, 400)
    assert difference(decode(encode(image, "JPEG"), 64), squeezed(image, 64)) < 20
    wanted = "too large: 600 x 400 pixels to decode, the limit is 100000"
    # A progressive file is completely in memory at any scale, and other formats have no scale.
    assert reason_of(encode(image, "JPEG", progressive=True)) == wanted
    assert reason_of(encode(image, "PNG")) == wanted
    assert decode(encode(picture(300, 300), "JPEG", progressive=True), 64).shape == (64, 64, 3)


def png_chunk(kind, data):
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def bombs():
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    yield (
        "PNG",
        b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(1 << 20))),
    )
    gif = encode(Image.new("P", (8, 8)), "GIF")
    yield "GIF", gif[:6] + struct.pack("<HH", 50_000, 50_000) + gif[10:]
    bmp = encode(Image.new("RGB", (8, 8)), "BMP")
    yield "BMP", bmp[:18] + struct.pack("<ii", 50_000, 50_000) + bmp[26:]


@pytest.mark.parametrize("content", [pytest.param(c, id=name) for name, c in bombs()])
def test_a_decompression_bomb_is_rejected_before_it_is_decoded(content):
    # Its data end early: if decoding had begun, the file would be reported as damaged.
    assert reason_of(content).startswith("too large: 50000 x 50000 pixels to decode")


# Damaged files


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_truncated_file_is_rejected(format, share):
    content = encode(picture(300, 200), format)
    assert decode(content, 64).shape == (64, 64, 3)
    assert reason_of(content[: int(len(content) * share)]).startswith(("damaged: ", "not an image"))


def test_a_png_with_overwritten_data_is_rejected():
    content = bytearray(encode(picture(), "PNG"))
    for position in range(200, len(content) - 100, 400):
        damaged = content.copy()
        damaged[position : position + 16] = bytes(16)
        assert reason_of(bytes(damaged)).startswith("damaged: ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an image: empty file"),
        (b"hello\n", "not an image: text file"),
        (b"<html><body>404</body></html>", "not an image: HTML page"),
        (bytes(5000), "not an image: zero bytes only"),
        (encode(picture(), "JPEG")[:300], "damaged: truncated: the JPEG ends before its pixels"),
    ],
    ids=["empty", "text", "page", "zeros", "headers"],
)
def test_other_files_are_rejected_with_a_description(content, reason):
    assert reason_of(content) == reason
