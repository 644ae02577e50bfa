"""Copies among the images of a run, and of those in the training of a model."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fruits.features.rows import FEATURES, REJECTED, lists, write_rows
from fruits.features.table import FeatureTable
from fruits.features.writer import FeatureWriter
from fruits.runs import copies
from fruits.runs.copies import find_copies
from fruits.storage.location import Location
from fruits.storage.lock import exclusive


def features(folder: Path, contents: Sequence[str], split: str | None) -> FeatureTable:
    """The features of images with some contents."""
    count = len(contents)
    columns: dict[str, Any] = {
        "path": [f"file:{folder}/{n}.jpg" for n in range(count)],
        "label": ["Fig"] * count,
        "split": pa.array([split] * count, pa.string()),
        "sha256": [hashlib.sha256(one.encode()).hexdigest() for one in contents],
        "features": lists(np.zeros((count, 2), np.float32)),
    }
    rows = [columns.get(one.name, pa.nulls(count, one.type)) for one in FEATURES]
    name = f"{0:032x}.parquet"
    with exclusive(f"{folder}/_lock") as lock:
        writer = FeatureWriter(Location.of(f"{folder}/features"), lock)
        write_rows(writer.staged / name, pa.table(rows, schema=FEATURES))
        writer.commit([name], REJECTED.empty_table())
    return FeatureTable(Location.of(f"{folder}/features"))


def test_copies_among_the_training_images_of_a_model_leave_room_for_those_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_LISTED", 4)
    # Each content of the training is there twice; one of them is also new.
    trained = features(tmp_path / "trained", [f"{n // 2}" for n in range(40)], "train")
    own = features(tmp_path / "own", ["7", "another"], None)
    context: Any = SimpleNamespace(store=own, trained=trained, chosen=None)
    skipped: dict[str, str] = {}
    found = find_copies(context, skipped)
    assert [(one.kind, one.path) for one in found] == [
        ("split duplicate", f"file:{tmp_path}/own/0.jpg")
    ]
    assert "duplicate" not in skipped
