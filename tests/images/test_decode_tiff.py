"""TIFF in every layout that can be generated: correct pixels, or a reason that names the layout.

tifffile with imagecodecs is the second decoder; what its samples look like is computed here.
"""

import io
import itertools
import struct

import numpy as np
import pytest
import tifffile

from fruits.images.decode import RejectedImage, decode

SIDE = 37
RNG = np.random.default_rng(0)
PHOTOMETRIC_SAMPLES = {"minisblack": 1, "miniswhite": 1, "rgb": 3, "separated": 4, "palette": 1}


def samples(bits, count, kind="u"):
    """Random samples of shape (SIDE, SIDE, count) with clear differences."""
    if kind == "f":
        return RNG.random((SIDE, SIDE, count), np.float64).astype(f"f{bits // 8}")
    width = next(width for width in (8, 16, 32, 64) if bits <= width)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind == "i" else (0, (1 << bits) - 1)
    return RNG.integers(low, high, (SIDE, SIDE, count), f"{kind}{width // 8}", endpoint=True)


def encode(data, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, data, **options)
    return buffer.getvalue()


def colours(content):
    """The expected pixels as float RGB, computed from the samples that tifffile reads."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages[0]
        data = page.asarray().astype(np.float64)
        bits, extra = page.bitspersample, page.extrasamples
        photometric = page.photometric.name.lower()
        if page.planarconfig == 2 and data.ndim == 3:
            data = np.moveaxis(data, 0, -1)
        if data.ndim == 2:
            data = data[..., None]
        colourmap = page.colormap
    count = PHOTOMETRIC_SAMPLES[photometric]
    values = data[..., :count]
    if photometric == "palette":
        wide = colourmap.max() > 255
        rgb = (colourmap >> 8 if wide else colourmap).T[values[..., 0].astype(int)].astype(float)
    else:
        unit = np.floor(values / 2.0 ** (bits - 8)) if bits > 8 else values * 255 / (2**bits - 1)
        if photometric == "miniswhite":
            unit = 255 - unit
        rgb = np.broadcast_to(unit, (SIDE, SIDE, 3)) if count == 1 else unit
        if count == 4:
            rgb = (255 - unit[..., :3]) * (255 - unit[..., 3:]) / 255
    if extra and extra[0] in (1, 2):
        alpha = data[..., count : count + 1] / (2**bits - 1)
        rgb = rgb + 255 * (1 - alpha) if extra[0] == 1 else 255 + (rgb - 255) * alpha
    return rgb.clip(0, 255)


def check(content):
    """Checks that the pixels are correct or the reason names the layout; returns which."""
    try:
        found = decode(content, SIDE)
    except RejectedImage as rejected:
        reason = str(rejected)
    else:
        reason = ""
    if reason:
        assert reason.startswith("unsupported layout: TIFF with "), reason
        return reason
    gap = np.abs(found - colours(content))
    # A tolerance of one for each rounding: of transparency, and of inks.
    assert gap.max() <= 2, f"{gap.max()} at {np.argwhere(gap == gap.max())[0]}"
    return ""


# Layouts

STORED = {
    "strips": {"rowsperstrip": 5},
    "one strip": {"rowsperstrip": SIDE},
    "tiles": {"tile": (16, 16)},
    "large tiles": {"tile": (48, 48)},
}
COMPRESSED = {
    "raw": {},
    "lzw": {"compression": "lzw"},
    "deflate": {"compression": "adobe_deflate"},
    "packbits": {"compression": "packbits"},
    "zstd": {"compression": "zstd"},
    "lzw predicted": {"compression": "lzw", "predictor": 2},
}


def layouts():
    """Names and contents of files."""
    pixels = [
        *(("u", bits, grey, 1, ()) for bits in (1, 2, 4, 8, 10, 12, 14, 16, 32, 64)
          for grey in ("minisblack", "miniswhite")),
        *(("i", bits, "minisblack", 1, ()) for bits in (8, 16, 32)),
        *(("f", bits, "minisblack", 1, ()) for bits in (16, 32, 64)),
        *(("u", bits, "minisblack", 2, (extra,)) for bits in (8, 16) for extra in (0, 1, 2)),
        *(("u", bits, "rgb", 3, ()) for bits in (2, 4, 5, 8, 10, 12, 16, 32)),
        *(("u", bits, "rgb", 4, (extra,)) for bits in (8, 16) for extra in (0, 1, 2)),
        *(("u", 8, "rgb", 5, extras) for extras in ((2, 0), (0, 0), (1, 0), (0, 2))),
        *(("f", bits, "rgb", 3, ()) for bits in (16, 32)),
        *(("u", bits, "separated", 4, ()) for bits in (8, 16)),
        *(("u", 8, "separated", 5, (extra,)) for extra in (0, 1, 2)),
        ("u", 8, "cielab", 3, ()),
        ("u", 16, "cielab", 3, ()),
        ("u", 8, "cfa", 1, ()),
    ]  # fmt: skip
    for (
        kind,
        bits,
        photometric,
        count,
        extra,
    ), stored, compressed, planar, order in itertools.product(
        pixels, STORED, COMPRESSED, ("contig", "separate"), "<>"
    ):
        if planar == "separate" and count == 1:
            continue
        packed = bits not in (8, 16, 32, 64)
        if packed and ("predicted" in compressed or (kind == "f" and bits != 16)):
            continue
        if "predicted" in compressed and kind == "f":
            continue
        data = samples(bits, count, kind)
        if extra and extra[0] == 1:
            # Premultiplied colours are not larger than alpha.
            colour = PHOTOMETRIC_SAMPLES[photometric]
            data[..., :colour] = np.minimum(data[..., :colour], data[..., colour : colour + 1])
        if count == 1:
            data = data[..., 0]
        elif planar == "separate":
            data = np.ascontiguousarray(np.moveaxis(data, -1, 0))
        options = STORED[stored] | COMPRESSED[compressed] | {"byteorder": order}
        options |= {"photometric": photometric, "metadata": None}
        if count > 1:
            options["planarconfig"] = planar
        if extra:
            options["extrasamples"] = extra
        if packed:
            options["bitspersample"] = bits
        name = f"{kind}{bits} {photometric} {count} {extra} {stored} {compressed} {planar} {order}"
        yield name, data, options


@pytest.mark.slow
def test_every_layout_is_decoded_or_named_in_the_rejection():
    read, rejected, wrong = set(), set(), []
    for name, data, options in layouts():
        try:
            content = encode(data, **options)
        except ValueError:  # tifffile does not write packed samples compressed.
            assert "bitspersample" in options
            continue
        try:
            reason = check(content)
        except AssertionError as error:
            wrong.append(f"{name}: {error}")
            continue
        kind = " ".join(name.split()[:3])
        (rejected if reason else read).add(kind)
    assert wrong == []
    # Common layouts must be decoded, not only rejected with their names.
    assert read >= {
        *(f"u{bits} minisblack 1" for bits in (1, 2, 4, 8, 12, 16, 32)),
        *(f"u{bits} miniswhite 1" for bits in (1, 2, 4, 8, 16)),
        "u8 minisblack 2",
        *(f"u{bits} rgb {count}" for bits in (8, 16) for count in (3, 4)),
        "u8 rgb 5",
        "u8 separated 4",
        "u16 separated 4",
        "u8 separated 5",
    }
    assert rejected >= {"f32 minisblack 1", "i16 minisblack 1", "u8 cielab 3", "u8 cfa 1"}


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("order", "<>")
def test_a_colour_map_may_have_eight_bits_or_sixteen(bits, depth, order):
    colourmap = RNG.integers(0, 256, (3, 1 << bits), np.uint16) << (depth - 8)
    colourmap[:, 0] = np.array([255, 128, 0]) << (depth - 8)
    data = samples(bits, 1)[..., 0]
    # tifffile writes palettes only for 8 bits; for fewer bits, the tags are added here.
    options = {"photometric": "palette", "colormap": colourmap} if bits == 8 else {}
    content = encode(data, byteorder=order, metadata=None, **options)
    if bits < 8:
        content = directory(
            [
                (256, "H", SIDE),
                (257, "H", SIDE),
                (258, "H", bits),
                (259, "H", 1),
                (262, "H", 3),
                (273, "I", "data"),
                (277, "H", 1),
                (278, "H", SIDE),
                (279, "I", "length"),
                (320, "H", colourmap.reshape(-1).tolist()),
            ],
            packed(data, bits),
            order,
        )
    found = decode(content, SIDE)
    np.testing.assert_array_equal(found, (colourmap >> (depth - 8)).T[data])


def packed(data, bits):
    """Rows of samples, several to a byte, the first in the high bits."""
    ones = (data[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(ones.reshape(len(data), -1), axis=1).tobytes()


def directory(tags, data, order="<"):
    """A TIFF file with these tags; the value "data" means the offset of the data."""
    tail = b""
    entries = b""
    start = 8 + len(data)
    after = start + 2 + 12 * len(tags) + 4
    for tag, letter, values in tags:
        values = (
            {"data": 8, "length": len(data)}.get(values, values)
            if isinstance(values, str)
            else values
        )
        values = values if isinstance(values, list) else [values]
        raw = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(raw) > 4:
            field = struct.pack(order + "I", after + len(tail))
            tail += raw
        else:
            field = raw.ljust(4, b"\0")
        kind = {"B": 1, "H": 3, "I": 4}[letter]
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + field
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return head + data + struct.pack(order + "H", len(tags)) + entries + bytes(4) + tail


GREY = [
    (256, "H", SIDE),
    (257, "H", SIDE),
    (258, "H", 8),
    (259, "H", 1),
    (262, "H", 1),
    (273, "I", "data"),
    (277, "H", 1),
    (278, "H", SIDE),
    (279, "I", "length"),
]


def with_tags(**values):
    """GREY with other values of tags, by number."""
    wanted = {int(name[1:]): value for name, value in values.items()}
    tags = {tag: (letter, value) for tag, letter, value in GREY} | {
        tag: ("H", value) for tag, value in wanted.items()
    }
    return [(tag, letter, value) for tag, (letter, value) in sorted(tags.items())]


def plain(shape=(SIDE, SIDE)):
    return RNG.integers(0, 256, shape, np.uint8)


def test_reversed_bit_order_is_supported():
    data = plain()
    turned = np.packbits(np.unpackbits(data[..., None], axis=-1)[..., ::-1], axis=-1)[..., 0]
    found = decode(directory(with_tags(_266=2), turned.tobytes()), SIDE)
    np.testing.assert_array_equal(found[..., 0], data)


@pytest.mark.parametrize(
    ("value", "white_is_zero", "bits", "wanted"),
    [
        (0xFFF, False, 12, 255),
        (0x2000, True, 16, 223),
        (0x2000, False, 16, 32),
        (0x80000000, False, 32, 128),
        (0xFFFFFFFF, False, 32, 255),
    ],
)
def test_the_high_bits_of_a_deep_sample_are_kept(value, white_is_zero, bits, wanted):
    data = np.full((SIDE, SIDE), value, np.uint32 if bits == 32 else np.uint16)
    options = {"bitspersample": 12} if bits == 12 else {}
    photometric = "miniswhite" if white_is_zero else "minisblack"
    content = encode(data, byteorder="<", photometric=photometric, metadata=None, **options)
    assert np.unique(decode(content, SIDE)).tolist() == [wanted]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
def test_an_embedded_jpeg_has_its_colours(big, subsampling):
    coarse = RNG.integers(0, 256, (3, 3, 3), np.uint8)
    data = np.kron(coarse, np.ones((16, 16, 1), np.uint8))
    content = encode(
        data,
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": 95},
        subsampling=subsampling,
        bigtiff=big,
        rowsperstrip=16,
    )
    found = decode(content, 48).astype(int)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        assert file.pages[0].photometric.name == "YCBCR"
        theirs = file.pages[0].asarray().astype(int)
    assert np.abs(found - theirs).max() <= (2 if subsampling == (1, 1) else 60)
    assert np.abs(found - data)[4:12, 4:12].max() < 30


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(orientation):
    data = plain()
    found = decode(directory(with_tags(_274=orientation), data.tobytes()), SIDE)[..., 0]
    turns = [
        data,
        data[:, ::-1],
        data[::-1, ::-1],
        data[::-1],
        data.T,
        np.rot90(data, -1),
        data[::-1, ::-1].T,
        np.rot90(data),
    ]
    np.testing.assert_array_equal(found, turns[orientation - 1])


def test_the_first_page_is_decoded():
    pages = [plain((SIDE, SIDE, 3)), plain((SIDE, SIDE, 3))]
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in pages:
            writer.write(page, photometric="rgb", contiguous=False)
    np.testing.assert_array_equal(decode(buffer.getvalue(), SIDE), pages[0])


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"_262": 8}, "unsupported layout: TIFF with CIELab pixels"),
        ({"_262": 32803}, "unsupported layout: TIFF with colour filter array"),
        ({"_259": 34712}, "unsupported layout: TIFF with JPEG 2000 compression"),
        ({"_259": 77}, r"unsupported layout: TIFF with unknown \(77\) compression"),
        ({"_258": 24}, "unsupported layout: TIFF with 24 bits per sample, grey"),
        ({"_262": 6}, "unsupported layout: TIFF with YCbCr pixels that are not JPEG"),
        ({"_339": 2}, "unsupported layout: TIFF with signed integers"),
        ({"_339": 3, "_258": 32}, "unsupported layout: TIFF with floating-point samples"),
        ({"_277": 2, "_257": 9, "_278": 9}, "unsupported layout: TIFF with .* grey in 2 samples"),
        ({"_278": 0}, "damaged: TIFF with strips without rows"),
        ({"_257": 2 * SIDE, "_278": 2 * SIDE}, "damaged: truncated: "),
        ({"_262": 3}, "damaged: TIFF without its palette"),
    ],
)
def test_the_reason_names_the_layout(tags, reason):
    content = directory(with_tags(**tags), plain().tobytes())
    with pytest.raises(RejectedImage, match=f"^{reason}"):
        decode(content, SIDE)


def test_a_tiff_that_ends_early_is_truncated():
    content = encode(plain((SIDE, SIDE, 3)), photometric="rgb", compression="lzw")
    for share in (0.01, 0.3, 0.7, 0.99):
        with pytest.raises(RejectedImage, match=r"^damaged: truncated: "):
            decode(content[: int(len(content) * share)], SIDE)


def first_strip(content):
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages[0]
        return page.dataoffsets[0], page.databytecounts[0], page.tags["StripByteCounts"]


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_an_embedded_jpeg_that_ends_early_is_truncated(share):
    options = {"photometric": "rgb", "compression": "jpeg", "rowsperstrip": 16}
    content = bytearray(encode(samples(8, 3), **options))
    _, count, tag = first_strip(content)
    kind = "<H" if tag.dtype == 3 else "<I"
    struct.pack_into(kind, content, tag.valueoffset, int(count * share))
    with pytest.raises(RejectedImage, match="damaged: truncated: TIFF with a JPEG inside"):
        decode(bytes(content), SIDE)


def test_damaged_lzma_is_rejected():
    content = bytearray(encode(samples(8, 3), photometric="rgb", compression="lzma"))
    offset, count, _ = first_strip(content)
    content[offset + count // 2 : offset + count - 40] = bytes(count - count // 2 - 40)
    with pytest.raises(RejectedImage, match="damaged: "):
        decode(bytes(content), SIDE)
