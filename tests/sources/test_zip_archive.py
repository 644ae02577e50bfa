import io
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forms import as_zip, files_of, read
from listings import list_images

from fruits.errors import InputError
from fruits.sources import zip_archive
from fruits.sources.naming import Naming
from fruits.sources.open_source import open_source
from fruits.sources.requests import BLOCK_BYTES


def write(target: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> str:
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(target)


def patched(place: str, old: bytes, new: bytes) -> None:
    """Replaces bytes, which must exist in the file."""
    content = Path(place).read_bytes()
    assert old in content
    Path(place).write_bytes(content.replace(old, new))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_has_the_bytes_labels_and_splits_of_its_folder(
    draw: Callable[..., Path], tmp_path: Path, method: int
) -> None:
    root = draw({"Training/Apple": 9, "Test/Pêche é": 5})
    place = as_zip(root, tmp_path / "fruit.zip", method)
    prefix = f"file:{tmp_path}/fruit.zip!/"
    assert read(str(place)) == {prefix + name: content for name, content in files_of(root).items()}
    columns = ["label", "split", "length"]
    in_zip = list_images(str(place)).images.sort_by("path")
    in_folder = list_images(str(root)).images.sort_by("path")
    assert in_zip.select(columns) == in_folder.select(columns)


def test_archives_of_other_programs_are_read(draw: Callable[..., Path], tmp_path: Path) -> None:
    root = draw({"Apple": 3, "Pêche é": 2})
    (root / "Apple" / "notes.txt").write_text("x")
    place = tmp_path / "fruit.zip"
    program = ["python3", "-m", "zipfile", "-c", str(place), str(root)]
    subprocess.run(program, check=True)
    found = read(str(place))
    wanted = {name: content for name, content in files_of(root).items() if "notes" not in name}
    assert {key.partition("!/")[2]: content for key, content in found.items()} == wanted
    assert list_images(str(place)).passed_over == {".txt": 1}


def test_images_outside_folders_have_the_name_of_the_archive_as_label(tmp_path: Path) -> None:
    place = write(tmp_path / "Fig.zip", {"1.jpg": b"a", "Lime/2.jpg": b"b"})
    assert list_images(place).images["label"].to_pylist() == ["Fig", "Lime"]


def test_an_archive_called_train_is_the_training_side(tmp_path: Path) -> None:
    for name in ("train.zip", "test-00001-of-00002.zip", "other.zip"):
        write(tmp_path / name, {"Fig/1.jpg": b"a"})
    images = list_images(str(tmp_path)).images
    sides = {
        path.split("!/")[0].split("/")[-1]: images["split"][n].as_py()
        for n, path in enumerate(images["path"].to_pylist())
    }
    assert sides == {"train.zip": "train", "test-00001-of-00002.zip": "test", "other.zip": None}


def test_a_rule_for_labels_searches_the_key(tmp_path: Path) -> None:
    place = write(tmp_path / "a.zip", {"x/Fig_1.jpg": b"a"})
    naming = Naming(label=r"!/x/(?P<label>[A-Z][a-z]+)_")
    assert list_images(place, naming).images["label"].to_pylist() == ["Fig"]


def test_names_outside_the_archive_are_rejected(tmp_path: Path) -> None:
    names = ["../up.jpg", "/abs.jpg", "C:/drive.jpg", "a/../../b.jpg", "./Fig/good.jpg"]
    place = write(tmp_path / "a.zip", dict.fromkeys(names, b"x"))
    found = {key.partition("!/")[2]: content for key, content in read(place).items()}
    assert found["Fig/good.jpg"] == b"x"
    assert "leads out" in str(found["../up.jpg"])
    assert "leads out" in str(found["a/../../b.jpg"])
    assert "absolute" in str(found["/abs.jpg"])
    assert "absolute" in str(found["C:/drive.jpg"])
    assert len(found) == len(names)


def test_the_last_of_two_members_with_one_name_is_read(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("Fig/1.jpg", b"old")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("Fig/1.jpg", b"newer")
    with zipfile.ZipFile(place) as archive:
        archive.extractall(tmp_path / "out")
    found = {key.partition("!/")[2]: content for key, content in read(str(place)).items()}
    assert found["Fig/1.jpg"] == (tmp_path / "out/Fig/1.jpg").read_bytes() == b"newer"
    assert "same name" in str(found["Fig/1.jpg#1"])


def test_encrypted_and_unsupported_members_are_rejected_with_a_reason(tmp_path: Path) -> None:
    place = write(tmp_path / "a.zip", {"Fig/1.jpg": b"x" * 100})
    patched(place, b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0")
    assert "encrypted" in str(*read(place).values())
    for method, name in ((zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "LZMA")):
        place = write(tmp_path / f"{name}.zip", {"Fig/1.jpg": b"x" * 100}, method)
        assert f"unsupported compression: {name}" in str(*read(place).values())


def test_a_bomb_is_rejected_before_it_is_inflated(tmp_path: Path) -> None:
    place = write(tmp_path / "a.zip", {"Fig/1.png": bytes(100 << 20)}, zipfile.ZIP_DEFLATED)
    assert "inflate to 104,857,600 (1:1,029)" in str(*read(place).values())


def test_no_more_is_inflated_than_the_directory_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write(tmp_path / "a.zip", {"Fig/1.png": bytes(50 << 20)}, zipfile.ZIP_DEFLATED)
    patched(place, struct.pack("<I", 50 << 20), struct.pack("<I", 1000))
    made: list[int] = []
    inflated = zip_archive._inflated

    def watched(stored: memoryview, length: int) -> bytes:
        content = inflated(stored, length)
        made.append(len(content))
        return content

    monkeypatch.setattr(zip_archive, "_inflated", watched)
    assert "inflates to more than the 1,000 bytes" in str(*read(place).values())
    assert made == [1001]


def test_overlapping_members_are_rejected(tmp_path: Path) -> None:
    """Bombs have members that all point to one compressed part."""
    place = write(tmp_path / "a.zip", {f"Fig/{n}.jpg": b"x" * 200 for n in range(3)})
    with zipfile.ZipFile(place) as archive:
        offsets = [one.header_offset for one in archive.infolist()]
    content = bytearray(Path(place).read_bytes())
    start = content.rindex(b"PK\1\2")
    content[start + 42 : start + 46] = struct.pack("<I", offsets[0])
    Path(place).write_bytes(content)
    reasons = list(read(place).values())
    assert sum("overlaps" in str(one) for one in reasons) == 2
    assert reasons.count(b"x" * 200) == 1


def test_a_changed_byte_is_detected_by_the_checksum(tmp_path: Path) -> None:
    place = write(tmp_path / "a.zip", {"Fig/1.jpg": b"x" * 100, "Fig/2.jpg": b"y" * 100})
    patched(place, b"y" * 100, b"y" * 99 + b"z")
    good, bad = read(place).values()
    assert good == b"x" * 100
    assert "CRC-32" in str(bad)


def test_another_file_or_a_truncated_zip_is_reported_in_one_line(tmp_path: Path) -> None:
    place = write(tmp_path / "a.zip", {"Fig/1.jpg": b"x" * 5000})
    Path(place).write_bytes(Path(place).read_bytes()[:4000])
    with pytest.raises(
        InputError, match=r"wanted a complete zip archive; .*a\.zip .*copy it again"
    ):
        list_images(place)
    with pytest.raises(InputError, match="does not exist"):
        list_images(str(tmp_path / "none.zip"))


def test_zip64_and_bytes_before_the_archive_are_read(tmp_path: Path) -> None:
    target = tmp_path / "a.zip"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(2):
            with archive.open(f"Fig/{number}.jpg", "w", force_zip64=True) as member:
                member.write(bytes([number]) * 300)
    # Self-extracting archives begin with a program.
    target.write_bytes(b"#!/bin/sh\n" + buffer.getvalue())
    assert list(read(str(target)).values()) == [bytes([n]) * 300 for n in range(2)]


def test_names_in_utf_8_without_the_flag_are_read(tmp_path: Path) -> None:
    place = write(tmp_path / "a.zip", {"Pêche/1.jpg": b"x"})
    content = bytearray(Path(place).read_bytes())
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = content.index(signature) + at
        content[start : start + 2] = b"\0\0"
    Path(place).write_bytes(content)
    assert list_images(place).images["label"].to_pylist() == ["Pêche"]


def test_neighbours_on_s3_are_read_with_one_request(
    bucket: Any, requests: list[str], draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Apple": 60, "Fig": 60})
    place = as_zip(root, tmp_path / "fruit.zip", zipfile.ZIP_STORED)
    assert place.stat().st_size < BLOCK_BYTES
    bucket.upload_file(str(place), "archives/fruit.zip")
    found = read("s3://fruits/archives/fruit.zip")
    assert {key.partition("!/")[2]: one for key, one in found.items()} == files_of(root)
    assert all(key.startswith("s3a://fruits/archives/fruit.zip!/") for key in found)
    # Two for the type of the path, one or two for the directory, and one for all images.
    assert requests.count("get_object") <= 3
    assert len(requests) <= 7


def test_an_archive_without_images_is_one_line_that_says_what_is_in_it(tmp_path: Path) -> None:
    for members, there in (
        ({}, r"a\.zip$"),
        ({"a/b.zip": b"", "c.txt": b""}, r"zip, which has 1 .txt, 1 .zip: extract"),
    ):
        source = open_source(write(tmp_path / "a.zip", members))
        with pytest.raises(InputError, match=rf"wanted images, such as .* none in .*{there}"):
            source.found()


def test_one_of_several_parts_of_an_archive_is_one_clear_line(tmp_path: Path) -> None:
    """As written by zip -s: the directory is in the last part, and counts the parts from 0."""
    place = write(tmp_path / "a.zip", {"Fig/1.jpg": b"x" * 500, "Fig/2.jpg": b"y" * 500})
    whole = Path(place).read_bytes()
    entry, end = whole.rindex(b"PK\1\2"), whole.rindex(b"PK\5\6")
    for start, number in ((0, end + 4), (0, entry + 34), (200, end + 4)):
        part = whole[start:number] + b"\2\0" + whole[number + 2 :]
        Path(place).write_bytes(part)
        with pytest.raises(InputError, match=r"the last part of one in several parts: join them"):
            list_images(place)


def test_names_without_a_letter_do_not_hide_the_others(tmp_path: Path) -> None:
    place = write(tmp_path / "a.zip", {"x": b"", "Fig/1.jpg": b"a", "Fig//.//2.jpg": b"b"})
    # The length of the name "x" becomes zero, so its letter is read as a comment.
    content = Path(place).read_bytes()
    entry = content.index(b"PK\1\2")
    lengths = struct.pack("<HHH", 0, 0, 1)
    Path(place).write_bytes(content[: entry + 28] + lengths + content[entry + 34 :])
    assert [key.partition("!/")[2] for key in read(place)] == ["Fig/1.jpg", "Fig/2.jpg"]


@pytest.mark.parametrize("field", ["length", "stored", "offset"])
def test_invalid_numbers_are_a_reason(tmp_path: Path, field: str) -> None:
    place = write(tmp_path / "a.zip", {"Fig/1.jpg": b"one", "Fig/2.jpg": b"two"})
    content = Path(place).read_bytes()
    entry = content.rindex(b"PK\1\2")
    name = content[entry + 46 : entry + 55]
    # The number is in an extra field: zip64.
    where = {"stored": 20, "length": 24, "offset": 42}[field]
    head = bytearray(content[entry : entry + 46])
    head[where : where + 4] = b"\xff\xff\xff\xff"
    head[30:32] = struct.pack("<H", 12)
    extra = struct.pack("<HHQ", 1, 8, (1 << 64) - 1)
    end = bytearray(content[content.rindex(b"PK\5\6") :])
    end[12:16] = struct.pack("<I", int.from_bytes(end[12:16], "little") + 12)
    Path(place).write_bytes(content[:entry] + head + name + extra + end)
    found = {key.partition("!/")[2]: one for key, one in read(place).items()}
    assert found["Fig/1.jpg"] == b"one"
    assert isinstance(found["Fig/2.jpg"], str)
