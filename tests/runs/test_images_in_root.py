"""Images beside the folders of the labels are found; a folder of one label is an ordinary one."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from fruits.runs.config import RunConfig
from fruits.runs.images_in_root import loose_images
from fruits.sources.open_source import open_source
from fruits.sources.parts import Totals


def loose(images: str, output: Path, label: str | None = None) -> dict[str, int]:
    config = RunConfig(images=images, output=str(output), label=label)
    found = open_source(images, config.naming).found().images
    labels: pa.Table = Totals.of(found).labels
    return loose_images(config, found, labels)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos [x] +é"
    for name in ("a.jpg", "b.jpg", "Fig/1.jpg", "Lime/2.jpg", f"Fig/{root.name}/3.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_images_directly_in_the_folder_of_images_are_counted(photos: Path, tmp_path: Path) -> None:
    assert loose(str(photos), tmp_path) == {photos.name: 2}
    assert loose(f"{photos}/", tmp_path) == {photos.name: 2}
    assert loose(f"file://{photos}", tmp_path) == {photos.name: 2}


def test_a_folder_whose_name_is_not_utf_8_may_have_images_beside_its_folders(
    photos: Path, tmp_path: Path
) -> None:
    for name, label in ((b"ph\xe9", r"ph\udce9"), (rb"ph\udce9", r"ph\udc5cudce9")):
        other = photos.rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        assert loose(str(other), tmp_path) == {label: 2}
        photos = other


def test_a_folder_of_one_label_and_folders_of_labels_have_no_loose_images(
    photos: Path, tmp_path: Path
) -> None:
    assert loose(f"{photos}/Lime", tmp_path) == {}
    assert loose(f"{photos}/Lime,{photos}", tmp_path) == {}
    assert loose(str(photos), tmp_path, "grandparent") == {}
    for name in ("a.jpg", "b.jpg"):
        (photos / name).unlink()
    assert loose(str(photos), tmp_path) == {}
