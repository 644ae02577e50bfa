import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forms import as_tar, as_zip, files_of, read
from listings import list_images

from fruits.cli import main
from fruits.errors import ConfigError, InputError, OutputError
from fruits.sources import packing, parts
from fruits.sources.packing import pack


@pytest.mark.parametrize("format", ["tar", "zip"])
def test_shards_contain_every_image_once_with_its_label_and_split(
    draw: Callable[..., Path], tmp_path: Path, format: str
) -> None:
    root = draw({"Training/Apple": 9, "Test/Pêche é": 5})
    (root / "top.jpg").write_bytes(b"in no folder")
    (root / "notes.txt").write_text("x")
    output = tmp_path / "shards"
    packed = pack(str(root), str(output), format, shard_bytes=20_000)
    shards = sorted(output.iterdir())
    assert packed.images == 15
    assert packed.shards == packed.written == len(shards) > 2
    assert packed.passed_over == {".txt": 1}
    assert all(shard.stat().st_size < 30_000 for shard in shards)
    wanted = {name: one for name, one in files_of(root).items() if not name.endswith("txt")}
    found = read(str(output))
    assert {key.partition("!/")[2]: content for key, content in found.items()} == wanted
    columns = ["label", "split", "length"]
    in_shards = list_images(str(output)).images
    in_folder = list_images(str(root)).images
    assert in_shards.select(columns) == in_folder.select(columns)


def test_the_command_says_what_was_there_already_and_what_is_not_packed(
    draw: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = draw({"Apple": 9})
    (root / ".note.json").write_text("{}")
    arguments = ["pack", "--images", str(root), "--output", str(tmp_path / "shards")]
    ends = "; not packed: 1 hidden (name starts with a dot)\n"
    assert main(arguments) == 0
    packed = f"9 images in 1 shard in {tmp_path / 'shards'}"
    assert capsys.readouterr().out == packed + ends
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{packed} (1 shard was there already){ends}"


def test_an_interrupted_packing_continues_and_a_changed_image_is_packed_again(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root, output = draw({"Apple": 12}), tmp_path / "shards"
    first = pack(str(root), str(output), shard_bytes=20_000)
    whole = {shard.name: shard.read_bytes() for shard in output.iterdir()}
    (output / "shard-00001.tar").unlink()
    again = pack(str(root), str(output), shard_bytes=20_000)
    assert (again.images, again.shards, again.written) == (12, first.shards, 1)
    assert {shard.name: shard.read_bytes() for shard in output.iterdir()} == whole
    image = root / "Apple" / "0_100.jpg"
    image.write_bytes(image.read_bytes()[::-1])
    os.utime(image, (4_000_000_000, 4_000_000_000))
    assert pack(str(root), str(output), shard_bytes=20_000).written == 1
    assert image.read_bytes() in read(str(output)).values()


@pytest.mark.parametrize("format", ["tar", "zip"])
def test_older_images_of_the_same_length_are_packed_again(tmp_path: Path, format: str) -> None:
    root, output = tmp_path / "images", tmp_path / "shards"
    (root / "Fig").mkdir(parents=True)
    for number, name in enumerate("abc"):
        (root / "Fig" / f"{name}.bmp").write_bytes(name.encode() * 100)
        os.utime(root / "Fig" / f"{name}.bmp", (0, 1_600_000_000.7 + 2 * number))
    assert pack(str(root), str(output), format).written == 1
    assert pack(str(root), str(output), format).written == 0
    for old, new in ("ax", "ba", "xb"):
        (root / "Fig" / f"{old}.bmp").rename(root / "Fig" / f"{new}.bmp")
    assert pack(str(root), str(output), format).written == 1
    assert [*read(str(output)).values()] == [b"b" * 100, b"a" * 100, b"c" * 100]
    assert pack(str(root), str(output), format).written == 0


def of_shards(output: Path) -> dict[str, bytes | str]:
    return {key.partition("!/")[2]: content for key, content in read(str(output)).items()}


def write_old(root: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        os.utime(root / name, (0, 1_600_000_000))


@pytest.mark.parametrize("format", ["tar", "zip"])
def test_shards_are_written_again_after_old_images_are_added_or_replace_others(
    tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "IN_MEMORY", 5)
    monkeypatch.setattr(parts, "PART_ROWS", 3)
    root, output = tmp_path / "images", tmp_path / "shards"
    write_old(root, {f"Fig/{n:02}.bmp": b"x" * n for n in range(20)})
    assert pack(str(root), str(output), format, shard_bytes=4_000).written == 7
    write_old(root, {"Fig/19.bmp": b"shorter"})
    assert pack(str(root), str(output), format, shard_bytes=4_000).written == 1
    assert of_shards(output) == files_of(root)
    write_old(root, {"Fig/08b.bmp": b"new"})
    assert pack(str(root), str(output), format, shard_bytes=4_000).written == 4
    assert of_shards(output) == files_of(root)
    assert pack(str(root), str(output), format, shard_bytes=3_000).written == 11
    assert of_shards(output) == files_of(root)
    assert pack(str(root), str(output), format, shard_bytes=3_000).written == 0


@pytest.mark.parametrize("format", ["tar", "zip"])
def test_an_image_that_only_a_shard_still_has_is_not_lost(
    draw: Callable[..., Path], tmp_path: Path, format: str
) -> None:
    root, output = draw({"Fig": 2, "Lime": 2}), tmp_path / "shards"
    assert pack(str(root), str(output), format).written == 1
    (shard,) = output.iterdir()
    before = shard.read_bytes()
    image = root / "Lime" / "0_100.jpg"
    image.rename(root / "Lime" / "new.jpg")
    # Whether another image is newer than the shard or not.
    for seconds in (0, 4_000_000_000):
        os.utime(root / "Lime" / "new.jpg", (seconds, seconds))
        with pytest.raises(OutputError, match=r"has images/Lime/0_100\.jpg, which is not in .*/im"):
            pack(str(root), str(output), format)
        assert shard.read_bytes() == before
    shard.unlink()
    assert pack(str(root), str(output), format).written == 1
    assert of_shards(output) == files_of(root)


def test_an_archive_of_the_same_images_with_other_files_is_not_replaced(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root, output = draw({"Fig": 2}), tmp_path / "shards"
    output.mkdir()
    (root / "notes.txt").write_text("x")
    for format, write in (("tar", as_tar), ("zip", as_zip)):
        mine = write(root, output / f"shard-00000.{format}")
        with pytest.raises(OutputError, match=r"is not a shard of .*other files.*: 1 \.txt\)"):
            pack(str(root), str(output), format)
        mine.unlink()


def test_a_long_listing_is_packed_part_by_part_into_the_same_shards(
    draw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: parts.Parts) -> None:
        raise AssertionError

    root = draw({"Fig": 40, "Kiwi": 5, "Lime": 15})
    monkeypatch.setattr(parts.Parts, "table", refuse)
    expected = pack(str(root), str(tmp_path / "memory"), shard_bytes=20_000)
    monkeypatch.setattr(parts, "IN_MEMORY", 5)
    monkeypatch.setattr(parts, "PART_ROWS", 8)
    assert pack(str(root), str(tmp_path / "parts"), shard_bytes=20_000) == expected
    assert expected.shards > 5
    for shard in (tmp_path / "memory").iterdir():
        assert (tmp_path / "parts" / shard.name).read_bytes() == shard.read_bytes()


def test_an_output_with_other_files_or_more_shards_is_refused(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root, output = draw({"Apple": 12}), tmp_path / "shards"
    pack(str(root), str(output), shard_bytes=20_000)
    with pytest.raises(OutputError, match=r"earlier packing of .* with the same options; .* has"):
        pack(str(root), str(output), shard_bytes=1_000_000)
    (output / "mine.doc").write_text("x")
    with pytest.raises(OutputError, match=r"has mine\.doc"):
        pack(str(root), str(output), shard_bytes=20_000)
    with pytest.raises(ConfigError, match="outside of the images"):
        pack(str(root), str(root / "shards"))


def test_an_unreadable_image_ends_the_packing_without_an_incomplete_shard(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root, output = draw({"Apple": 3}), tmp_path / "shards"
    (root / "Apple" / "broken.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(InputError, match=r"images/Apple/broken\.jpg cannot be read"):
        pack(str(root), str(output))
    assert list(output.iterdir()) == []


def test_names_that_are_not_utf_8_are_packed_into_tar_files(tmp_path: Path) -> None:
    root, output = tmp_path / "images", tmp_path / "shards"
    folder = os.fsencode(root) + b"/caf\xe9"
    os.makedirs(folder)
    for name in (b"1.jpg", b"\xe9.jpg", rb"\udce9.jpg"):
        with open(folder + b"/" + name, "wb") as file:
            file.write(name)
    with pytest.raises(InputError, match=r"UTF-8 for zip archives; got images/caf\\udce9/.*tar$"):
        pack(str(root), str(output), "zip")
    assert not output.exists()
    assert pack(str(root), str(output)).written == 1
    assert pack(str(root), str(output)).written == 0
    columns = ["label", "split", "length"]
    in_shards = list_images(str(output)).images
    in_folder = list_images(str(root)).images
    assert in_shards.select(columns) == in_folder.select(columns)
    assert set(read(str(output)).values()) == set(read(str(root)).values())


@pytest.mark.parametrize("format", ["tar", "zip"])
@pytest.mark.parametrize("name", [b"shards\xe9", rb"shards\udce9"])
def test_the_name_of_the_output_need_not_be_utf_8(
    draw: Callable[..., Path], tmp_path: Path, name: bytes, format: str
) -> None:
    root, output = draw({"Fig": 2}), os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
    assert pack(str(root), output, format).written == 1
    assert pack(str(root), output, format).written == 0
    assert sorted(map(bytes, read(output).values())) == sorted(files_of(root).values())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [".photos", "@eaDir"])
def test_a_folder_whose_name_hides_its_images_is_refused_before_anything_is_written(
    draw: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    root, output = draw({"Apple": 2}, name), tmp_path / "shards"
    with pytest.raises(InputError, match=rf"the names begin with {name}/: rename .* a link"):
        pack(str(root), str(output))
    assert not output.exists()
    (tmp_path / "photos").symlink_to(root)
    assert pack(str(tmp_path / "photos"), str(output)).images == 2


@pytest.mark.parametrize("format", ["tar", "zip"])
def test_images_that_would_get_other_names_in_shards_are_refused_before_anything_is_written(
    bucket: Any, draw: Callable[..., Path], tmp_path: Path, format: str
) -> None:
    output = tmp_path / "shards"
    bucket.put_object(Key="photos/A//2.jpg", Body=b"x")
    with pytest.raises(InputError, match=r"; photos/A//2\.jpg would get another name .*: rename"):
        pack("s3://fruits/photos", str(output), format)
    root = draw({"Fig": 1})
    (root / r"a\..\b.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"images/a\\..\\b\.jpg would get another name"):
        pack(str(root), str(output), format)
    # Directly in that folder it is an image; in a folder of a shard, it is the plot of a run.
    plots = draw({"Fig": 1}, "plots")
    (plots / "scree.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"plots/scree\.png would .* be skipped"):
        pack(str(plots), str(output), format)
    assert not output.exists()


def test_a_stopped_packing_leaves_no_part_of_a_shard(tmp_path: Path) -> None:
    root, output = tmp_path / "images", tmp_path / "shards"
    root.mkdir()
    for number in range(200):
        with (root / f"{number}.jpg").open("wb") as file:
            file.truncate(10_000_000)
    command = [sys.executable, "-m", "fruits.cli", "pack", "--shard-bytes", "1"]
    packing = subprocess.Popen([*command, "--images", str(root), "--output", str(output)])
    while not list(output.glob(".packing-*")):
        assert packing.poll() is None
        time.sleep(0.01)
    packing.terminate()
    assert packing.wait(60) == 130
    assert not list(output.glob(".packing-*"))


def test_a_packing_that_is_stopped_when_its_folder_has_just_been_made_leaves_nothing(
    draw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, output, mkdir = draw({"Apple": 1}), tmp_path / "shards", os.mkdir

    def stopped(path: str, mode: int = 0o777) -> None:
        mkdir(path, mode)
        if ".packing-" in path:
            raise KeyboardInterrupt

    monkeypatch.setattr(packing.os, "mkdir", stopped)
    with pytest.raises(KeyboardInterrupt):
        pack(str(root), str(output))
    assert list(output.iterdir()) == []


def test_an_output_that_cannot_be_written_is_an_error_of_one_line(
    draw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    root = draw({"Apple": 1})
    monkeypatch.setattr(packing.os, "makedirs", refuse)
    with pytest.raises(OutputError, match=r"00000\.tar cannot be written: Read-only") as caught:
        pack(str(root), str(tmp_path / "shards"))
    assert "\n" not in str(caught.value)


def test_shards_are_written_to_s3(
    bucket: Any, draw: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = draw({"Apple": 9})
    arguments = ["pack", "--images", str(root), "--output", "s3://fruits/shards"]
    assert main([*arguments, "--shard-bytes", "20000", "--format", "zip"]) == 0
    assert "9 images in 2 shards in s3://fruits/shards" in capsys.readouterr().out
    found = read("s3a://fruits/shards")
    assert {key.partition("!/")[2]: content for key, content in found.items()} == files_of(root)
    assert main([*arguments, "--shard-bytes", "20000"]) == 2
    assert "has shard-00000.zip" in capsys.readouterr().err
    assert main([*arguments[:-1], "s3://fruits/one"]) == 0
    assert "9 images in 1 shard in s3://fruits/one" in capsys.readouterr().out


@pytest.mark.parametrize("format", ["tar", "zip"])
@pytest.mark.parametrize("content", [b"a year of work", None])
def test_a_file_of_the_user_with_the_name_of_a_shard_is_not_replaced(
    draw: Callable[..., Path], tmp_path: Path, format: str, content: bytes | None
) -> None:
    root = draw({"Fig": 2})
    mine = tmp_path / "out" / f"shard-00000.{format}"
    mine.parent.mkdir()
    # Another file, or an archive of other files; both are older than the images.
    other = (as_tar if format == "tar" else as_zip)(draw({"Own": 1}, "own"), tmp_path / "archive")
    mine.write_bytes(other.read_bytes() if content is None else content)
    os.utime(mine, (0, 0))
    before = mine.read_bytes()
    reason = "is not a shard of .* would be replaced" if content else "has own/Own/.* would be lost"
    with pytest.raises(OutputError, match=reason):
        pack(str(root), str(tmp_path / "out"), format)
    assert mine.read_bytes() == before


@pytest.mark.parametrize("format", ["tar", "zip"])
def test_times_outside_the_range_of_an_archive_are_clipped(
    draw: Callable[..., Path], tmp_path: Path, format: str
) -> None:
    root = draw({"Fig": 2})
    for file, year in zip(sorted((root / "Fig").iterdir()), (1950, 2200), strict=True):
        seconds = (year - 1970) * 365.25 * 86400
        os.utime(file, (seconds, seconds))
    assert pack(str(root), str(tmp_path / "out"), format).written == 1
    now = time.time() + 1e10  # One of the images is from the future.
    os.utime(tmp_path / "out" / f"shard-00000.{format}", (now, now))
    assert pack(str(root), str(tmp_path / "out"), format).written == 0
    packed = read(str(tmp_path / "out"))
    assert sorted(map(bytes, packed.values())) == sorted(files_of(root).values())  # type: ignore[arg-type]
