import os
import random
import socket
import stat
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from listings import find_images
from pyspark.sql import SparkSession

from fruits.errors import InputError
from fruits.sources.folder import read_contents
from fruits.sources.selection import OTHER_SUFFIXES, Selection, SkippedFiles, described
from fruits.spark.read_images import read_images

NOBODY = 65534


@contextmanager
def plain_user() -> Iterator[None]:
    """Runs without root's permission to read everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A temporary folder that every user can enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def names_of(root: Path) -> list[str]:
    prefix = f"file:{root}/"
    return [path.removeprefix(prefix) for path in find_images(str(root)).images["path"].to_pylist()]


def test_hidden_files_and_system_folders_are_counted_and_names_of_cameras_are_images(
    tmp_path: Path,
) -> None:
    root = tmp_path / ".photos" / "all"  # A hidden folder above the given one has no effect.
    images = ["Fig/_DSC0003.JPG", "Fig/_MG_0004.jpg", "_Kiwi/1.HEIC", "Fig/a.Jfif", "Fig/b.jpe"]
    fill(root, *images)
    fill(root, "Fig/.hidden.jpg", "Fig/._a.jpg", ".Trash/a.jpg", ".Trash/b/c.jpg", "Fig/.DS_Store")
    fill(root, "Fig/@eaDir/a.jpg", "__MACOSX/Fig/a.jpg", "Fig/__MACOSX/b.jpg")
    fill(root, "a.txt", "Fig/b.TXT", "Fig/README", "_SUCCESS", "_temporary/0/part.parquet")
    listing = find_images(str(root))
    assert names_of(root) == sorted(images)
    assert listing.passed_over == {
        ".parquet": 1,
        ".txt": 2,
        "@eaDir": 1,
        "__MACOSX": 2,
        "hidden": 4,
        "no suffix": 2,
    }
    assert described(listing.passed_over).startswith("4 hidden (name starts with a dot), 2 .txt")


def test_the_rule_is_the_same_for_names_in_an_archive_and_each_skipped_one_counts() -> None:
    selection = Selection()
    names = ["a/.x/1.jpg", "a/.x/2.jpg", "a/_1.jpg", "__MACOSX/a/._1.jpg", ".jpg", "b.jpg/c"]
    assert [name for name in names if selection.is_image(name)] == ["a/_1.jpg"]
    assert selection.passed_over == {"hidden": 3, "__MACOSX": 1, "no suffix": 1}


def test_the_plots_of_an_output_among_the_images_are_skipped_and_counted(tmp_path: Path) -> None:
    images = ["Fig/1.jpg", "Fig/scree.png", "Fig/plots/1.png", "Fig/myplots/scree.png"]
    fill(tmp_path, *images, "plots/scree.png", "old/out/plots/compare.png")
    assert names_of(tmp_path) == sorted(images)
    assert find_images(str(tmp_path)).passed_over == {"plots of a run": 2}


def test_spark_gets_the_images_that_a_run_finds(spark: SparkSession, tmp_path: Path) -> None:
    root = tmp_path / "[all] {a,b}*?"
    fill(root, "Fig/_DSC1.JPG", "F#g/a b%20.jp2", "Fig/.b.jpg", "_Kiwi/x::y.heif", "Fig/n.txt")
    (root / "link").symlink_to(root / "Fig")
    (root / "Fig" / "gone.jpg").symlink_to("nowhere")
    ours = find_images(str(root)).images
    theirs = read_images(spark, str(root)).toArrow().sort_by("path")
    assert theirs.select(ours.schema.names).to_pylist() == ours.to_pylist()
    contents = dict(zip(theirs["path"].to_pylist(), theirs["content"].to_pylist(), strict=True))
    assert contents == {
        f"file:{root}/F#g/a b%20.jp2": b"F#g/a b%20.jp2",
        f"file:{root}/Fig/_DSC1.JPG": b"Fig/_DSC1.JPG",
        f"file:{root}/Fig/gone.jpg": None,
        f"file:{root}/_Kiwi/x::y.heif": b"_Kiwi/x::y.heif",
        f"file:{root}/link/_DSC1.JPG": b"Fig/_DSC1.JPG",
        f"file:{root}/link/gone.jpg": None,
    }


def test_a_linked_folder_is_a_separate_class_and_a_linked_file_is_an_image(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "images", tmp_path / "disk"
    fill(root, "Fig/1.jpg")
    fill(elsewhere, "Lime/2.jpg", "3.jpg")
    (root / "Lime").symlink_to(elsewhere / "Lime")
    (root / "Ficus").symlink_to("Fig")
    (root / "Fig" / "3.jpg").symlink_to(elsewhere / "3.jpg")
    listing = find_images(str(root))
    assert names_of(root) == [
        *("Ficus/1.jpg", "Ficus/3.jpg", "Fig/1.jpg", "Fig/3.jpg", "Lime/2.jpg"),
    ]
    labels = ["Ficus", "Ficus", "Fig", "Fig", "Lime"]
    assert listing.images["label"].to_pylist() == labels
    assert listing.linked == [str(root / "Fig"), str(elsewhere / "Lime")]
    # The length is that of the file, not of the link to it.
    assert listing.images["length"].to_pylist() == [9, 5, 9, 5, 10]
    assert listing.passed_over == {}


def test_links_to_folders_that_contain_them_are_skipped_and_counted(tmp_path: Path) -> None:
    root, other = tmp_path / "images", tmp_path / "other"
    fill(root, "Fig/1.jpg")
    fill(other, "2.jpg")
    for name, target in {"again": ".", "up": "..", "all": "/", "self": "self"}.items():
        (root / "Fig" / name).symlink_to(target)
    (root / "other").symlink_to(other)
    (other / "back").symlink_to(root)
    (other / "one").symlink_to(other)
    (other / "above").symlink_to(tmp_path)
    assert names_of(root) == ["Fig/1.jpg", "other/2.jpg"]
    assert find_images(str(root)).passed_over == {"broken links": 1, "repeated folders": 6}


def test_listing_folders_that_link_to_each_other_ends(tmp_path: Path) -> None:
    labels = [f"c{number:02}" for number in range(12)]
    for label in labels:
        fill(tmp_path, f"{label}/1.jpg")
        for other in labels:
            (tmp_path / label / other).symlink_to(f"../{other}")
    # Each folder; in it, each of the 11 others; and in these, each of the 11 not visited before.
    assert len(names_of(tmp_path)) == 12 + 12 * 11 + 12 * 11 * 10


def test_a_forbidden_folder_is_an_error_that_names_it_and_the_user(
    public: Path,
) -> None:
    fill(public, "Fig/1.jpg", "Lime/deep/2.jpg", "Kiwi/3.jpg")
    for mode in (0o000, 0o300, 0o600):
        for closed in ("Lime/deep", "Kiwi"):
            (public / closed).chmod(mode)
            with plain_user(), pytest.raises(InputError) as refused:
                find_images(str(public))
            (public / closed).chmod(0o755)
            at_fault = f"images: {public}/{closed} cannot be listed by user"
            assert str(refused.value).startswith(at_fault)
            assert f"user {NOBODY}" in str(refused.value) or os.geteuid()
            assert "Permission denied" in str(refused.value)


def test_a_link_into_a_forbidden_folder_is_an_error(public: Path) -> None:
    fill(public, "images/Fig/1.jpg", "closed/Lime/2.jpg")
    (public / "images" / "Lime").symlink_to(public / "closed" / "Lime")
    (public / "closed").chmod(0o000)
    with plain_user(), pytest.raises(InputError, match=r"images/Lime cannot be listed by user"):
        find_images(str(public / "images"))
    (public / "closed").chmod(0o755)


def test_a_forbidden_root_folder_is_an_error(public: Path) -> None:
    fill(public, "images/Fig/1.jpg")
    (public / "images").chmod(0o000)
    with plain_user(), pytest.raises(InputError, match=rf"{public}/images cannot be listed by"):
        find_images(str(public / "images"))


def test_a_forbidden_file_is_listed_and_its_content_is_an_error(public: Path) -> None:
    fill(public, "Fig/1.jpg", "Fig/2.jpg")
    (public / "Fig" / "1.jpg").chmod(0o000)
    with plain_user():
        rows = find_images(str(public)).images.to_pylist()
        contents = list(read_contents((row["path"], row["length"]) for row in rows))
    assert isinstance(contents[0], PermissionError)
    assert contents[1] == b"Fig/2.jpg"


def test_broken_links_are_listed_if_they_have_names_of_images(tmp_path: Path) -> None:
    fill(tmp_path, "Fig/1.jpg")
    (tmp_path / "Fig" / "2.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "Fig" / "3.jpg").symlink_to("3.jpg")
    (tmp_path / "Lime").symlink_to("/mnt/unplugged/Lime")
    assert names_of(tmp_path) == ["Fig/1.jpg", "Fig/2.jpg", "Fig/3.jpg"]
    assert find_images(str(tmp_path)).passed_over == {"broken links": 1}
    paths = [f"file:{tmp_path}/Fig/{number}.jpg" for number in (1, 2, 3)]
    whole, missing, circle = read_contents((path, 9) for path in paths)
    assert whole == b"Fig/1.jpg"
    assert isinstance(missing, FileNotFoundError)
    assert isinstance(circle, OSError)


def test_pipes_sockets_and_devices_are_counted_and_never_opened(tmp_path: Path) -> None:
    fill(tmp_path, "Fig/1.jpg")
    os.mkfifo(tmp_path / "Fig" / "pipe.jpg")
    (tmp_path / "Fig" / "null.jpg").symlink_to("/dev/null")
    (tmp_path / "Fig" / "endless.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "Fig" / "s.jpg"))
        listing = find_images(str(tmp_path))
    assert names_of(tmp_path) == ["Fig/1.jpg"]
    assert listing.passed_over == {"special files": 4}


def test_a_file_that_became_a_pipe_is_an_error_without_waiting(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert stat.S_ISFIFO((tmp_path / "pipe.jpg").stat().st_mode)
    (content,) = read_contents([(f"file:{tmp_path}/pipe.jpg", 10)])
    assert isinstance(content, OSError)
    assert "not a regular file" in str(content)


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "Fig" / "1.jpg"
    file.parent.mkdir()
    with file.open("wb") as sparse:
        sparse.truncate(50 << 30)
    (row,) = find_images(str(tmp_path)).images.to_pylist()
    (content,) = read_contents([(row["path"], row["length"])])
    assert isinstance(content, OSError)
    assert "53,687,091,200 bytes" in str(content)


def test_a_folder_that_disappears_during_the_listing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "Fig/1.jpg", "Lime/2.jpg")
    scandir = os.scandir

    def vanishing(path: str) -> object:
        if path == str(tmp_path / "Lime"):
            (tmp_path / "Lime").rename(tmp_path / "Limes")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    with pytest.raises(InputError, match=rf"{tmp_path}/Lime disappeared while"):
        find_images(str(tmp_path))


ODD = [
    "a\nb.jpg",
    "tab\t.jpg",
    "?.jpg",
    "a#b.jpg",
    "%41.jpg",
    "[x].jpg",
    "{a,b}.jpg",
    "*.jpg",
    "\\.jpg",
]
ODD += [" .jpg", "-rf.jpg", "~.jpg", "e\u0301.jpg", "\\udce9.jpg", "a::b.jpg", "s3:.jpg"]


def test_files_with_any_valid_name_are_listed_and_read(tmp_path: Path) -> None:
    fill(
        tmp_path,
        *(f"Fig\n[1]/{name}" for name in [*ODD, "\\.jpg", " .jpg", "-rf.jpg", "e\u0301.jpg"]),
    )
    raw = os.fsencode(tmp_path) + b"/Fig\n[1]/caf\xe9.jpg"
    Path(os.fsdecode(raw)).write_bytes(b"not UTF-8")
    rows = find_images(str(tmp_path)).images.to_pylist()
    contents = list(read_contents((row["path"], row["length"]) for row in rows))
    assert len(rows) == len(ODD) + 1
    assert b"not UTF-8" in contents
    for row, content in zip(rows, contents, strict=True):
        if content != b"not UTF-8":
            assert isinstance(content, bytes)
            name = content.decode().replace("\\udce9", "\\udc5cudce9")
            assert row["path"] == f"file:{tmp_path}/{name}"


def test_a_label_written_on_different_systems_is_one_label(tmp_path: Path) -> None:
    fill(tmp_path, "Training/P\u00eache/1.jpg", "Test/Pe\u0302che/2.jpg")
    assert find_images(str(tmp_path)).images["label"].to_pylist() == ["P\u00eache"] * 2


def test_images_in_the_root_folder_have_its_name_as_label(
    draw: Callable[..., Path],
) -> None:
    root = draw({"Fig": 2})
    assert find_images(f"{root}/Fig/").images["label"].to_pylist() == ["Fig", "Fig"]


def test_a_message_with_many_suffixes_is_short() -> None:
    selection = Selection()
    for number in range(5000):
        assert not selection.is_image(f"scan.{number:04}")
    assert described(selection.passed_over) == (
        "4,900 with other suffixes, 1 .0000, 1 .0001, 1 .0002, 1 .0003, 1 .0004, 1 .0005, "
        "1 .0006, 1 .0007, 1 .0008, 91 others"
    )


def test_a_name_that_ends_in_a_slash_is_described_the_same_for_one_and_two() -> None:
    selection = Selection()
    for count in (1, 2):
        assert not selection.is_image("Fig/")
        assert described(selection.passed_over) == f"{count} whose name ends in /"


def test_some_suffixes_are_counted_one_by_one_and_the_others_together_in_any_order() -> None:
    names = [f"scan.{number:04}" for number in range(5000)] + ["a.json", "b.json", "c.TXT"] * 7
    names += [f"x.{number:06x}z" for number in range(500)]
    counts = []
    for seed in range(3):
        random.Random(seed).shuffle(names)
        selection = Selection()
        assert not any(map(selection.is_image, names))
        counts.append(selection.passed_over)
        halves = SkippedFiles()
        for half in (names[:2000], names[2000:]):
            selection = Selection()
            assert not any(map(selection.is_image, half))
            for reason, count in selection.passed_over.items():
                halves.add(reason, count)
        counts.append(halves.counts())
    assert all(one == counts[0] for one in counts)
    assert len(counts[0]) == 101
    assert sum(counts[0].values()) == len(names)
    assert (counts[0][".json"], counts[0][".txt"], counts[0][OTHER_SUFFIXES]) == (14, 7, 5402)


def test_many_hidden_folders_need_no_memory() -> None:
    selection = Selection()
    tracemalloc.start()
    for number in range(20_000):
        assert not selection.enters(f"Fig/{number}/@eaDir")
        assert not selection.is_image(f"Lime/{number}/.thumbnails/1.jpg")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000
    assert selection.passed_over == {"@eaDir": 20_000, "hidden": 20_000}


@pytest.mark.parametrize("name", ["a\0b.jpg", "\ud800.jpg"])
def test_an_invalid_file_name_is_rejected(tmp_path: Path, name: str) -> None:
    (found,) = read_contents([(f"file:{tmp_path}/{name}", 3)])
    assert isinstance(found, OSError)


def test_a_name_that_looks_like_an_escaped_name_is_another_file(
    tmp_path: Path,
) -> None:
    names = [
        b"\xe9",
        rb"\udce9",
        rb"\udc5cudce9",
        rb"\udc5c",
        rb"\\udce9",
        rb"\ud800",
        b"\xe9\\udce9",
    ]
    for name in names:
        with open(os.fsencode(tmp_path) + b"/" + name + b".jpg", "wb") as file:
            file.write(name)
    images = find_images(str(tmp_path)).images
    assert len(set(images["path"].to_pylist())) == len(names)
    lengths = zip(images["path"].to_pylist(), images["length"].to_pylist(), strict=True)
    assert sorted(map(bytes, read_contents(lengths))) == sorted(names)  # type: ignore[arg-type]
