"""Where photographs are kept with consent: in folders that give the next run the same labels."""

import asyncio
import io
from pathlib import Path

import pytest
from PIL import Image

from fruits.serve.uploads import Uploads, folder_of
from fruits.sources.folder import list_images

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
def test_the_next_run_reads_the_label_that_the_model_gave(tmp_path: Path, label: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    answers = [{"label": label, "unknown": False}]
    assert asyncio.run(Uploads(str(tmp_path)).keep([buffer.getvalue()], answers)) == 1
    assert list_images(str(tmp_path))["label"].to_pylist() == [label]


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("../../etc", "%2E./../etc".replace("/", "%2F")),
        ("a/b", "a%2Fb"),
        (".hidden", "%2Ehidden"),
        ("", "unknown"),
        ("new\nline\x1b\0", "new%0Aline%1B%00"),
        ("桃" * 100, "桃" * 85),
    ],
)
def test_what_is_no_name_of_a_folder_is_quoted_or_cut(label: str, folder: str) -> None:
    assert folder_of(label) == folder
