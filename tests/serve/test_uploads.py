"""Photographs are stored with consent, in folders that give the next run the same labels."""

import asyncio
import io
from pathlib import Path

import pytest
from listings import find_images
from PIL import Image

from fruits.serve.uploads import Uploads, folder_of

LABELS = [
    "Apple Golden 2",
    "Pêche",
    "桃" * 80,
    "=1+1",
    "a%41#?[x]*",
    "k=v",
    "-x",
    "_x",
    "l'été & co",
]


@pytest.mark.parametrize("label", LABELS)
def test_the_next_run_reads_the_predicted_label(tmp_path: Path, label: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    answers = [{"label": label, "unknown": False}]
    assert asyncio.run(Uploads(str(tmp_path)).keep([buffer.getvalue()], answers)) == 1
    assert find_images(str(tmp_path)).images["label"].to_pylist() == [label]


def test_after_one_that_cannot_be_written_the_others_before_it_count(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("no folder")
    answers = [{"label": label, "unknown": False} for label in "abc"]
    pictures = [bytes([number]) for number in range(3)]
    assert asyncio.run(Uploads(str(tmp_path)).keep(pictures, answers)) == 1
    assert [file.parent.name for file in tmp_path.rglob("*.jpg")] == ["a"]


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("../../etc", "%2E./../etc".replace("/", "%2F")),
        ("a/b", "a%2Fb"),
        (".hidden", "%2Ehidden"),
        ("", "unknown"),
        ("a\udcff", "a%ED%B3%BF"),
        ("new\nline\x1b\0", "new%0Aline%1B%00"),
        ("桃" * 100, "桃" * 85),
    ],
)
def test_invalid_names_of_folders_are_escaped_or_truncated(label: str, folder: str) -> None:
    assert folder_of(label) == folder
