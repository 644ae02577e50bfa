"""PNG of every colour type, depth and transparency, compared with samples and with libpng."""

import itertools
import struct
import zlib

import imagecodecs
import numpy as np
import pytest

from fruits.images.decode import RejectedImage, decode

SIDE = 33
RNG = np.random.default_rng(0)
CHANNELS = {"grey": 1, "rgb": 3, "palette": 1, "grey alpha": 2, "rgb alpha": 4}
KINDS = {"grey": 0, "rgb": 2, "palette": 3, "grey alpha": 4, "rgb alpha": 6}
DEPTHS = {
    "grey": (1, 2, 4, 8, 16),
    "rgb": (8, 16),
    "palette": (1, 2, 4, 8),
    "grey alpha": (8, 16),
    "rgb alpha": (8, 16),
}
# The passes of Adam7: first row, first column, step of rows, step of columns.
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
PASSES.append((1, 0, 2, 1))


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def rows(samples, depth):
    """The unfiltered lines of samples of shape (height, width, channels)."""
    bits = (samples[..., None].astype(np.int64) >> np.arange(depth - 1, -1, -1)) & 1
    lines = np.packbits(bits.reshape(len(samples), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + line.tobytes() for line in lines)


def encode(samples, kind, depth, *, extra=b"", interlaced=False):
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, KINDS[kind], 0, 0, interlaced)
    parts = [samples[a::c, b::d] for a, b, c, d in PASSES] if interlaced else [samples]
    data = zlib.compress(b"".join(rows(part, depth) for part in parts if part.size))
    chunks = [chunk(b"IHDR", header), extra, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def drawn(kind, depth):
    return RNG.integers(0, 1 << depth, (SIDE, SIDE, CHANNELS[kind]), np.uint16)


def eight(samples, depth):
    """The expected samples with eight bits."""
    return samples >> 8 if depth == 16 else samples.astype(int) * 255 // ((1 << depth) - 1)


def on_white(rgb, alpha):
    return 255 + (rgb - 255.0) * alpha / 255


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "depth"), [(k, d) for k, ds in DEPTHS.items() for d in ds])
def test_every_colour_type_and_depth(kind, depth, interlaced):
    samples = drawn(kind, depth)
    palette = RNG.integers(0, 256, (1 << depth if kind == "palette" else 1, 3), np.uint8)
    extra = chunk(b"PLTE", palette.tobytes()) if kind == "palette" else b""
    content = encode(samples, kind, depth, extra=extra, interlaced=interlaced)

    found = decode(content, SIDE)

    if kind == "palette":
        wanted = palette[samples[..., 0]].astype(float)
    else:
        values = eight(samples, depth)
        alpha = values[..., -1:] if "alpha" in kind else 255
        wanted = on_white(values[..., : 3 if "rgb" in kind else 1], alpha)
    assert np.abs(found - wanted).max() <= (1 if "alpha" in kind else 0)
    theirs = np.atleast_3d(imagecodecs.png_decode(content)).astype(int)
    if theirs.max() > 255 or depth == 16:
        theirs = theirs >> 8
    if "alpha" in kind:
        theirs = on_white(theirs[..., :-1], theirs[..., -1:])
    assert np.abs(found - theirs).max() <= (1 if "alpha" in kind else 0)


@pytest.mark.parametrize(("kind", "depth"), [(k, d) for k in ("grey", "rgb") for d in DEPTHS[k]])
def test_only_the_exact_colour_of_the_key_is_transparent(kind, depth):
    samples = drawn(kind, depth)
    key = samples[3, 4].copy()
    samples[10:20, 10:20] = key
    if depth == 16:
        # Equal in the high bytes, then in the low bytes.
        samples[20:25] = key ^ 1
        samples[25:30] = key ^ 0x100
    extra = chunk(b"tRNS", key.astype(">u2").tobytes())
    found = decode(encode(samples, kind, depth, extra=extra), SIDE)
    transparent = (samples == key).all(axis=2)
    wanted = np.broadcast_to(eight(samples, depth), found.shape).copy()
    wanted[transparent] = 255
    np.testing.assert_array_equal(found, wanted)
    assert transparent.sum() >= 100


@pytest.mark.parametrize("depth", DEPTHS["palette"])
@pytest.mark.parametrize("alphas", [(0,), (255, 0), (100, 200), (0, 0)])
def test_a_palette_may_be_transparent(depth, alphas):
    samples = drawn("palette", depth)
    palette = RNG.integers(0, 256, (1 << depth, 3), np.uint8)
    extra = chunk(b"PLTE", palette.tobytes()) + chunk(b"tRNS", bytes(alphas))
    found = decode(encode(samples, "palette", depth, extra=extra), SIDE)
    alpha = np.full((1 << depth, 1), 255)
    alpha[: len(alphas), 0] = alphas
    wanted = on_white(palette, alpha)[samples[..., 0]]
    assert np.abs(found - wanted).max() <= 1


def test_a_pixel_outside_the_palette_is_rejected():
    samples = drawn("palette", 8)
    extra = chunk(b"PLTE", bytes(3 * 100))
    with pytest.raises(RejectedImage, match="damaged: PNG with pixels that its palette lacks"):
        decode(encode(samples, "palette", 8, extra=extra), SIDE)


@pytest.mark.parametrize(("kind", "depth"), list(itertools.product(range(8), (1, 3, 8, 24))))
def test_invalid_colour_types_and_depths_are_rejected(kind, depth):
    if (kind, depth) in {(KINDS[k], d) for k, ds in DEPTHS.items() for d in ds}:
        return
    content = bytearray(encode(drawn("grey", 8), "grey", 8))
    content[24:26] = depth, kind
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.raises(RejectedImage, match=f"damaged: PNG of colour type {kind} with {depth} bit"):
        decode(bytes(content), SIDE)


def test_a_png_with_much_metadata_is_decoded():
    samples = drawn("rgb", 8)
    exif = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\3\0\0\0\0\0\0"
    extra = chunk(b"eXIf", exif) + 1000 * chunk(b"tEXt", b"Comment\0many")
    found = decode(encode(samples, "rgb", 8, extra=extra), SIDE)
    np.testing.assert_array_equal(found, samples[::-1, ::-1])


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "depth"), [(k, d) for k, ds in DEPTHS.items() for d in ds])
def test_a_png_with_too_few_data_is_truncated(kind, depth, interlaced):
    samples = RNG.integers(1, 1 << depth, (SIDE, SIDE, CHANNELS[kind]), np.uint16)
    extra = chunk(b"PLTE", bytes(range(256)) * 3) if kind == "palette" else b""
    whole = encode(samples, kind, depth, extra=extra, interlaced=interlaced)
    decode(whole, SIDE)
    begin = whole.index(b"IDAT") - 4
    size = int.from_bytes(whole[begin : begin + 4])
    data = zlib.decompress(whole[begin + 8 : begin + 8 + size])
    for share in (0.3, 0.9):
        # The compressed stream itself is complete.
        less = chunk(b"IDAT", zlib.compress(data[: int(len(data) * share)]))
        with pytest.raises(RejectedImage, match="damaged: truncated"):
            decode(whole[:begin] + less + chunk(b"IEND", b""), SIDE)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("height", [1, 2, 3, 9])
@pytest.mark.parametrize(("kind", "depth"), [("grey", 1), ("rgb", 8), ("rgb alpha", 16)])
def test_a_black_picture_is_not_truncated(kind, depth, height, interlaced):
    samples = np.zeros((height, 5, CHANNELS[kind]), np.uint16)
    wanted = 255 if "alpha" in kind else 0
    assert (decode(encode(samples, kind, depth, interlaced=interlaced), 8) == wanted).all()
