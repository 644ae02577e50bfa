"""Thousands of damaged image files give pixels or a reason, in limited time and memory.

The decoder runs in a separate process, so that a crash of native code is a failed test that shows
the number of the file. To decode this file again:
``python tests/images/test_decode_fuzz.py FORMAT NUMBER 1``.
"""

import functools
import io
import json
import os
import re
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF")
FILES_EACH = 600
SIDE = 64

# The limit for one file, in seconds of one core, as in docs/reliability.md; most take milliseconds.
MAX_SECONDS = 60.0
# Peak memory of the process in addition to its modules. An image of MAX_PIXELS needs 256 MB, and an
# animated WebP needs four times as much: canvas, last frame, copy, alpha applied.
MAX_GROWTH = 1200 << 20
REASONS = ("not an image: ", "damaged: ", "too large: ", "too slow: ", "unsupported layout: ")
# libtiff writes its errors to stderr, and Pillow cannot prevent it.
LIBTIFF = re.compile(r"(tempfile\.tif|TIFF\w+|\w*Decode\w*|JPEGLib): .*\.$")


@pytest.mark.parametrize("format", FORMATS)
def test_every_damaged_file_gives_pixels_or_a_reason(format: str) -> None:
    done = subprocess.run(
        [sys.executable, __file__, format, "0", str(FILES_EACH)],
        capture_output=True,
        text=True,
        timeout=1500,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"after {lines[-1:]}: status {done.returncode}\n{done.stderr}"
    assert [line for line in done.stderr.splitlines() if not LIBTIFF.match(line)] == []
    *results, summary = map(json.loads, lines)
    assert [result["number"] for result in results] == list(range(FILES_EACH))
    slow = [result for result in results if result["seconds"] > MAX_SECONDS]
    assert slow == []
    assert summary["growth"] < MAX_GROWTH
    rejected = [result["reason"] for result in results if result["reason"]]
    # The damage must be neither so small nor so large that the test is meaningless.
    assert FILES_EACH * 0.1 < len(rejected) < FILES_EACH * 0.98
    for reason in rejected:
        assert reason.startswith(REASONS)
        assert len(reason) < 300
        assert reason.isprintable()


def test_a_jpeg_of_a_thousand_scans_is_rejected_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from fruits.images.decode import RejectedImage, decode

    content = bytearray(seeds_of_all()["JPEG"][1])
    size = content.find(b"\xff\xc2") + 5
    content[size : size + 4] = struct.pack(">HH", 8000, 8000)
    last_scan = content[content.rfind(b"\xff\xda") : -2]
    bomb = content[:-2] + 1000 * last_scan + content[-2:]
    # It is rejected by its headers, before it is decoded.
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile", None)
    with pytest.raises(RejectedImage, match="too large: 8000 x 8000 pixels in many scans"):
        decode(bytes(bomb), SIDE)


def test_a_run_counts_every_damaged_file(spark: object, graph: object, tmp_path: Path) -> None:
    import pandas as pd  # Importing it takes longer than the work of the other processes.

    from fruits.runs.config import RunConfig
    from fruits.runs.pipeline import run

    for format in FORMATS:
        folder = tmp_path / "images" / format
        folder.mkdir(parents=True)
        for number in range(30):
            suffix = "jp2" if format == "JPEG2000" else format.lower()
            (folder / f"{number}.{suffix}").write_bytes(damaged(format, number))
    config = RunConfig(
        images=str(tmp_path / "images"),
        output=str(tmp_path / "out"),
        backbone="EfficientNetLite0",
        components=2,
        classifier="none",
        max_rejected=1.0,
    )
    counts = run(config, io.StringIO()).report["counts"]
    assert counts["found"] == 30 * len(FORMATS)
    assert counts["extracted"] + counts["reused"] + counts["rejected"] == counts["found"]
    good = pd.read_parquet(tmp_path / "out" / "features", columns=["path"])["path"]
    bad = pd.read_parquet(tmp_path / "out" / "rejected")["path"]
    files = {f"file:{path}" for path in (tmp_path / "images").rglob("*.*")}
    assert sorted([*good, *bad]) == sorted(files)


def damaged(format: str, number: int) -> bytes:
    """A damaged image file; the same one for the same number."""
    rng = np.random.default_rng([FORMATS.index(format), number])
    seeds = seeds_of_all()[format]
    content = bytearray(seeds[number % len(seeds)])
    for _ in range(int(rng.integers(1, 4))):
        damage = DAMAGES[int(rng.integers(len(DAMAGES)))]
        content = damage(content, rng)
    # Half of the PNG files get valid checksums, because the damage would be detected at once.
    return _with_checksums(content) if format == "PNG" and number % 2 else bytes(content)


def truncate(content: bytearray, rng: np.random.Generator) -> bytearray:
    return content[: int(rng.integers(len(content) + 1))]


def flip_bits(content: bytearray, rng: np.random.Generator) -> bytearray:
    for place in rng.integers(len(content), size=int(rng.integers(1, 9))) if content else ():
        content[place] ^= 1 << int(rng.integers(8))
    return content


def flip_header_bits(content: bytearray, rng: np.random.Generator) -> bytearray:
    return flip_bits(content[:64], rng) + content[64:]


def put_number(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Puts a number that may cause an overflow into the header: a size, a count, an offset."""
    number = int(rng.choice([0, 1, 0x7FFF, 0xFFFF, 65500, 30_000, 0x7FFFFFFF, 0xFFFFFFFF, 0x8000]))
    kind = "HI"[int(rng.integers(2))] if number <= 0xFFFF else "I"
    place = int(rng.integers(min(200, len(content) + 1)))
    packed = struct.pack("<>"[int(rng.integers(2))] + kind, number)
    content[place : place + len(packed)] = packed
    return content


def enlarge(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Overwrites the dimensions in the header; some are huge."""
    width, height = (int(rng.choice([1, 900, 4_000, 8_000, 16_000, 65_500])) for _ in range(2))
    if content[:3] == b"\xff\xd8\xff":
        place = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
        if place > 0:
            content[place + 5 : place + 9] = struct.pack(">HH", height, width)
    elif content[:4] == b"\x89PNG":
        content[16:24] = struct.pack(">II", width, height)
        return bytearray(_with_checksums(content))
    elif content[:4] == b"GIF8":
        content[6:10] = struct.pack("<HH", width, height)
    elif content[:2] == b"BM":
        content[18:26] = struct.pack("<ii", width, height)
    elif content[12:16] == b"VP8X":
        content[24:30] = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    elif content[:4] == b"II*\0":
        for tag, value in ((256, width), (257, height)):
            place = content.find(struct.pack("<H", tag))
            if place > 0:
                content[place + 8 : place + 12] = struct.pack("<I", value)
    return content


def overwrite(content: bytearray, rng: np.random.Generator) -> bytearray:
    start, length = _slice(content, rng)
    content[start : start + length] = _noise(length, rng)
    return content


def cut_out(content: bytearray, rng: np.random.Generator) -> bytearray:
    start, length = _slice(content, rng)
    del content[start : start + length]
    return content


def repeat(content: bytearray, rng: np.random.Generator) -> bytearray:
    start, length = _slice(content, rng)
    content[start:start] = content[start : start + length]
    return content


def splice(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Continues with the bytes of another file, of this format or of another one."""
    seeds = seeds_of_all()[FORMATS[int(rng.integers(len(FORMATS)))]]
    other = seeds[int(rng.integers(len(seeds)))]
    return content[: int(rng.integers(len(content) + 1))] + other[int(rng.integers(len(other))) :]


def spoil_exif(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Puts an EXIF block of garbage into a JPEG file; damages others anywhere."""
    if content[:2] != b"\xff\xd8":
        return overwrite(content, rng)
    garbage = b"Exif\0\0" + [b"MM\0*", b"II*\0"][int(rng.integers(2))] + _noise(60, rng)
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(garbage) + 2) + garbage + content[2:]


Damage = Callable[[bytearray, np.random.Generator], bytearray]
DAMAGES: list[Damage] = [
    truncate,
    flip_bits,
    flip_header_bits,
    put_number,
    enlarge,
    overwrite,
    cut_out,
    repeat,
    splice,
    spoil_exif,
]


def _slice(content: bytearray, rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(len(content) + 1)), int(rng.integers(1, 65))


def _noise(length: int, rng: np.random.Generator) -> bytes:
    kind = int(rng.integers(3))
    return rng.bytes(length) if kind == 0 else (b"\0" if kind == 1 else b"\xff") * length


def _with_checksums(content: bytes | bytearray) -> bytes:
    """The PNG file with correct checksums of its chunks."""
    fixed, place = bytearray(content), 8
    while place + 12 <= len(fixed):
        length = int.from_bytes(fixed[place : place + 4])
        end = place + 8 + length
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = zlib.crc32(fixed[place + 4 : end]).to_bytes(4)
        place = end + 4
    return bytes(fixed)


# Not when this file is collected: drawing and encoding them takes a second.
@functools.cache
def seeds_of_all() -> dict[str, list[bytes]]:
    """Complete image files of each format, in the variants that cameras and programs write."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 9, 4), np.uint8), "RGBA")
    rgba = coarse.resize((180, 240), Image.Resampling.BICUBIC)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    palette, deep = rgb.quantize(64), Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"

    def saved(image: Image.Image, format: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        # A copy, because Pillow keeps settings of one format on the image and uses them for others.
        image.copy().save(buffer, format, **options)
        return buffer.getvalue()

    def several(format: str, image: Image.Image = rgb, **options: object) -> bytes:
        others = [rgb.rotate(angle) for angle in (20, 40)]
        return saved(image, format, save_all=True, append_images=others, **options)

    heif = sorted((Path(__file__).parent / "heif").glob("*.heif"))
    return {
        "PPM": [
            saved(rgb, "PPM"),
            saved(grey, "PPM"),
            saved(grey.convert("1"), "PPM"),
            b"P3\n# text\n9 12 255\n"
            + b" ".join(b"%d" % n for n in np.asarray(coarse)[..., :3].flat),
            b"P5 9 12 1000\n" + np.arange(108, dtype=">u2").tobytes(),
        ],
        "JPEG2000": [
            saved(rgb, "JPEG2000"),
            saved(rgba, "JPEG2000"),
            saved(deep, "JPEG2000"),
            saved(grey, "JPEG2000", no_jp2=True),
        ],
        "AVIF": [saved(rgb, "AVIF"), saved(rgba, "AVIF", exif=exif), several("AVIF")],
        "HEIF": [path.read_bytes() for path in heif],
        "JPEG": [
            saved(rgb, "JPEG"),
            saved(rgb, "JPEG", progressive=True, quality=90),
            saved(rgb.convert("CMYK"), "JPEG"),
            saved(grey, "JPEG", restart_marker_blocks=4),
            saved(rgb.resize((900, 700)), "JPEG", exif=exif, subsampling=0),
            several("MPO"),
        ],
        "PNG": [
            saved(rgb, "PNG"),
            saved(rgba, "PNG", exif=exif),
            saved(palette, "PNG", transparency=3),
            saved(deep, "PNG"),
            saved(grey.convert("1"), "PNG"),
            several("PNG"),
            saved(grey.convert("LA"), "PNG"),
        ],
        "WEBP": [
            saved(rgb, "WEBP", exif=exif),
            saved(rgba, "WEBP", lossless=True),
            several("WEBP"),
            saved(rgba, "WEBP"),
        ],
        "GIF": [
            saved(palette, "GIF"),
            saved(palette, "GIF", transparency=3, interlace=True),
            several("GIF"),
        ],
        "TIFF": [
            saved(rgb, "TIFF"),
            *(
                saved(rgb, "TIFF", compression=compression)
                for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
            ),
            saved(rgb.convert("CMYK"), "TIFF"),
            saved(deep, "TIFF"),
            saved(grey.convert("F"), "TIFF"),
            saved(grey.convert("1"), "TIFF", compression="group4"),
            saved(rgba, "TIFF", exif=exif),
            several("TIFF"),
        ],
        "BMP": [
            saved(rgb, "BMP"),
            saved(palette, "BMP"),
            saved(grey.convert("1"), "BMP"),
            saved(rgba, "BMP"),
        ],
    }


def _decode_all(format: str, first: int, count: int) -> Iterator[dict[str, object]]:
    """Decodes damaged files and yields the result of each; an unexpected error ends the test."""
    from fruits.images.decode import RejectedImage, decode

    decode(seeds_of_all()["JPEG"][0], SIDE)
    Image.init()
    before = _peak()
    for number in range(first, first + count):
        content, begin, reason = damaged(format, number), time.process_time(), ""
        try:
            pixels = decode(content, SIDE)
        except RejectedImage as rejected:
            reason = str(rejected)
            assert reason
        else:
            assert pixels.shape == (SIDE, SIDE, 3)
            assert pixels.dtype == np.uint8
        seconds = round(time.process_time() - begin, 3)
        yield {"number": number, "reason": reason, "seconds": seconds}
    yield {"growth": _peak() - before}


def _peak() -> int:
    """The peak memory of this process, in bytes."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    for result in _decode_all(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])):
        print(json.dumps(result), flush=True)
