"""Archives with missing labels, numbered names and other unusual contents."""

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from forms import as_parquet, as_tar, as_zip, files_of, read, tar_of
from listings import list_images

from fruits.errors import InputError
from fruits.sources.open_source import locate_members
from fruits.sources.reading import contents_of


def labels_of(place: Path) -> dict[str, str | None]:
    images = list_images(str(place)).images
    names = (path.partition("!/")[2] for path in images["path"].to_pylist())
    return dict(zip(names, images["label"].to_pylist(), strict=True))


def test_a_sample_without_a_label_among_others_with_one_has_none(tmp_path: Path) -> None:
    members = {"1.jpg": b"1", "1.cls": b"Fig\n", "2.jpg": b"2", "2.json": b"{bad", "3.jpg": b"3"}
    (tmp_path / "fruit.tar").write_bytes(tar_of({**members, "3.cls": b"", "Lime/4.jpg": b"4"}))
    found = labels_of(tmp_path / "fruit.tar")
    assert found == {"1.jpg": "Fig", "2.jpg": None, "3.jpg": None, "Lime/4.jpg": "Lime"}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        *[(name, name) for name in ("fig", "fig-2", "fig12")],
        *[(name, None) for name in ("train-000012", "000012", "fruit.part-1-of-8", "shard_001")],
    ],
)
def test_the_number_of_a_shard_is_not_a_label(tmp_path: Path, name: str, label: str | None) -> None:
    (tmp_path / f"{name}.tar").write_bytes(tar_of({"1.jpg": b"1", "1.txt": b"a fig"}))
    assert labels_of(tmp_path / f"{name}.tar") == {"1.jpg": label}


def test_two_archives_in_one_file_are_refused(tmp_path: Path) -> None:
    one, two = tar_of({"a/1.jpg": b"1"}), tar_of({"b/2.jpg": b"2"})
    (tmp_path / "both.tar").write_bytes(one + two)
    with pytest.raises(
        InputError, match="but more data follow, as if two archives were in one file"
    ):
        labels_of(tmp_path / "both.tar")


def test_of_an_incremental_archive_of_gnu_tar_names_have_no_times_in_them(tmp_path: Path) -> None:
    root = tmp_path / "photographs"
    for number in range(3):
        (root / "Fig").mkdir(parents=True, exist_ok=True)
        (root / "Fig" / f"{number}.jpg").write_bytes(bytes([number]) * 700)
    (root / "Fig" / "same.jpg").hardlink_to(root / "Fig" / "0.jpg")
    place = tmp_path / "backup.tar"
    program = ["tar", "--format=gnu", "--incremental", "-cf", str(place), "-C", str(tmp_path)]
    subprocess.run([*program, root.name], check=True)
    found = {key.partition("!/")[2]: content for key, content in read(str(place)).items()}
    assert found == files_of(root)
    assert list_images(str(place)).passed_over == {}
    # This is also true if the first member is a file.
    subprocess.run([*program[:5], "-C", str(root / "Fig"), "1.jpg"], check=True)
    assert [key.partition("!/")[2] for key in read(str(place))] == ["1.jpg"]


def test_a_hard_link_is_a_copy_of_what_was_there_when_it_was_made(tmp_path: Path) -> None:
    place = tmp_path / "updated.tar"
    with tarfile.open(place, "w") as archive:
        for name, content in (
            ("1.jpg", b"old"),
            ("2.jpg", None),
            ("1.jpg", b"new"),
            ("3.jpg", None),
        ):
            member = tarfile.TarInfo(f"Fig/{name}")
            member.size = len(content or b"")
            if content is None:
                member.type, member.linkname = tarfile.LNKTYPE, "Fig/1.jpg"
            archive.addfile(member, io.BytesIO(content or b""))
    subprocess.run(["tar", "-xf", str(place), "-C", str(tmp_path)], check=True)
    found = {key.partition("!/")[2]: content for key, content in read(str(place)).items()}
    assert "a later member" in str(found.pop("Fig/1.jpg#1"))
    assert found == files_of(tmp_path / "Fig")
    assert found["Fig/2.jpg"] == b"old"


@pytest.mark.parametrize(
    ("name", "content", "label"),
    [
        ("cls", b"\xef\xbb\xbfFig\r\n", "Fig"),
        ("CLS", b"7", "7"),
        ("Json", b"\xef\xbb\xbf" + json.dumps({"label": " Fig "}).encode(), "Fig"),
        *[
            ("json", f'{{"label": {value}}}'.encode(), label)
            for value, label in [
                *[("3.0", "3"), ("true", "true"), ("false", "false"), ("NaN", None)],
                *[("1e400", None), ("null", None), ('["Fig"]', None), ("2.5", "2.5")],
            ]
        ],
    ],
    ids=str,
)
def test_labels_of_samples_are_texts_as_in_tables(
    tmp_path: Path, name: str, content: bytes, label: str | None
) -> None:
    # The same name in capitals is another sample, with its own label.
    others = {"b/1.jpg": b"2", "b/1.cls": b"Lime", "B/1.jpg": b"3", "B/1.cls": b"Kiwi"}
    (tmp_path / "a.tar").write_bytes(tar_of({"1.jpg": b"1", f"1.{name}": content, **others}))
    assert labels_of(tmp_path / "a.tar") == {"1.jpg": label, "b/1.jpg": "Lime", "B/1.jpg": "Kiwi"}


@pytest.mark.parametrize("make", [as_zip, as_tar, as_parquet])
def test_the_name_of_an_archive_may_be_other_than_utf_8(
    draw: Callable[..., Path], tmp_path: Path, make: Callable[[Path, Path], Path]
) -> None:
    root = draw({"Fig": 3, "Lime": 3})
    plain = make(root, tmp_path / f"a.{make.__name__[3:]}")
    odd = plain.with_name(os.fsdecode(b"caf\xe9") + plain.suffix)
    wanted = list(read(str(plain)).values())
    plain.rename(odd)
    found = read(str(odd))
    assert list(found.values()) == wanted
    assert all(path.startswith(f"file:{tmp_path}/caf\\udce9.") for path in found)
    # The images of the notebook and of the report are found again by their names.
    rows = list_images(str(odd)).images.select(["path", "length"])
    assert list(contents_of(locate_members(rows))) == wanted
