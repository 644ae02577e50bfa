"""Local worker processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fruits.errors import OutputError, StorageError, WorkerError
from fruits.tasks.failures import task_errors
from fruits.tasks.local import LocalWorkers
from fruits.tasks.workers import WorkerDiedError


@pytest.fixture
def workers() -> Iterator[LocalWorkers]:
    with LocalWorkers(2) as workers:
        yield workers


def ended(pid: int) -> bool:
    """Whether a process has ended, or ends within a minute."""
    for _ in range(1200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_results_are_in_the_order_of_the_items(workers: LocalWorkers) -> None:
    done: list[int] = []
    assert workers.run(lambda n: n * n, range(20), "squares", done) == [n * n for n in range(20)]
    assert sorted(done) == [n * n for n in range(20)]
    assert workers.run(lambda n: n, [], "nothing") == []


def test_tasks_run_in_as_many_processes_as_slots(workers: LocalWorkers, tmp_path: Path) -> None:
    def meet(number: int) -> int:
        # Each task waits for the other one.
        (tmp_path / str(number)).touch()
        while not (tmp_path / str(1 - number)).exists():
            time.sleep(0.01)
        return os.getpid()

    found = workers.run(meet, range(2), "meet")
    assert len({*found, os.getpid()}) == 3
    # The processes are used again.
    assert set(workers.run(lambda _: os.getpid(), range(8), "pids")) <= set(found)


def test_a_shared_value_is_read_from_a_file_that_is_deleted(workers: LocalWorkers) -> None:
    folder = Path(workers.scratch())
    with workers.share({"a": bytes(10_000_000)}) as shared:
        assert workers.run(lambda key: len(shared.value[key]), ["a", "a"], "length") == [10**7] * 2
        assert [file.stat().st_size > 10**7 for file in folder.iterdir()] == [True]
    assert list(folder.iterdir()) == []


def test_an_error_of_a_task_arrives_with_its_trace(workers: LocalWorkers) -> None:
    class OwnError(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} {two}")

    def fail(number: int) -> int:
        if number == 1:
            raise OutputError("output: wanted a file")
        if number == 2:
            raise OwnError(1, 2)  # which cannot be restored from its only argument
        return number

    with pytest.raises(OutputError) as failed:
        workers.run(fail, range(2), "fail")
    assert str(failed.value) == "output: wanted a file"
    assert "in fail\n" in failed.value.__notes__[0]
    with pytest.raises(RuntimeError, match="OwnError: 1 2"):
        workers.run(fail, [2], "fail")
    assert workers.run(fail, [3], "work again") == [3]


def test_the_results_of_other_tasks_are_kept_if_a_process_ends(
    workers: LocalWorkers, tmp_path: Path
) -> None:
    def work(number: int) -> int:
        # Both tasks have started before one of the processes ends.
        (tmp_path / str(number)).touch()
        while not (tmp_path / str(1 - number)).exists():
            time.sleep(0.01)
        if number == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        return number

    done: list[int] = []
    with pytest.raises(WorkerDiedError, match="SIGSEGV"):
        workers.run(work, range(2), "work", done)
    assert done == [0]
    assert workers.run(lambda number: number, [2, 3], "work with a new process") == [2, 3]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (signal.SIGKILL, "a Python worker was killed.*memory.*spark.master local"),
        (signal.SIGSEGV, r"ended \(SIGSEGV\)"),
        (signal.SIGRTMIN + 1, rf"ended \(signal {signal.SIGRTMIN + 1}\)"),
    ],
)
def test_a_process_that_ends_is_one_line(workers: LocalWorkers, how: int, message: str) -> None:
    def work(_: int) -> None:
        os.kill(os.getpid(), how)

    with pytest.raises(WorkerError, match=message), task_errors():
        workers.run(work, [1], "work")


def test_an_error_of_a_store_is_one_line(workers: LocalWorkers) -> None:
    def work(_: int) -> None:
        from botocore.exceptions import ClientError

        response = {"Error": {"Code": "ExpiredToken", "Message": "said so"}}
        raise PermissionError("said so") from ClientError(response, "GetObject")

    with pytest.raises(StorageError, match=r"refuses the credentials.*ExpiredToken: said so"):
        workers.run(work, [1], "work")


def test_a_full_disk_is_one_line(workers: LocalWorkers) -> None:
    def work(_: int) -> None:
        raise OSError(28, os.strerror(28))

    with pytest.raises(OutputError, match="the disk is full"), task_errors():
        workers.run(work, [1], "work")


def test_tasks_can_be_cancelled(workers: LocalWorkers) -> None:
    with workers.cancellable() as cancel:
        threading.Timer(1, cancel).start()
        with pytest.raises(WorkerDiedError):
            workers.run(lambda _: time.sleep(600), range(2), "sleep")


def test_a_run_that_exits_does_not_wait_for_its_tasks(workers: LocalWorkers) -> None:
    def leave(*_: object) -> None:
        sys.exit(3)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        threading.Timer(1, os.kill, [os.getpid(), signal.SIGTERM]).start()
        with pytest.raises(SystemExit):
            workers.run(lambda _: time.sleep(600), range(4), "sleep")
    finally:
        signal.signal(signal.SIGTERM, before)


def test_workers_find_the_modules_of_the_driver_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").write_text("raise ImportError('not this one')")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "of_the_driver.py").write_text("NUMBER = 7")
    monkeypatch.chdir(tmp_path)
    # Notebooks add such paths, although Python ignores those that are not strings.
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path, str(tmp_path / "own")])

    def number(_: int) -> int:
        import of_the_driver  # type: ignore[import-not-found]

        found: int = of_the_driver.NUMBER
        return found

    with LocalWorkers(1) as workers:
        assert workers.run(number, [1], "import") == [7]


def test_temporary_files_are_where_spark_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "made" / "like Spark does"
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{place},/nowhere")
    with LocalWorkers(1) as workers, workers.share("value"):
        [folder] = place.iterdir()
        assert str(folder) == workers.scratch()
    assert list(place.iterdir()) == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path}/file/below")
    with pytest.raises(StorageError, match="below: wanted a folder for temporary files"):
        LocalWorkers(1)


def test_an_interrupted_run_ends_its_processes(tmp_path: Path) -> None:
    started = _start(tmp_path)
    os.killpg(started.pid, signal.SIGINT)
    assert started.wait(20) == -signal.SIGINT
    output = started.stderr.read().decode() if started.stderr else ""
    # One trace, of the process that was interrupted, and none of a worker.
    assert output.count("Traceback") == output.count("KeyboardInterrupt") == 1
    assert all(map(ended, _pids(tmp_path)))


def test_nothing_outlives_a_driver_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(place))
    started = _start(tmp_path / "pids")
    assert len(list(place.iterdir())) == 1
    started.kill()
    started.wait()
    assert all(map(ended, _pids(tmp_path / "pids")))
    assert list(place.iterdir()) == []


def _start(folder: Path) -> "subprocess.Popen[bytes]":
    """Starts a driver with two workers, each of which writes its number and sleeps."""
    folder.mkdir(exist_ok=True)
    program = f"""
import os, pathlib, time
from fruits.tasks.local import LocalWorkers
def work(number):
    pathlib.Path({str(folder)!r}, str(os.getpid())).touch()
    time.sleep(600)
with LocalWorkers(2) as workers:
    workers.run(work, range(2), "sleep")
"""
    driver = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, start_new_session=True
    )
    while len(_pids(folder)) < 2:
        assert driver.poll() is None
        time.sleep(0.05)
    return driver


def _pids(folder: Path) -> list[int]:
    return [int(file.name) for file in folder.iterdir() if file.name.isdigit()]
