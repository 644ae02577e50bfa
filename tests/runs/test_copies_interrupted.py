"""Copies are committed during a run, so the next run reads only the others again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fruits.features.table import open_features
from fruits.networks.graph import CompiledGraph
from fruits.runs.config import RunConfig
from fruits.runs.pipeline import run
from fruits.tasks import commits
from fruits.tasks import extract as extraction
from fruits.tasks.commits import Commits


@pytest.mark.slow
def test_an_interrupted_run_keeps_the_copies_of_finished_chunks(
    graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, out = draw({"Fig": 12}), tmp_path / "out"
    options = {"backbone": "EfficientNetLite0", "classifier": "none", "allow_removed": True}
    config = RunConfig(images=str(images), output=str(out), chunk=4, **options)  # type: ignore[arg-type]
    run(config)
    (images / "Fig").rename(images / "Ficus")
    commit, calls = Commits.commit, iter("12")

    def interrupted(chunk: Commits) -> None:
        if not next(calls, None):
            raise KeyboardInterrupt
        commit(chunk)

    monkeypatch.setattr(commits, "COMMIT_SECONDS", 0)
    monkeypatch.setattr(extraction, "SAVE_SHARE", 0)
    monkeypatch.setattr(Commits, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    monkeypatch.undo()
    assert open_features(str(out)).count_rows() == 12 + 2 * 4

    report = run(config).report
    assert report["counts"] == {"found": 12, "extracted": 0, "reused": 12, "rejected": 0}
    rows = open_features(str(out)).to_table()
    assert set(rows["label"].to_pylist()) == {"Ficus"}
    assert rows.num_rows == 12
