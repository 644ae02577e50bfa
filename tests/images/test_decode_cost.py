"""Malicious files with high costs: time and memory have limits, which are checked before decoding.

Each file is decoded in a separate process, which measures its CPU time and its memory.
``python tests/images/test_decode_cost.py NAME`` decodes one of them. All these processes are forks
of one, so that the modules are imported only once.
"""

import json
import os
import signal
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from encoded import encode
from PIL import Image

from fruits.images import decode_process
from fruits.images.decode import RejectedImage, decode

pytestmark = pytest.mark.slow

# The limit for one file, in seconds of one core, as in docs/reliability.md. On a processor of 2020,
# no file takes a tenth of it, so much slower processors are within the limit, too.
MAX_SECONDS = 60.0
MAX_GROWTH = 1200 << 20


SMALL = encode(Image.new("RGB", (64, 64), (200, 10, 10)), "JPEG")


def stop_decoder():
    with decode_process._lock:
        if decode_process._child is not None:
            decode_process._child.stop()


# JPEG


def segment(marker, data):
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def tables(content):
    found, place = b"", 2
    while content[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4])
        if content[place + 1] in (0xDB, 0xC4):
            found += content[place:end]
        place = end
    return found


def jpeg_of_one_component_a_scan():
    frame = struct.pack(">BHHB", 8, 65500, 65500, 3) + b"\1\x11\0\2\x11\0\3\x11\0"
    scans = [segment(0xDA, bytes([1, number, 0, 0, 63, 0])) + b"\0" for number in (1, 2, 3)]
    return b"\xff\xd8" + tables(SMALL) + segment(0xC0, frame) + b"".join(scans) + b"\xff\xd9"


def jpeg_of_many_scans(count, side=4000, padding=0):
    content = encode(Image.new("RGB", (side, side), (200, 10, 10)), "JPEG", progressive=True)
    last = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + count * last + bytes(padding) + b"\xff\xd9"


def jpeg_without_data(marker, width=65500, height=65500, padding=0):
    place = SMALL.find(b"\xff\xc0")
    size = struct.pack(">HH", height, width)
    frame = b"\xff" + bytes([marker]) + SMALL[place + 2 : place + 5] + size
    content = SMALL[:place] + frame + SMALL[place + 9 :]
    scan = content.find(b"\xff\xda")
    return content[: scan + 14] + bytes(padding) + b"\xff\xd9"


def jpeg_with(header):
    return SMALL[:2] + header + SMALL[2:]


def exif_that_refers_to_itself(length):
    """EXIF in which each tag refers to the whole EXIF."""
    count = min(length // 16, 64_000)
    tags = b"".join(struct.pack("<HHII", 1000 + n, 7, length // 2, 8) for n in range(count))
    return (b"II*\0" + struct.pack("<IH", 8, count) + tags).ljust(length, b"\0")


# BMP and TIFF


def bmp_of_run_lengths(runs, side=8000):
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 0, 0, 0, 256, 0)
    offset = 14 + len(info) + 1024
    palette = bytes(range(256)) * 4
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, offset) + info + palette + runs


def tiff(data, *others, side=16, **changes):
    tags = {256: side, 257: side, 258: 8, 259: 1, 262: 1, 277: 1}
    entries = {tag: (4, 1, value) for tag, value in tags.items()}
    entries |= {int(name[1:]): value for name, value in changes.items()}
    body = b"".join(struct.pack("<HHII", tag, *entries[tag]) for tag in sorted(entries))
    body = struct.pack("<H", len(entries) + len(others)) + body + b"".join(others) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + body


def tiff_of_one_tile(side, compression=1):
    tile = {"_322": (4, 1, side), "_323": (4, 1, side), "_324": (4, 1, 8), "_325": (4, 1, 64)}
    return tiff(bytes(64), _259=(3, 1, compression), **tile)


def tiff_of_shared_tags():
    others = [struct.pack("<HHII", 1000 + n, 1, 1 << 20, 8) for n in range(20_000)]
    return tiff(bytes(1 << 20), *others, _273=(4, 1, 8), _279=(4, 1, 256))


def tiff_of_many_strips():
    count = 1 << 20
    strips = {"_257": (4, 1, count), "_278": (4, 1, 1)}
    data = struct.pack("<I", 8) * count
    return tiff(data, side=1, _273=(4, count, 8), _279=(4, count, 8), **strips)


# PNG, GIF and others


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width=8, height=8, depth=8, kind=2, *, extra=b"", tail=b"", interlaced=0):
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    length = height * (1 + width * depth // 8 * {0: 1, 2: 3, 6: 4}[kind])
    data = zlib.compress(bytes(length + 8 * height * bool(interlaced)), 1)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + tail + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def texts(count):
    data = zlib.compress(bytes(1 << 20))
    return b"".join(chunk(b"zTXt", b"k%d\0\0" % number + data) for number in range(count))


def gif_with(blocks):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    content = encode(Image.fromarray(grey).convert("P"), "GIF")
    place = 13 + (3 << (content[10] & 7) + 1)
    return content[:place] + blocks + content[place:]


def webp_of_many_frames():
    frames = [Image.new("RGB", (2, 2), (n % 256, n // 256, 0)) for n in range(3000)]
    return encode(frames[0], "WEBP", save_all=True, append_images=frames[1:])


def solid(format, side=5000, mode="RGB", **options):
    return encode(Image.new(mode, (side, side)), format, **options)


def huge_box(format):
    """A file of one pixel whose headers claim more than four thousand million pixels."""
    content = bytearray(encode(Image.new("RGB", (1, 1)), format))
    if format == "AVIF":
        place = content.find(b"ispe") + 8
        content[place : place + 8] = struct.pack(">II", 65500, 65500)
    else:
        place = content.find(b"\xff\x4f\xff\x51") + 8
        content[place : place + 8] = struct.pack(">II", 65500, 65500)
        place = content.find(b"ihdr") + 4
        content[place : place + 8] = struct.pack(">II", 65500, 65500)
    return bytes(content)


# The file, and the start of the expected reason; empty for a file that can be decoded.
FILES = {
    "jpeg, one component a scan": (jpeg_of_one_component_a_scan, "damaged: truncated: "),
    "jpeg, 80 scans": (lambda: jpeg_of_many_scans(80, 8000), "too large: 8000 x 8000 pixels in"),
    "jpeg, 450 scans": (lambda: jpeg_of_many_scans(450), "too large: 4000 x 4000 pixels in"),
    "jpeg, 5000 scans": (lambda: jpeg_of_many_scans(5000, 300), "too large: more than 500 scans"),
    "jpeg, 100 scans": (lambda: jpeg_of_many_scans(100), ""),
    "jpeg, no data": (lambda: jpeg_without_data(0xC0), "damaged: truncated: "),
    "jpeg, no arithmetic data": (lambda: jpeg_without_data(0xC9), "damaged: truncated: "),
    "jpeg, no progressive data": (lambda: jpeg_without_data(0xC2), "damaged: truncated: "),
    "jpeg, 2 Gpixel": (
        lambda: jpeg_without_data(0xC0, 46_000, 46_000, 30 << 20),
        "too large: 46000 x 46000 pixels",
    ),
    "jpeg, padding": (lambda: jpeg_with(b"\xff" * 30_000_000), ""),
    "jpeg, junk": (lambda: jpeg_with(b"\xff\xfe\0\4ab" + b"\1" * 30_000_000), ""),
    "jpeg, comments": (lambda: jpeg_with(segment(0xFE, b"") * 1_000_000), ""),
    "jpeg, tables": (
        lambda: jpeg_with(segment(0xDB, bytes(1) + bytes(64 * [1])) * 200_000),
        "too large: JPEG of more than 1000 tables",
    ),
    "jpeg, metadata": (lambda: jpeg_with(segment(0xE1, b"Exif\0\0" + bytes(60_000)) * 500), ""),
    "jpeg, exif": (
        lambda: jpeg_with(segment(0xE1, b"Exif\0\0" + exif_that_refers_to_itself(60_000))),
        "",
    ),
    "bmp, runs to the end": (lambda: bmp_of_run_lengths(b"\xff\1" * 500), "damaged: truncated: "),
    "bmp, empty lines": (lambda: bmp_of_run_lengths(bytes(16_000) + b"\0\1"), ""),
    "bmp, runs of one": (
        lambda: bmp_of_run_lengths(b"\1\1" * 4_300_000),
        "too large: BMP of more than 4194304 run lengths",
    ),
    "tiff, a huge tile": (lambda: tiff_of_one_tile(46_336), "too large: 46336 x 46336 pixels in a"),
    "tiff, a huge compressed tile": (lambda: tiff_of_one_tile(46_336, 5), "too large: 46336 x"),
    "tiff, a large tile": (lambda: tiff_of_one_tile(8000, 8), "too large: tiles of 8000 x 8000"),
    "tiff, shared tags": (tiff_of_shared_tags, "too large: TIFF whose tags are larger"),
    "tiff, strips": (tiff_of_many_strips, "too large: TIFF of more than 262144 strips or tiles"),
    "tiff, fax": (lambda: solid("TIFF", mode="1", compression="group4"), ""),
    "ppm, a comment": (
        lambda: b"P6\n#" + b"x" * 50_000_000 + b"\n2 2\n255\n" + bytes(12),
        "too large: netpbm picture with a header of more than 65536 bytes",
    ),
    "ppm, comments": (lambda: b"P6\n" + b"#\n" * 20_000_000 + b"2 2 255\n", "too large: netpbm"),
    "ppm, comments in text": (
        lambda: b"P2 8 8 255\n" + b"#\n" * 20_000_000 + b"1 " * 64,
        "too large: netpbm picture with more than 10000 comments",
    ),
    "ppm, text": (lambda: b"P3 1000 1000 255\n" + b"1 " * 3_000_000, ""),
    "ppm, any maximum": (lambda: b"P6 4000 4000 200\n" + bytes(48_000_000), ""),
    "gif, comments": (
        lambda: gif_with(b"!\xfe" + (b"\xff" + b"x" * 255) * 200_000 + b"\0"),
        "too large: GIF of more than 65536 comment blocks",
    ),
    "gif, extensions": (
        lambda: gif_with(b"!\xf9\0" * 10_000_000),
        "too large: GIF of more than 65536 comment blocks",
    ),
    "png, chunks": (
        lambda: png(extra=chunk(b"teSt", b"") * 2_000_000),
        "too large: PNG of more than 262144 chunks",
    ),
    "png, chunks at the end": (
        lambda: png(tail=chunk(b"teSt", b"") * 2_000_000),
        "too large: PNG of more than 262144 chunks",
    ),
    "png, texts": (lambda: png(extra=texts(2000)), ""),
    "png, exif": (lambda: png(extra=chunk(b"eXIf", exif_that_refers_to_itself(1 << 20))), ""),
    "png, one pixel wide": (lambda: png(1, 1 << 22), "too large: 1 x 4194304 pixels to decode"),
    "png, deep, interlaced": (lambda: png(3000, 3000, 16, 6, interlaced=1), ""),
    "png, deep with a key": (lambda: png(3000, 3000, 16, 2, extra=chunk(b"tRNS", bytes(6))), ""),
    "webp, frames": (webp_of_many_frames, ""),
    "webp, lossless": (lambda: solid("WEBP", lossless=True, method=0), ""),
    "jpeg 2000": (lambda: solid("JPEG2000", 3000), ""),
    "jpeg 2000, a lie": (lambda: huge_box("JPEG2000"), "too large: 65500 x 65500 pixels"),
    "avif": (lambda: solid("AVIF", 2000, speed=10), ""),
    "avif, a lie": (lambda: huge_box("AVIF"), "too large: |damaged: "),
}


@pytest.fixture(scope="module")
def process():
    """A process that prints, for each name of a file that it reads, the accounts of decoding it."""
    command = [sys.executable, __file__]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, bufsize=1) as process:
        yield process
        process.stdin.close()


@pytest.mark.parametrize("name", FILES)
def test_no_file_needs_more_than_the_limits(name, process):
    process.stdin.write(f"{name}\n")
    used = json.loads(process.stdout.readline())
    assert "died" not in used, used
    wanted = FILES[name][1].split("|")
    assert used["reason"].startswith(tuple(wanted)) if wanted != [""] else used["reason"] == ""
    assert used["seconds"] < MAX_SECONDS
    assert used["growth"] < MAX_GROWTH


def accounts(name):
    """Decodes a file and measures time and memory."""
    import resource

    def both(field):
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return [getattr(resource.getrusage(who), field) for who in whose]

    content = FILES[name][0]()
    decode(SMALL, 64)
    seconds, memory = sum(both("ru_utime")), both("ru_maxrss")[0]
    try:
        decode(content, 64)
        reason = ""
    except RejectedImage as rejected:
        reason = str(rejected)
    stop_decoder()
    after = both("ru_maxrss")
    return {
        "reason": reason,
        "seconds": sum(both("ru_utime")) - seconds,
        # The process with limits starts with the memory of its modules.
        "growth": 1024 * max(after[0] - memory, after[1]),
    }


def serve():
    """Decodes the files whose names are in the standard input, each in a fork of this process."""
    for name in sys.stdin:
        pid = os.fork()
        if pid == 0:
            print(json.dumps(accounts(name.strip())), flush=True)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status:
            print(json.dumps({"died": os.waitstatus_to_exitcode(status)}), flush=True)


# The process with limits


@pytest.fixture
def child(monkeypatch):
    """Lets the process with limits run other code instead of decoding."""
    picture = encode(Image.new("RGB", (40, 40), (10, 200, 10)), "JPEG2000")

    def run(body, content=picture, wait=decode_process._MAX_WAIT):
        program = f"""
import os, signal, time
from fruits.images import decode as module, decode_process
decode_process.MAX_SECONDS, decode_process.MAX_MEMORY = 1, 256 << 20
load = module._LOADERS["JPEG2000"]
def poisoned(content):
    if content.endswith(b"POISON"):
        {body}
    return load(content)
module._LOADERS["JPEG2000"] = poisoned
decode_process.serve(module.decode_here)
"""
        monkeypatch.setattr(decode_process, "_PROGRAM", program)
        monkeypatch.setattr(decode_process, "MAX_SECONDS", 1)
        stop_decoder()
        good = decode(picture, 16)
        with monkeypatch.context() as patch:
            # The time limit does not include the start of the process.
            patch.setattr(decode_process, "_MAX_WAIT", wait)
            try:
                decode(content + b"POISON", 16)
                reason = ""
            except RejectedImage as rejected:
                reason = str(rejected)
        # The next image is decoded again.
        np.testing.assert_array_equal(decode(picture, 16), good)
        return reason

    yield run
    stop_decoder()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("while True: pass", "too slow: decoding takes more than 1 CPU seconds"),
        ("bytes(1 << 30)", "too large: decoding it needs too much memory"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed: the decoder died of SIGSEGV"),
        ("os.kill(os.getpid(), 35)", "crashed: the decoder died of signal 35"),
        ("os._exit(3)", "crashed: the decoder died of status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "crashed: the decoder was killed, twice"),
        ("print('among the answers', flush=True)", ""),
    ],
)
def test_an_image_that_exceeds_a_limit_is_rejected_and_the_next_is_decoded(child, body, reason):
    assert child(body) == reason


def test_waiting_for_an_answer_has_a_limit(child):
    assert child("time.sleep(600)", wait=2) == "too slow: no answer from the decoder for 2 s"


def test_a_forked_process_starts_its_own_decoder(child):
    picture = encode(Image.new("RGB", (40, 40)), "JPEG2000")
    decode(picture, 16)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        good = 0
        try:
            good = int(decode(picture, 16).shape == (16, 16, 3))
            stop_decoder()
        finally:
            os.write(writing, str(good).encode())
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 1) == b"1"
    assert decode(picture, 16).shape == (16, 16, 3)


WATCHED = """
import sys
from fruits.images import decode as module, decode_process
decode_process.MAX_WATCHED_SECONDS = 1
content = sys.stdin.buffer.read()
if "watch" in sys.argv:
    decode_process.watch()
for _ in range(3):
    module.decode(content, 16)
print("whole", flush=True)
def forever(content):
    for _ in range(200_000_000 if "watch" in sys.argv else 1):
        pass
    raise module.RejectedImage("in vain")
module._LOADERS["PNG"] = forever
module.decode(content, 16)
"""


@pytest.mark.parametrize(("option", "status"), [("watch", -signal.SIGVTALRM), ("no", 1)])
def test_a_watched_process_ends_if_an_image_takes_too_long(option, status):
    content = encode(Image.new("RGB", (30, 30)), "PNG")
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, option], input=content, capture_output=True
    )
    assert done.returncode == status
    assert done.stdout == b"whole\n"


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(accounts(sys.argv[1])))
    else:
        serve()
