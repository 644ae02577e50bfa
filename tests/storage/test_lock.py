import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fruits.errors import OutputError
from fruits.storage import lock as locks
from fruits.storage.lock import exclusive


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.1)


def test_a_lock_is_there_for_the_time_of_the_block(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "_lock"
    with exclusive(str(file)) as lock:
        lock.require()
        assert json.loads(file.read_text())["pid"]
    assert not file.exists()


def test_of_two_that_are_alive_the_second_is_refused(tmp_path: Path) -> None:
    uri = str(tmp_path / "_lock")
    with (
        exclusive(uri),
        pytest.raises(OutputError, match=r"process \d+ on .* is writing here"),
        exclusive(uri),
    ):
        pytest.fail("the second got in")


def test_of_many_that_start_at_once_one_gets_in(tmp_path: Path) -> None:
    uri, inside, refused = str(tmp_path / "_lock"), [], []
    barrier, over = threading.Barrier(6), threading.Event()

    def start() -> None:
        barrier.wait()
        try:
            with exclusive(uri):
                inside.append(1)
                over.wait(10)
        except OutputError:
            refused.append(1)
            if len(refused) == 5:
                over.set()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(refused)) == (1, 5)


def test_the_lock_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    code = "import os, sys, fruits.storage.lock as k\nwith k.exclusive(sys.argv[1]): os._exit(9)"
    uri = str(tmp_path / "_lock")
    assert subprocess.run([sys.executable, "-c", code, uri]).returncode == 9
    assert Path(uri).exists()
    with exclusive(uri) as lock:
        lock.require()


def test_the_lock_of_another_machine_is_taken_over_when_it_stands_still(tmp_path: Path) -> None:
    file = tmp_path / "_lock"
    file.write_text(json.dumps({"host": "elsewhere", "pid": 1, "id": "x", "beat": 7}))
    with exclusive(str(file)) as lock:
        lock.require()


def test_a_lock_that_was_lost_stops_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "_lock"
    with (
        pytest.raises(OutputError, match=r"lost .* to process 1 on elsewhere"),
        exclusive(str(file)),
    ):
        file.write_text(json.dumps({"host": "elsewhere", "pid": 1, "id": "x", "beat": 7}))


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"), exclusive(f"{tmp_path}/file/_lock"):
        pytest.fail("there is no such place")
