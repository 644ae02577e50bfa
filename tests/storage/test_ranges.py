import io
import random
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
from failing_store import CONTENT, Store

from fruits.errors import StorageError
from fruits.storage import ranges
from fruits.storage.location import Location
from fruits.storage.ranges import KEPT, SMALL_JUMP_ON_S3, RangeFile, open_forward, open_ranges

URI = "s3a://fruits/a.bin"


def test_a_broken_response_is_continued_at_the_same_byte(store: Store) -> None:
    store.answers["a.bin"] = ["torn", (503, "SlowDown"), "lost", "torn"]
    with open_forward(URI, 50, 5000) as file:
        assert b"".join(file.read(999) for _ in range(6)) == CONTENT[50:5000]
    # A torn response has 100 bytes.
    starts = [start for start, _ in store.ranges]
    assert starts == [50, 150, 250]
    assert {stop for _, stop in store.ranges} == {5000}
    assert store.asked["a.bin"] == 5


def test_a_part_with_skipped_bytes_is_read_with_one_request(store: Store) -> None:
    with open_forward(URI, 100, 8000) as file:
        for place in (100, 1000, 1100, 7000):
            file.seek(place)
            assert file.read(50) == CONTENT[place : place + 50]
    assert store.ranges == [(100, 8000)]


@pytest.mark.parametrize(
    ("answer", "error"),
    [((404, "NoSuchKey"), FileNotFoundError), ((403, "AccessDenied"), PermissionError)],
)
def test_an_error_of_one_object_is_not_an_error_of_the_store(
    store: Store, answer: tuple[int, str], error: type[Exception]
) -> None:
    store.answers["a.bin"] = [answer]
    with pytest.raises(error):
        open_forward(URI, 0, 100).read(10)
    assert store.asked["a.bin"] == 1


def test_an_unreachable_store_is_reported_in_one_line_after_the_retries(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fruits.storage.s3.RETRY_SECONDS", 1.0)
    store.answers["a.bin"] = ["torn", *[(503, "SlowDown")] * 1000]
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"s3a://fruits/a.bin: the store cannot be used"):
        open_forward(URI, 0, 5000).read(5000)
    assert time.monotonic() - began < 20


def test_an_object_that_became_shorter_is_an_error(bucket: Any) -> None:
    bucket.put_object(Key="a.bin", Body=b"short")
    assert open_forward(URI, 2, 500).read(100) == b"ort"
    with pytest.raises(OSError, match="shorter than it was"):
        open_forward(URI, 50, 500).read(100)


@pytest.mark.parametrize("scheme", ["s3", "memory", "file"])
def test_reads_at_any_position_return_the_bytes_of_the_file(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    content = random.Random(0).randbytes(300_000)
    bucket.put_object(Key="a.bin", Body=content)
    fsspec.filesystem("memory").pipe_file("/a.bin", content)
    (tmp_path / "a.bin").write_bytes(content)
    place = {"s3": URI, "memory": "memory://a.bin", "file": str(tmp_path / "a.bin")}[scheme]
    # So small that a short file is enough to test all ways of seeking.
    for name, size in (("SMALLEST_WINDOW", 1000), ("LARGEST_WINDOW", 8000), ("KEPT", 100)):
        monkeypatch.setattr(ranges, name, size)
    for name in ("SMALL_JUMP", "SMALL_JUMP_ON_S3", "LARGEST_PART"):
        monkeypatch.setattr(ranges, name, 4000)
    reference, chance = io.BytesIO(content), random.Random(1)
    with open_ranges(Location.of(place), len(content)) as file:
        for _ in range(300):
            jump = chance.choice([0, 0, 0, 1, 50, -50, 3000, -3000, 20_000, -100_000])
            target = min(max(0, reference.tell() + jump), len(content) + 10)
            size = chance.choice([0, 1, 512, 5000, 20_000])
            assert file.seek(target) == reference.seek(target)
            assert file.read(size) == reference.read(size)


def test_a_short_read_backwards_needs_no_request(store: Store) -> None:
    file = RangeFile(URI, len(CONTENT))
    assert file.read(1000) == CONTENT[:1000]
    file.seek(999)
    assert file.read(2) == CONTENT[999:1001]
    assert store.ranges == [(0, len(CONTENT))]
    assert KEPT >= 512
    assert SMALL_JUMP_ON_S3 > KEPT
