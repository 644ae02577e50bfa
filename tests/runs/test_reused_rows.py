"""A run projects only new rows if the scaler, the PCA and the classifier have not changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as pads
import pytest

from fruits.runs import project as step
from fruits.runs.config import RunConfig
from fruits.runs.pipeline import run
from fruits.runs.reused_rows import MADE_BY
from fruits.tasks.path_ranges import Earlier

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark", "graph")]

Draw = Callable[..., Path]


@pytest.fixture
def projected(monkeypatch: pytest.MonkeyPatch) -> list[Earlier | None]:
    """The earlier results that the projections of the runs reuse."""
    seen: list[Earlier | None] = []
    plain = step.project

    def project(*arguments: Any, **options: Any) -> int:
        seen.append(options["earlier"])
        return plain(*arguments, **options)

    monkeypatch.setattr(step, "project", project)
    return seen


def go(images: Path, output: Path, **options: Any) -> dict[str, Any]:
    config = RunConfig(
        images=str(images), output=str(output), backbone="EfficientNetLite0", **options
    )
    return run(config).report


def rows_of(output: Path, table: str) -> str:
    """All bits of all rows, as text, in which NaN equals NaN."""
    return repr(pads.dataset(output / table, format="parquet").to_table().to_pylist())


def require_same(output: Path, scratch: Path) -> None:
    """Checks that all results from the features equal those of a run without an earlier one."""
    for table in ("pca", "predictions", "predictions/_scores", "predictions/_digests"):
        assert rows_of(output, table) == rows_of(scratch, table), table
    assert (output / "pca.csv").read_bytes() == (scratch / "pca.csv").read_bytes()
    ours, theirs = (json.loads((one / "run.json").read_text()) for one in (output, scratch))
    for name in ("evaluation", "classifier", "components", "explained_variance", "split"):
        assert ours[name] == theirs[name], name
    assert (output / MADE_BY).read_bytes() == (scratch / MADE_BY).read_bytes()


def test_only_rows_that_may_differ_are_projected(
    draw: Draw, tmp_path: Path, projected: list[Earlier | None]
) -> None:
    root = draw({"Training/Fig": 14, "Training/Kiwi": 12, "Test/Fig": 6, "Test/Kiwi": 5})
    grown, scratch = tmp_path / "grown", tmp_path / "scratch"
    # There are several chunks, and few of them contain test images.
    go(root, grown, chunk=6)
    assert projected == [None]

    # Test images are added, changed and removed.
    draw({"Test/Lime": 3}, seed=1)
    fig = root / "Test" / "Fig"
    (fig / "0_100.jpg").write_bytes((root / "Test/Lime/0_100.jpg").read_bytes())
    (fig / "1_100.jpg").unlink()
    (fig / "2_100.jpg").rename(root / "Test" / "Kiwi" / "2b_100.jpg")
    assert go(root, grown, chunk=6)["counts"]["found"] == 39
    taken = projected[-1]
    assert taken is not None
    assert len(taken.gone) == 3
    go(root, scratch)
    assert projected[-1] is None
    require_same(grown, scratch)

    # Another training image changes all rows.
    draw({"Training/Lime": 3}, seed=2)
    go(root, grown)
    assert projected[-1] is None


def test_a_reused_model_projects_only_new_rows(
    draw: Draw, tmp_path: Path, projected: list[Earlier | None]
) -> None:
    root = draw({"Fig": 8, "Kiwi": 8})
    go(root, tmp_path / "model", csv=False)
    draw({"Kiwi": 15, "Lime": 4}, "other", seed=3)
    other, model = tmp_path / "other", str(tmp_path / "model")
    go(other, tmp_path / "grown", model=model)
    draw({"Fig": 3}, "other", seed=4)
    go(other, tmp_path / "grown", model=model)
    assert projected[-1] is not None
    go(other, tmp_path / "scratch", model=model)
    require_same(tmp_path / "grown", tmp_path / "scratch")

    # A file that somebody has changed is not reused.
    [file] = (tmp_path / "grown" / "pca").glob("*.parquet")
    pd.read_parquet(file).iloc[::-1].to_parquet(file)
    draw({"Fig 2": 1}, "other", seed=5)
    go(other, tmp_path / "grown", model=model)
    assert projected[-1] is None
