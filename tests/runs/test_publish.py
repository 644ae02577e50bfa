"""Results are replaced in an order, and under a lock, that leaves complete results."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fruits.runs import output_record
from fruits.runs.outputs import Outputs
from fruits.storage.lock import Lock, exclusive

BACKBONE = {"backbone": "A"}


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs.of(str(tmp_path / "out"))


@pytest.fixture
def lock(outputs: Outputs) -> Iterator[Lock]:
    with exclusive(outputs.uri("_lock")) as lock:
        yield lock


def publish(outputs: Outputs, lock: Lock, text: str) -> None:
    """Publishes two results and run.json, as a run does."""
    for name in ("pca.csv", "model/weights"):
        outputs.staging().write(name, text.encode())
    outputs.publish(lock, "pca.csv", "model", report={"by": text})


def test_an_interrupted_overwrite_leaves_no_report_without_its_results(
    outputs: Outputs, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs.prepare(lock, BACKBONE, overwrite=False)
    publish(outputs, lock, "first")
    delete_files = output_record.delete_files
    deleted: list[str] = []

    def interrupted(folder: object, paths: list[str]) -> None:
        if paths and deleted:
            raise KeyboardInterrupt
        deleted.extend(paths)
        delete_files(folder, paths)  # type: ignore[arg-type]

    monkeypatch.setattr(output_record, "delete_files", interrupted)
    with pytest.raises(KeyboardInterrupt):
        outputs.prepare(lock, BACKBONE, overwrite=True)
    assert [path.rpartition("/")[2] for path in deleted] == ["run.json"]
