import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forms import as_tar, files_of, read, tar_of
from listings import list_images

from fruits.errors import InputError
from fruits.sources import tar_index
from fruits.sources.naming import Naming
from fruits.sources.open_source import open_source
from fruits.sources.reading import contents_of


def by_name(found: dict[str, bytes | str]) -> dict[str, bytes | str]:
    return {key.partition("!/")[2]: content for key, content in found.items()}


@pytest.mark.parametrize(
    "format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=str
)
def test_a_tar_has_the_bytes_labels_and_splits_of_its_folder(
    draw: Callable[..., Path], tmp_path: Path, format: int
) -> None:
    root = draw({"Training/Apple": 9, "Test/Pêche é": 5})
    place = as_tar(root, tmp_path / "fruit.tar", format)
    prefix = f"file:{tmp_path}/fruit.tar!/"
    assert read(str(place)) == {prefix + name: content for name, content in files_of(root).items()}
    columns = ["label", "split", "length"]
    in_tar = list_images(str(place)).images.sort_by("path")
    in_folder = list_images(str(root)).images.sort_by("path")
    assert in_tar.select(columns) == in_folder.select(columns)


@pytest.mark.parametrize("format", ["gnu", "pax", "ustar", "v7"])
def test_archives_of_the_tar_program_are_read(
    draw: Callable[..., Path], tmp_path: Path, format: str
) -> None:
    """Sparse files, links and, if the format allows them, names of any length."""
    root = draw({"Apple": 3})
    with (root / "Apple" / "holes.png").open("wb") as file:
        file.write(b"begin")
        file.seek(1 << 20)
        file.write(b"end")
        file.truncate(3 << 20)
    os.link(root / "Apple" / "0_100.jpg", root / "Apple" / "hard.jpg")
    (root / "Apple" / "soft.jpg").symlink_to("1_100.jpg")
    if format in ("gnu", "pax"):
        long = root / ("é" * 100) / ("n" * 150 + ".jpg")
        long.parent.mkdir()
        long.write_bytes(b"long")
    sparse = ["--sparse"] if format in ("gnu", "pax") else []
    command = ["tar", *sparse, f"--format={format}", "-cf", str(tmp_path / "a.tar"), "-C"]
    subprocess.run([*command, str(root.parent), root.name], check=True)
    found = by_name(read(str(tmp_path / "a.tar")))
    assert found == files_of(root)
    if sparse:
        assert (tmp_path / "a.tar").stat().st_size < 1 << 20


def test_labels_of_webdataset_come_from_the_other_members_of_a_sample(tmp_path: Path) -> None:
    about = json.dumps({"label": 3, "split": "val", "group": "tree 7"}).encode()
    members = {
        "0001.jpg": b"a",
        "0001.cls": b"Apple\n",
        "0002.cls": b"7",
        "0002.seg.png": b"b",
        "x/0003.jpg": b"c",
        "x/0003.json": about,
        "x/0003.txt": b"a caption",
        "0004.jpg": b"d",
        "0004.json": b"[not an object",
    }
    (tmp_path / "s-1.tar").write_bytes(tar_of(members))
    listing = list_images(str(tmp_path / "s-1.tar"))
    rows = [
        tuple(row[name] for name in ("label", "split", "group"))
        for row in listing.images.to_pylist()
    ]
    assert rows == [
        ("Apple", None, None),
        ("7", None, None),
        ("3", "validation", "tree 7"),
        (None, None, None),
    ]
    assert listing.passed_over == {".cls": 2, ".json": 2, ".txt": 1}


def test_without_a_split_the_splits_of_samples_may_be_any_words(tmp_path: Path) -> None:
    about = json.dumps({"label": "Fig", "split": "fold3"}).encode()
    (tmp_path / "a.tar").write_bytes(tar_of({"1.jpg": b"1", "1.json": about}))
    with pytest.raises(InputError, match=r"1\.json: wanted train, test or validation.*'fold3'"):
        list_images(str(tmp_path / "a.tar"))
    naming = Naming(split="none")
    (row,) = list_images(str(tmp_path / "a.tar"), naming).images.to_pylist()
    assert (row["label"], row["split"]) == ("Fig", None)


def test_several_shards_are_given_by_a_pattern_or_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.tar").write_bytes(tar_of({f"Fig/{number}.jpg": bytes([number])}))
    (folder / "README.md").write_text("x")
    wanted = {f"file:{folder}/{n}.tar!/Fig/{n}.jpg": bytes([n]) for n in range(3)}
    assert read(f"{folder}/*.tar") == read(str(folder)) == wanted
    assert list_images(str(folder)).passed_over == {".md": 1}
    with pytest.raises(InputError, match=r"no file matches .*/\*\.zip"):
        read(f"{folder}/*.zip")


@pytest.mark.parametrize(
    ("command", "program"),
    [("gzip", "gzip"), ("bzip2", "bzip2"), ("xz", "xz")],
)
def test_a_compressed_tar_is_refused_whatever_its_name(
    tmp_path: Path, command: str, program: str
) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(tar_of({"Fig/1.jpg": b"x"}))
    packed = subprocess.run([command, "-c", str(plain)], check=True, capture_output=True).stdout
    for name in ("a.tar.gz", "b.tar"):
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(
            InputError, match=rf"compressed as a whole \({program}\): decompress it"
        ):
            read(str(tmp_path / name))


def test_broken_links_and_names_outside_the_archive_are_rejected(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, target in (("a.jpg", "gone.jpg"), ("b.jpg", "c.jpg"), ("c.jpg", "b.jpg")):
            link = tarfile.TarInfo(f"Fig/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        archive.addfile(tarfile.TarInfo("../up.jpg"))
        pipe = tarfile.TarInfo("Fig/pipe.jpg")
        pipe.type = tarfile.FIFOTYPE
        archive.addfile(pipe)
    found = by_name(read(str(tmp_path / "a.tar")))
    assert all("not a file of the archive" in str(found[f"Fig/{name}.jpg"]) for name in "abc")
    assert "leads out" in str(found["../up.jpg"])
    assert list_images(str(tmp_path / "a.tar")).passed_over == {"special files": 1}


def test_members_are_those_that_tarfile_finds(tmp_path: Path) -> None:
    """The archive has headers of all formats, with all kinds of names."""
    names = ["1.jpg", "é.jpg", "n" * 120 + ".jpg", "d" * 140 + "/x.jpg", "d/" * 70 + "y.jpg"]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number, format in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT) * 2):
            archive.format = format
            for name in names:
                header = tarfile.TarInfo(f"{number}/{name}")
                header.size, header.mtime = 700 + number, 1_700_000_000 + 0.5 * number
                header.pax_headers = {"comment": "x"} if number == 3 else {}
                archive.addfile(header, io.BytesIO(bytes([number]) * header.size))
    with tarfile.open(tmp_path / "a.tar") as archive:
        wanted = {
            one.name: archive.extractfile(one).read()  # type: ignore[union-attr]
            for one in archive.getmembers()
        }
    assert by_name(read(str(tmp_path / "a.tar"))) == wanted
    assert len(wanted) == 20


def test_the_last_of_two_members_with_one_name_is_read(tmp_path: Path) -> None:
    place = tmp_path / "a.tar"
    for content in (b"old", b"newer"):
        with tarfile.open(place, "a") as archive:
            (tmp_path / "1.jpg").write_bytes(content)
            archive.add(tmp_path / "1.jpg", "Fig/1.jpg")
    found = by_name(read(str(place)))
    assert found["Fig/1.jpg"] == b"newer"
    assert "same name" in str(found["Fig/1.jpg#1"])


def test_a_damaged_or_truncated_archive_never_loses_images_silently(
    tmp_path: Path,
) -> None:
    whole = tar_of({f"Fig/{n}.jpg": bytes([n]) * 2000 for n in range(9)})
    header = whole.index(b"Fig/5.jpg")
    cases = {
        "cut": whole[: header + 1000],
        "cut between members": whole[:header],
        "damaged": whole[: header + 100] + b"9" + whole[header + 101 :],
        "goes on": whole + whole,
        "not a tar": b"x" * 20_000,
        "empty": b"",
    }
    for name, content in cases.items():
        (tmp_path / f"{name}.tar").write_bytes(content)
        with pytest.raises(InputError, match=r"wanted a complete tar archive; .*copy it again"):
            read(str(tmp_path / f"{name}.tar"))


def test_an_index_is_cached_until_the_archive_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = tar_index._made

    def watched(location: Any, length: int) -> Any:
        made.append(location.path)
        return make(location, length)

    monkeypatch.setattr(tar_index, "_made", watched)
    place = tmp_path / "a.tar"
    place.write_bytes(tar_of({"Fig/1.jpg": b"one"}))
    assert list(read(str(place)).values()) == list(read(str(place)).values()) == [b"one"]
    assert len(made) == 1
    place.write_bytes(tar_of({"Fig/1.jpg": b"two"}))
    os.utime(place, (2_000_000_000, 2_000_000_000))
    assert list(read(str(place)).values()) == [b"two"]
    assert len(made) == 2
    # The index of the earlier version is deleted, but not those of other files.
    (tmp_path / "b.tar").write_bytes(tar_of({"Fig/1.jpg": b"one"}))
    read(str(tmp_path / "b.tar"))
    indexes = [*(tmp_path / "cache" / "indexes").iterdir()]
    assert len(indexes) == 2
    for index in indexes:
        index.write_bytes(b"damaged")
    assert list(read(str(place)).values()) == [b"two"]


def test_an_archive_changed_after_the_listing_never_yields_wrong_bytes(
    tmp_path: Path,
) -> None:
    place = tmp_path / "a.tar"
    place.write_bytes(tar_of({f"Fig/{n}.jpg": bytes([n]) * 600 for n in range(4)}))
    source = open_source(str(place))
    images = source.found().images.table()
    place.write_bytes(tar_of({f"Fig/{n}.jpg": bytes([n]) * 900 for n in range(2)}))
    assert all(isinstance(one, OSError) for one in contents_of(images))


def test_a_shard_on_s3_needs_few_requests(
    bucket: Any, requests: list[str], draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Apple": 150, "Fig": 150})
    place = as_tar(root, tmp_path / "fruit.tar")
    bucket.upload_file(str(place), "shards/fruit.tar")
    source = open_source("s3a://fruits/shards/fruit.tar")
    images = source.found().images.table()
    indexing = len(requests)
    contents = list(contents_of(images))
    assert dict(
        zip((p.partition("!/")[2] for p in images["path"].to_pylist()), contents, strict=True)
    ) == files_of(root)
    assert len(requests) - indexing == 1
    assert indexing < 9


def test_names_that_are_not_unicode_are_escaped(tmp_path: Path) -> None:
    label = json.dumps({"label": "\ud800x", "group": "\udfff"}).encode()
    members = {"1.jpg": b"a", "1.json": label, "2.jpg": b"b", "2.cls": b"\xff"}
    (tmp_path / "a.tar").write_bytes(tar_of(members))
    rows = list_images(str(tmp_path / "a.tar")).images.to_pylist()
    assert [(row["label"], row["group"]) for row in rows] == [
        (r"\ud800x", r"\udfff"),
        ("\N{REPLACEMENT CHARACTER}", None),
    ]


def test_names_that_are_not_utf_8_are_escaped_as_in_a_folder(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    for name in (b"1.jpg", b"\xe9.jpg", rb"\udce9.jpg"):
        with open(folder + b"/" + name, "wb") as file:
            file.write(name)
    os.symlink(b"\xe9.jpg", folder + b"/link.jpg")
    os.symlink(b"\xff.jpg", folder + b"/broken.jpg")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(os.fsdecode(folder), os.fsdecode(b"caf\xe9"))
    rows = list_images(str(tmp_path / "a.tar")).images.sort_by("path").to_pylist()
    wanted = list_images(os.fsdecode(folder)).images.to_pylist()
    names = [row["path"].partition("!/")[2] for row in rows]
    assert names == [row["path"].removeprefix(f"file:{tmp_path}/") for row in wanted]
    assert [row["label"] for row in rows] == [r"caf\udce9"] * 5
    found = by_name(read(str(tmp_path / "a.tar")))
    assert found[r"caf\udce9/link.jpg"] == found[r"caf\udce9/\udce9.jpg"] == b"\xe9.jpg"
    assert r"a link to \udcff.jpg, which" in str(found[r"caf\udce9/broken.jpg"])


@pytest.mark.parametrize("size", ["99999999999999999999", "9223372036854775808"])
def test_an_invalid_length_is_reported_in_one_line(tmp_path: Path, size: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("Fig/1.jpg")
        member.pax_headers = {"GNU.sparse.realsize": size, "GNU.sparse.size": size}
        archive.addfile(member)
    with pytest.raises(InputError, match=r"wanted a complete tar archive; .*a member of 9.* bytes"):
        list_images(str(tmp_path / "a.tar"))


RECORDS = (b"11 path=ab\n0 path=x\n", b"11 path=ab\n7 path=x\n", b"0 path=x\n", b"1 path=x\n")


@pytest.mark.parametrize("records", RECORDS)
def test_reading_records_with_wrong_lengths_ends(tmp_path: Path, records: bytes) -> None:
    first = tarfile.TarInfo("Fig/0.jpg")
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(records)
    blocks = [first.tobuf(), header.tobuf(), records.ljust(512, b"\0"), first.tobuf(), bytes(1024)]
    (tmp_path / "a.tar").write_bytes(b"".join(blocks))
    program = "from forms import read; import sys; print(len(read(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.tar")],
        cwd=Path(__file__).parent,
        capture_output=True,
        timeout=120,
    )
    # The result is an image, or one error.
    assert done.returncode == 0 or b"InputError: images: wanted a complete tar" in done.stderr


def test_a_negative_length_is_refused(tmp_path: Path) -> None:
    member = bytearray(tarfile.TarInfo("Fig/1.jpg").tobuf())
    member[124:136] = b"-0000000512\0"
    member[148:156] = b"        "
    member[148:156] = b"%06o\0 " % sum(member)
    whole = tarfile.TarInfo("Fig/0.jpg").tobuf()
    (tmp_path / "a.tar").write_bytes(whole + bytes(member) + bytes(1024))
    with pytest.raises(InputError, match="wanted a complete tar archive"):
        list_images(str(tmp_path / "a.tar"))
