"""Rows of a table that contradict each other, in a collection that grows."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import without_java

from fruits.errors import InputError
from fruits.networks.graph import CompiledGraph
from fruits.runs.config import RunConfig
from fruits.runs.pipeline import run

Draw = Callable[..., Path]

Rows = list[tuple[str, str]]


@pytest.fixture(autouse=True)
def _no_java(monkeypatch: pytest.MonkeyPatch, graph: CompiledGraph) -> None:
    without_java(monkeypatch)


@pytest.fixture
def rows(draw: Draw) -> Rows:
    """The rows of a table: the path and the label of each image."""
    root = draw({"Fig": 12, "Lime": 12})
    return [(str(file), file.parent.name) for file in sorted(root.rglob("*.jpg"))]


def go(table: Path, rows: Rows, output: Path, **options: Any) -> dict[str, Any]:
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    settings = {"backbone": "EfficientNetLite0", "classifier": "none", **options}
    return run(RunConfig(images=str(table), output=str(output), **settings)).report


def features(output: Path) -> pd.DataFrame:
    rows = pd.read_parquet(output / "features").sort_values("path").reset_index(drop=True)
    return rows.assign(features=[bytes(row) for row in rows["features"]])


def test_a_known_image_is_rejected_when_another_row_contradicts_its_own(
    rows: Rows, tmp_path: Path
) -> None:
    table, grown, scratch = tmp_path / "t.csv", tmp_path / "grown", tmp_path / "scratch"
    go(table, rows, grown)
    more = [*rows, (rows[0][0], "Kiwi")]
    counts = go(table, more, grown)["counts"]
    assert go(table, more, scratch)["counts"]["rejected"] == counts["rejected"] == 1
    assert counts["reused"] == 23
    pd.testing.assert_frame_equal(features(grown), features(scratch))
    for name in ("pca", "rejected"):
        ours, theirs = (pd.read_parquet(one / name) for one in (grown, scratch))
        pd.testing.assert_frame_equal(ours, theirs)
    # After a correction, it is an image again.
    counts = go(table, rows, grown)["counts"]
    assert (counts["found"], counts["extracted"], counts["rejected"]) == (24, 1, 0)


def test_features_are_kept_if_contradictions_end_the_run(rows: Rows, tmp_path: Path) -> None:
    table, output = tmp_path / "t.csv", tmp_path / "out"
    go(table, rows, output)
    with pytest.raises(InputError, match="all 24 were rejected: 24 for 'unreadable: two rows"):
        go(table, [*rows, *((path, "Kiwi") for path, _ in rows)], output)
    counts = go(table, rows, output)["counts"]
    assert counts == {"found": 24, "extracted": 0, "reused": 24, "rejected": 0}
