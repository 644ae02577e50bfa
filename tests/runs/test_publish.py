"""Results are replaced in an order, and under a lock, that leaves complete results."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fruits.errors import OutputError
from fruits.runs import output_record
from fruits.runs.output_record import OutputRecord
from fruits.runs.outputs import Outputs
from fruits.storage.files import replace
from fruits.storage.location import Location
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


@pytest.fixture
def suspended(outputs: Outputs, lock: Lock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets another run publish before a method of this one has been called some times."""

    def suspend(owner: type, method: str, calls: int) -> None:
        whole = getattr(owner, method)
        left = [calls]

        def late(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                other, theirs = Outputs(outputs.root), Lock(lock.uri)
                replace(Location.of(lock.uri), theirs.bytes())
                other.prepare(theirs, BACKBONE, overwrite=False)
                publish(other, theirs, "other")
            return whole(*arguments, **options)

        monkeypatch.setattr(owner, method, late)

    return suspend


@pytest.mark.parametrize(
    ("owner", "method", "calls"),
    [
        *((OutputRecord, "replace", result) for result in (1, 2)),
        # The lock was this run's own when it last looked.
        *((os.path, "exists", calls) for calls in range(1, 4)),
        *((os, "rename", calls) for calls in range(1, 6)),
    ],
)
def test_a_run_that_is_suspended_while_it_publishes_replaces_nothing_of_another_run(
    outputs: Outputs,
    lock: Lock,
    suspended: Callable[..., None],
    owner: type,
    method: str,
    calls: int,
    tmp_path: Path,
) -> None:
    outputs.prepare(lock, BACKBONE, overwrite=False)
    publish(outputs, lock, "first")
    suspended(owner, method, calls)
    with pytest.raises(OutputError, match="this run lost"):
        publish(Outputs(outputs.root), lock, "late")
    out = tmp_path / "out"
    texts = [(out / name).read_text() for name in ("pca.csv", "model/weights")]
    assert texts == ["other", "other"]
    assert json.loads((out / "run.json").read_text())["by"] == "other"
    replace(Location.of(lock.uri), lock.bytes())  # The fixture gives the lock back.
