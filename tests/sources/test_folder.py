import os
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from listings import find_images, list_images
from pyspark.sql import SparkSession

from fruits.errors import InputError
from fruits.sources import folder as images
from fruits.sources.folder import read_contents
from fruits.sources.listing import LISTING, anti_join, sample_evenly
from fruits.sources.naming import Naming
from fruits.spark.read_images import read_images

AWKWARD = ["Apple Red 1", "v1.2", "Pêche é", "50% off", "No #1", "a%20b", "x::y", "[abc]", "{a,b}"]


def test_labels_are_the_names_of_parent_folders(draw: Callable[..., Path]) -> None:
    root = draw(dict.fromkeys(AWKWARD, 1))
    listing = find_images(str(root)).images
    assert listing.schema == LISTING
    assert sorted(listing["label"].to_pylist()) == sorted(AWKWARD)
    assert listing["path"].to_pylist() == sorted(f"file:{root}/{a}/0_100.jpg" for a in AWKWARD)


def test_the_side_of_the_split_is_a_folder_on_the_path(draw: Callable[..., Path]) -> None:
    root = draw({"Training/Fig": 2, "TEST/Fig": 1, "Fig": 1})
    rows = find_images(str(root)).images.select(["label", "split"]).to_pylist()
    assert [(row["label"], row["split"]) for row in rows] == [
        ("Fig", None),
        ("Fig", "test"),
        ("Fig", "train"),
        ("Fig", "train"),
    ]
    undivided = find_images(str(root), Naming(split="none")).images
    assert undivided["split"].null_count == 4


def test_a_path_that_the_expression_does_not_match_has_no_label(
    draw: Callable[..., Path],
) -> None:
    root = draw({"Fig 1": 1, "other": 1})
    rules = Naming(label=r"/(?P<label>[A-Z]\w+)[^/]*/[^/]+$")
    assert find_images(str(root), rules).images["label"].to_pylist() == ["Fig", None]


def test_length_and_modification_time_are_those_of_the_file(draw: Callable[..., Path]) -> None:
    root = draw({"Kiwi": 1})
    file = root / "Kiwi" / "0_100.jpg"
    os.utime(file, (1_700_000_000.25, 1_700_000_000.25))
    row = find_images(str(root)).images.to_pylist()[0]
    assert row["length"] == file.stat().st_size
    assert row["modified"] == datetime.fromtimestamp(1_700_000_000.25, UTC)


@pytest.mark.parametrize(
    ("seconds", "year"), [(10**12, 9892), (10**13, 9892), (-(10**11), 5), (-(10**13), 5)]
)
def test_times_that_no_datetime_has_are_listed_as_the_nearest_ones(seconds: int, year: int) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        file = Path(folder) / "1.jpg"
        file.touch()
        os.utime(file, (seconds, seconds))
        if file.stat().st_mtime != seconds:
            pytest.skip("this file system has no such times")
        (Path(folder) / "t.csv").write_text("path\n1.jpg\n")
        for place in (folder, f"{folder}/t.csv", f"{folder},{folder}/t.csv"):
            (row,) = list_images(place).images.to_pylist()
            assert row["modified"].year == year


def test_spark_lists_the_same_files_labels_lengths_and_times(
    spark: SparkSession, draw: Callable[..., Path]
) -> None:
    root = draw(dict.fromkeys([*AWKWARD[:7], "UPPER"], 2))
    (root / "UPPER" / "0_100.jpg").rename(root / "UPPER" / "0_100.JPG")
    ours = find_images(str(root)).images
    theirs = read_images(spark, str(root)).drop("content").toArrow()
    # Spark's file listing keeps milliseconds.
    key = [("path", "ascending")]
    theirs = theirs.sort_by(key).select(["path", "label", "length"]).to_pylist()
    assert ours.sort_by(key).select(["path", "label", "length"]).to_pylist() == theirs


def test_files_that_are_not_images_are_skipped(draw: Callable[..., Path]) -> None:
    root = draw({"Fig": 1})
    for name in ("README.md", "._0_100.jpg", "_SUCCESS", "notes.jpg.txt"):
        (root / "Fig" / name).write_text("x")
    (root / "folder.jpg").mkdir()
    for suffix in ("PNG", "webp", "tiff", "gif", "bmp", "JPEG"):
        (root / "Fig" / f"a.{suffix}").write_bytes(b"")
    names = [Path(path).name for path in find_images(str(root)).images["path"].to_pylist()]
    assert sorted(names) == ["0_100.jpg", "a.JPEG", "a.PNG", "a.bmp", "a.gif", "a.tiff", "a.webp"]


def test_missing_empty_and_imageless_folders_have_different_messages(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        find_images(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="none among 0 files"):
        find_images(str(tmp_path))
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"\.jpg .*none among 1 file in"):
        find_images(str(tmp_path))
    with pytest.raises(InputError, match="is a file"):
        find_images(str(tmp_path / "a.txt"))


def test_contents_are_in_order_and_an_unreadable_file_yields_its_error(
    draw: Callable[..., Path],
) -> None:
    root = draw({"Lime": 40})
    listing = find_images(str(root)).images
    paths = [(row["path"], row["length"]) for row in listing.to_pylist()]
    paths[7] = (f"file:{root}/Lime/gone.jpg", 10)
    paths[8] = (f"file:{root}/Lime", 10)
    contents = list(read_contents(paths))
    assert isinstance(contents[7], FileNotFoundError)
    assert isinstance(contents[8], IsADirectoryError)
    for (path, _), content in zip(paths, contents, strict=True):
        if isinstance(content, bytes):
            assert content == Path(path.removeprefix("file:")).read_bytes()
    assert sum(isinstance(content, bytes) for content in contents) == 38


@pytest.mark.parametrize("content", [b"", b"four", b"fourteen bytes"])
def test_a_file_that_was_changed_after_it_was_listed_yields_an_error(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "1.jpg").write_bytes(b"eight by")
    (tmp_path / "2.jpg").write_bytes(b"eight by")
    listing = find_images(str(tmp_path)).images
    (tmp_path / "1.jpg").write_bytes(content)
    changed, same = images.contents_of(listing)
    assert f"the file was changed: 8 bytes were listed, it has {len(content)}" in str(changed)
    assert same == b"eight by"


def test_a_file_of_unknown_length_is_read(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"eight by")
    assert list(read_contents([(f"file:{tmp_path}/1.jpg", 0)])) == [b"eight by"]


def test_reads_overlap_within_a_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    held, most, together, reading = 0, 0, 0, 0
    lock = threading.Lock()

    def slow(path: str, length: int) -> bytes:
        nonlocal held, most, together, reading
        with lock:
            reading += 1
            together = max(together, reading)
            held += 10 << 20
            most = max(most, held)
        time.sleep(0.01)
        with lock:
            reading -= 1
        return path.encode()

    monkeypatch.setattr(images, "_read", slow)
    for number, content in enumerate(read_contents((str(n), 10 << 20) for n in range(50))):
        assert content == str(number).encode()
        with lock:
            held -= 10 << 20
    assert together > 1
    assert most <= images.READ_AHEAD_BYTES + (20 << 20)


def test_a_limit_is_spread_over_the_labels(draw: Callable[..., Path]) -> None:
    listing = find_images(str(draw({"A": 30, "B": 30, "C": 30}))).images
    chosen = sample_evenly(listing, 9)["label"].to_pylist()
    assert {label: chosen.count(label) for label in "ABC"} == {"A": 3, "B": 3, "C": 3}
    assert sample_evenly(listing, None).num_rows == sample_evenly(listing, 1000).num_rows == 90


def test_changed_files_count_as_missing(draw: Callable[..., Path]) -> None:
    root = draw({"Pear": 4})
    before = find_images(str(root)).images
    os.utime(root / "Pear" / "1_100.jpg", (1, 1))
    (root / "Pear" / "2_100.jpg").unlink()
    after = find_images(str(root)).images
    assert _names(anti_join(after, before)) == ["1_100.jpg"]
    assert _names(anti_join(before, after)) == ["1_100.jpg", "2_100.jpg"]
    assert anti_join(after, after).num_rows == 0


def _names(table: pa.Table) -> list[str]:
    return [Path(path).name for path in table["path"].to_pylist()]
