"""The other formats in usual layouts, compared with the samples that were encoded."""

import importlib
import struct
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from encoded import encode
from PIL import Image

from fruits.images import avif_heif_jpeg2000, formats
from fruits.images import decode as module
from fruits.images.decode import SUFFIXES, RejectedImage, decode

SIDE = 37
CLRSPC = imagecodecs.JPEG2K.CLRSPC
RNG = np.random.default_rng(0)
HEIF = Path(__file__).parent / "heif"


def drawn(channels=3, bits=8):
    return RNG.integers(0, 1 << bits, (SIDE, SIDE, channels), np.uint16 if bits > 8 else np.uint8)


def smooth(channels=3):
    coarse = RNG.integers(0, 256, (3, 3, channels), np.uint8)
    image = Image.fromarray(coarse, {3: "RGB", 4: "RGBA"}[channels])
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def on_white(rgb, alpha):
    return 255 + (rgb - 255.0) * alpha / 255


def gap(found, wanted):
    return np.abs(found - np.asarray(wanted, float)).max()


def reason_of(content):
    with pytest.raises(RejectedImage) as caught:
        decode(content, SIDE)
    return str(caught.value)


# BMP


def bmp(rows, bits, *, size=40, masks=(), palette=b"", compression=0, height=SIDE, colours=0):
    """A BMP file; rows are stored unchanged."""
    if size == 12:
        header = struct.pack("<IHHHH", 12, SIDE, height, 1, bits)
    else:
        header = struct.pack(
            "<IiiHHIIiiII", size, SIDE, height, 1, bits, compression, 0, 0, 0, colours, 0
        )
        fields = b"".join(struct.pack("<I", mask) for mask in masks)
        header = (header + fields).ljust(size, b"\0")
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, offset) + header + palette + rows


def packed(samples, bits):
    """Rows of small numbers, from the bottom to the top, padded to four bytes."""
    ones = (samples[::-1, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    lines = np.packbits(ones.reshape(len(samples), -1).astype(np.uint8), axis=1)
    return np.pad(lines, ((0, 0), (0, -lines.shape[1] % 4))).tobytes()


def quads(palette, entry=4):
    table = np.zeros((len(palette), entry), np.uint8)
    table[:, :3] = palette[:, ::-1]
    return table.tobytes()


GREYS = {bits: np.arange(1 << bits, dtype=np.uint8)[:, None].repeat(3, 1) for bits in (1, 4, 8)}


@pytest.mark.parametrize("size", [12, 40, 64, 108, 124])
@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("palette", ["any", "grey", "black and white"])
def test_palettes_of_bmp(bits, size, palette):
    samples = RNG.integers(0, 1 << bits, (SIDE, SIDE), np.uint8)
    table = {
        "any": RNG.integers(0, 256, (1 << bits, 3), np.uint8),
        # Pillow assumes the wrong depth for these.
        "grey": GREYS[bits],
        "black and white": np.resize(np.array([[0] * 3, [255] * 3], np.uint8), (1 << bits, 3)),
    }[palette]
    entry = 3 if size == 12 else 4
    content = bmp(packed(samples, bits), bits, size=size, palette=quads(table, entry))
    np.testing.assert_array_equal(decode(content, SIDE), table[samples])


def test_a_short_palette_of_bmp():
    samples = RNG.integers(0, 2, (SIDE, SIDE), np.uint8)
    table = np.array([[0] * 3, [255] * 3], np.uint8)
    content = bmp(packed(samples, 4), 4, palette=quads(table), colours=2)
    np.testing.assert_array_equal(decode(content, SIDE), table[samples])


@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (16, (0x7C00, 0x3E0, 0x1F)),
        (16, (0xF800, 0x7E0, 0x1F)),
        (16, (0xF00, 0xF0, 0xF, 0xF000)),
        (32, (0xFF0000, 0xFF00, 0xFF)),
        (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
        (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)),
        (32, (0x3FF00000, 0xFFC00, 0x3FF)),
    ],
)
def test_masks_of_bmp(bits, masks):
    pixels = RNG.integers(0, 1 << bits, (SIDE, SIDE), np.uint64)
    bands = []
    for mask in masks:
        shift = (mask & -mask).bit_length() - 1
        most = mask >> shift
        values = (pixels & np.uint64(mask)) >> np.uint64(shift)
        bands.append(values >> np.uint64(2) if most == 1023 else values * 255.0 / most)
    rows = np.zeros((SIDE, -(-SIDE * bits // 32) * 4 * 8 // bits), f"<u{bits // 8}")
    rows[:, :SIDE] = pixels[::-1]
    wanted = np.dstack(bands[:3])
    if len(masks) == 4:
        wanted = on_white(wanted, bands[3][..., None])
    size = 124 if len(masks) == 4 else 108
    content = bmp(rows.tobytes(), bits, size=size, masks=masks, compression=3)
    assert gap(decode(content, SIDE), wanted) <= 1


def test_bmp_from_top_to_bottom_and_without_a_header():
    pixels = drawn()
    content = encode(Image.fromarray(pixels), "BMP")
    np.testing.assert_array_equal(decode(content, SIDE), pixels)
    np.testing.assert_array_equal(decode(content[14:], SIDE), pixels)
    turned = bytearray(content)
    turned[22:26] = struct.pack("<i", -SIDE)
    np.testing.assert_array_equal(decode(bytes(turned), SIDE), pixels[::-1])


def test_run_lengths_of_bmp():
    table = RNG.integers(0, 256, (16, 3), np.uint8)
    # From the bottom: a run, single pixels, the end of the line; a jump; the end.
    runs = bytes([20, 0x12, 0, 5, 0x34, 0x56, 0x70, 0, 0, 0, 0, 2, 3, 1, 4, 0x99, 0, 1])
    wanted = np.zeros((SIDE, SIDE), int)
    wanted[0, :20:2], wanted[0, 1:20:2] = 1, 2
    wanted[0, 20:25] = 3, 4, 5, 6, 7
    wanted[2, 3:7] = 9
    content = bmp(runs, 4, palette=quads(table), compression=2)
    np.testing.assert_array_equal(decode(content, SIDE), table[wanted[::-1]])
    runs = bytes([20, 7, 0, 3, 1, 2, 3, 0, 0, 0, 0, 2, 3, 1, 4, 9, 0, 1])
    wanted[0, :25] = [7] * 20 + [1, 2, 3, 0, 0]
    table = np.resize(table, (256, 3))
    content = bmp(runs, 8, palette=quads(table), compression=1)
    np.testing.assert_array_equal(decode(content, SIDE), table[wanted[::-1]])
    assert reason_of(content[:-4]).startswith("damaged: truncated: ")


# PBM, PGM, PPM


@pytest.mark.parametrize("maximum", [1, 3, 15, 100, 255, 256, 1000, 1023, 4095, 65535])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("text", [False, True])
def test_any_maximum_of_a_netpbm_picture(maximum, channels, text):
    samples = RNG.integers(0, maximum, (SIDE, SIDE, channels), np.uint16, endpoint=True)
    samples[0, :2] = [[0], [maximum]]
    kind = (2 if channels == 1 else 3) + (0 if text else 3)
    header = f"P{kind}\n# a comment\n{SIDE} {SIDE}\n{maximum}\n".encode()
    if text:
        body = " ".join(map(str, samples.reshape(-1))).encode()
    else:
        body = samples.astype(">u2" if maximum > 255 else "u1").tobytes()
    found = decode(header + body, SIDE)
    assert gap(found, samples * 255.0 / maximum) <= (1 if maximum > 255 else 0.5)
    assert found[0, 0].tolist() == [0] * 3
    assert found[0, 1].tolist() == [255] * 3
    assert reason_of((header + body)[:-40]).startswith("damaged: truncated: netpbm picture")


@pytest.mark.parametrize("text", [False, True])
def test_a_bitmap_of_netpbm_is_black_where_it_is_one(text):
    bits = RNG.integers(0, 2, (SIDE, SIDE), np.uint8)
    if text:
        content = f"P1 {SIDE} {SIDE}\n".encode() + (bits + 48).tobytes()
    else:
        content = f"P4 {SIDE} {SIDE}\n".encode() + np.packbits(bits, axis=1).tobytes()
    np.testing.assert_array_equal(decode(content, SIDE)[..., 0], 255 * (1 - bits))


def test_samples_above_the_maximum_are_rejected():
    assert "above its maximum" in reason_of(
        f"P5 {SIDE} {SIDE} 100\n".encode() + bytes([200]) * 1369
    )


# GIF


def gif(frame, box, *, screen=(SIDE, SIDE), transparent=None, interlaced=False):
    """A GIF whose first frame covers a part of the screen."""
    left, top, width, height = box
    image = Image.fromarray(frame)
    image.putpalette(RNG.permutation(768).astype(np.uint8).tobytes())
    options = {} if transparent is None else {"transparency": transparent}
    content = bytearray(encode(image, "GIF", interlace=interlaced, optimize=False, **options))
    content[6:10] = struct.pack("<HH", *screen)
    place = content.find(b"," + struct.pack("<HHHH", 0, 0, width, height))
    content[place + 1 : place + 5] = struct.pack("<HH", left, top)
    palette = np.frombuffer(bytes(content[13:781]), np.uint8).reshape(-1, 3)
    return bytes(content), palette


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("transparent", [None, 7])
@pytest.mark.parametrize("box", [(0, 0, SIDE, SIDE), (5, 9, 20, 11)])
def test_a_gif_is_white_outside_its_first_frame(box, transparent, interlaced):
    left, top, width, height = box
    frame = np.resize(RNG.permutation(256).astype(np.uint8), (height, width))
    content, palette = gif(frame, box, transparent=transparent, interlaced=interlaced)
    wanted = np.full((SIDE, SIDE, 3), 255)
    inside = palette[frame].astype(int)
    if transparent is not None:
        inside[frame == transparent] = 255
    wanted[top : top + height, left : left + width] = inside
    np.testing.assert_array_equal(decode(content, SIDE), wanted)


# WebP, JPEG 2000, AVIF


def test_webp_with_and_without_transparency():
    pixels = drawn(4)
    content = imagecodecs.webp_encode(pixels, lossless=True)
    assert gap(decode(content, SIDE), on_white(pixels[..., :3], pixels[..., 3:])) <= 1
    content = imagecodecs.webp_encode(pixels[..., :3].copy(), lossless=True)
    np.testing.assert_array_equal(decode(content, SIDE), pixels[..., :3])


def jpeg2000(samples, bits, **options):
    """A lossless JPEG 2000 file."""
    data = samples[..., 0] if samples.shape[2] == 1 else samples
    options = {"colorspace": CLRSPC.GRAY if samples.shape[2] == 1 else CLRSPC.SRGB} | options
    return imagecodecs.jpeg2k_encode(data, level=0, bitspersample=bits, **options)


@pytest.mark.parametrize("form", ["j2k", "jp2"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("mct", [False, True])
def test_jpeg_2000_of_every_depth(form, bits, channels, mct):
    samples = drawn(channels, bits)
    content = jpeg2000(samples, bits, codecformat=form, mct=mct and channels == 3)
    theirs = imagecodecs.jpeg2k_decode(content)
    np.testing.assert_array_equal(theirs.reshape(samples.shape), samples)
    if bits > 8 and channels > 1:
        # Pillow rounds white to 256, which is black.
        wanted = f"JPEG 2000 with {bits} bits per sample in {channels} components"
        assert reason_of(content) == f"unsupported layout: {wanted}"
        return
    values = np.floor(samples / 2.0 ** (bits - 8))
    wanted = on_white(values[..., :3], values[..., 3:]) if channels == 4 else values
    assert gap(decode(content, SIDE), wanted) <= (1 if channels == 4 else 0)


def test_jpeg_2000_in_ycc():
    picture = Image.fromarray(smooth())
    content = jpeg2000(
        np.asarray(picture.convert("YCbCr")),
        8,
        codecformat="jp2",
        colorspace=CLRSPC.SYCC,
        mct=False,
    )
    assert gap(decode(content, SIDE), np.asarray(picture)) <= 3


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (drawn(1)[..., 0].astype(np.int8), {}, "signed samples"),
        (drawn(1)[..., 0] >> 4, {"bitspersample": 4}, "4 bits per sample in 1 components"),
        (drawn(), {"colorspace": CLRSPC.EYCC, "codecformat": "jp2"}, "the colour space 24"),
    ],
)
def test_unsupported_layouts_of_jpeg_2000_are_named(data, options, reason):
    content = imagecodecs.jpeg2k_encode(data, level=0, **options)
    assert reason_of(content) == f"unsupported layout: JPEG 2000 with {reason}"


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("pixels", ["444", "420"])
def test_avif_of_every_depth(bits, channels, pixels):
    picture = smooth(channels)
    data = picture if bits == 8 else picture.astype(np.uint16) << (bits - 8)
    content = imagecodecs.avif_encode(
        data, level=95, bitspersample=bits, pixelformat=pixels, codec="aom", speed=8
    )
    theirs = imagecodecs.avif_decode(content).astype(float) / 2 ** (bits - 8)
    wanted = on_white(theirs[..., :3], theirs[..., 3:]) if channels == 4 else theirs
    found = decode(content, SIDE)
    # The two decoders enlarge subsampled colours differently.
    assert gap(found, wanted) <= (4 if pixels == "444" else 16)
    assert np.abs(found - wanted).mean() < 2


# HEIF


@pytest.mark.parametrize(("name", "tolerance"), [("L_8", 4), ("L_10", 4)])
def test_grey_heif(name, tolerance):
    found = decode((HEIF / f"{name}__29x100.heif").read_bytes(), 64)
    # Black at the top, white at the bottom, level from left to right.
    wanted = np.linspace(0, 255, 64)[:, None, None]
    assert gap(found[4:-4], np.broadcast_to(wanted, found.shape)[4:-4]) <= tolerance


@pytest.mark.parametrize("name", ["RGB_8", "RGB_10", "RGBA_8"])
def test_colours_of_heif(name):
    found = decode((HEIF / f"{name}__29x100.heif").read_bytes(), 64).astype(int)
    # Blue at the top left, yellow at the bottom right; white where it is transparent.
    assert np.abs(found[1, 1] - (4, 6, 250)).max() < 12
    bottom = (255, 255, 251) if name == "RGBA_8" else (250, 251, 3)
    assert np.abs(found[-2, -2] - bottom).max() < 12


def test_heif_without_its_decoder_names_the_package_to_install(monkeypatch):
    monkeypatch.setattr(avif_heif_jpeg2000, "pi_heif", None)
    content = (HEIF / "RGB_8__29x100.heif").read_bytes()
    with pytest.raises(RejectedImage, match="HEIC needs the package pi-heif"):
        module.decode_here(content, SIDE)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
@pytest.mark.parametrize("format", ["HEIF", "AVIF", "JPEG2000", "WEBP", "GIF", "BMP", "PPM"])
def test_a_truncated_file_is_reported_as_truncated(format, share):
    if format == "HEIF":
        content = (HEIF / "RGB_8__29x100.heif").read_bytes()
    else:
        content = encode(Image.fromarray(drawn()), format)
    assert decode(content, SIDE).shape == (SIDE, SIDE, 3)
    assert reason_of(content[: int(len(content) * share)]).startswith("damaged: truncated: ")


# Suffixes, and files that are not images


def test_every_suffix_belongs_to_a_supported_format():
    assert set(formats.SUFFIXES_BY_FORMAT) == {"JPEG", *module._LOADERS}
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in SUFFIXES)
    assert len(set(SUFFIXES)) == len(SUFFIXES)
    wanted = ".jpg .jpeg .jpe .jfif .png .webp .gif .tif .tiff .bmp .dib .avif .avifs .jp2 .j2k"
    wanted += " .jpc .jpx .ppm .pgm .pbm .pnm .heic .heif .hif"
    assert set(SUFFIXES) >= set(wanted.split())


def test_suffixes_are_known_without_a_decoder(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("PIL", "numpy")]:
        monkeypatch.setitem(sys.modules, name, None)
    assert importlib.reload(formats).SUFFIXES == SUFFIXES


def box(kind, brand):
    return struct.pack(">I4s4sI4s", 20, kind, brand, 0, brand) + bytes(100)


OTHERS = {
    b"": "empty file",
    b"hello\n": "text file",
    "Grüße, 你好\n".encode(): "text file",
    "text".encode("utf-16"): "text file",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n": "Git LFS pointer",
    b"<!DOCTYPE html>\n<html><body>404</body></html>": "HTML page",
    b"\n<html lang='en'>": "HTML page",
    b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>": "SVG drawing",
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>": "XML document",
    b'{"message": "not found"}': "JSON or similar text",
    b"%PDF-1.7\n%\xe2\xe3\xcf\xd3": "PDF document",
    b"%!PS-Adobe-3.0 EPSF-3.0\n": "PostScript document",
    bytes(5000): "zero bytes only",
    b"PK\3\4" + bytes(30): "ZIP archive",
    b"\x1f\x8b\x08\0": "gzip archive",
    b"Rar!\x1a\7\0": "RAR archive",
    b"7z\xbc\xaf\x27\x1c": "7-Zip archive",
    b"fig.jpg".ljust(257, b"\0") + b"ustar\0": "tar archive",
    box(b"ftyp", b"isom"): "video (MPEG-4)",
    box(b"ftyp", b"qt  "): "video (QuickTime)",
    box(b"ftyp", b"crx "): "camera raw file (CR3)",
    b"\x1aE\xdf\xa3" + bytes(20): "video (Matroska or WebM)",
    b"RIFF\0\0\0\0AVI LIST": "video (AVI)",
    b"8BPS\0\1": "Photoshop document (PSD)",
    b"\0\0\1\0\1\0\x10\x10": "Windows icon (ICO)",
    b"\xff\x0a\xfa": "JPEG XL picture",
    b"qoif\0\0": "QOI picture",
    b"P7\nWIDTH 3\n": "PAM picture",
    b"Pf\n3 3\n-1.0\n": "PFM picture",
    b"FUJIFILMCCD-RAW 0201": "camera raw file",
    b"PAR1\x15\4": "Parquet file",
    b"\x80\x81\x82\x83\x84\x85\x86\x87\x88": "unknown content that begins with the bytes 80 81",
}


@pytest.mark.parametrize("content", OTHERS, ids=lambda content: OTHERS[content])
def test_other_files_are_described(content):
    reason = reason_of(content)
    assert reason.startswith(f"not an image: {OTHERS[content]}")
    assert reason.isprintable()
    assert len(reason) < 120
