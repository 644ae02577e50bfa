import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fruits.errors import OutputError
from fruits.storage import lock as locks
from fruits.storage.location import Location
from fruits.storage.lock import exclusive, is_free_or_lock
from fruits.storage.processes import Process


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.1)


def test_the_lock_file_exists_while_the_block_runs(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "_lock"
    with exclusive(str(file)) as lock:
        lock.require()
        assert json.loads(file.read_text())["pid"]
    assert not file.exists()


def test_a_second_run_is_refused_while_the_first_is_alive(tmp_path: Path) -> None:
    uri = str(tmp_path / "_lock")
    with (
        exclusive(uri),
        pytest.raises(OutputError, match=r"process \d+ on .* is writing here"),
        exclusive(uri),
    ):
        pytest.fail("the second got in")


def test_of_many_that_start_at_once_one_gets_the_lock(tmp_path: Path) -> None:
    uri, inside, refused = str(tmp_path / "_lock"), [], []
    barrier, ended = threading.Barrier(6), threading.Event()

    def start() -> None:
        barrier.wait()
        try:
            with exclusive(uri):
                inside.append(1)
                ended.wait(10)
        except OutputError:
            refused.append(1)
            if len(refused) == 5:
                ended.set()

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


def write(file: Path, process: Process, **fields: object) -> None:
    """Writes the lock file of a process, as a run on this host does."""
    content = {"host": os.uname().nodename, "id": "x", "beat": 1} | asdict(process) | fields
    file.write_text(json.dumps(content))


@contextmanager
def beating(file: Path, process: Process) -> Iterator[None]:
    """Acts as the owner of a lock file, and changes the file while the block runs."""
    ended = threading.Event()

    def beat() -> None:
        number = 1
        while not ended.wait(0.02):
            number += 1
            temporary = file.with_suffix(".new")
            write(temporary, process, beat=number)
            temporary.replace(file)

    write(file, process)
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def this_process() -> Process:
    process = Process.current()
    assert process
    return process


def ended_process() -> Process:
    """A process of this boot and namespace that has ended."""
    code = """from fruits.storage.processes import Process; p = Process.current(); print(
    p.boot, p.namespace, p.pid, p.started)"""
    out = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    boot, namespace, pid, started = out.stdout.decode().split()
    return Process(boot, namespace, int(pid), int(started))


@pytest.mark.parametrize("place", ["boot", "namespace"])
def test_a_missing_local_process_may_be_alive_in_another_container_or_machine(
    tmp_path: Path, place: str
) -> None:
    # Containers may share a host name, and each counts its processes from 1.
    elsewhere = replace(ended_process(), **{place: "another"})
    with (
        beating(tmp_path / "_lock", elsewhere),
        pytest.raises(OutputError, match=f"process {elsewhere.pid} on .* is writing here"),
        exclusive(str(tmp_path / "_lock")),
    ):
        pytest.fail("the owner is alive")


@pytest.mark.parametrize("place", ["boot", "namespace"])
def test_a_local_process_with_the_same_id_does_not_keep_a_remote_lock_alive(
    tmp_path: Path, place: str
) -> None:
    file = tmp_path / "_lock"
    write(file, replace(this_process(), **{place: "another"}))
    with exclusive(str(file)) as lock:
        lock.require()


def test_a_reused_process_id_is_not_the_owner(tmp_path: Path) -> None:
    file = tmp_path / "_lock"
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        write(file, replace(this_process(), pid=parent.pid, started=1))
        with exclusive(str(file)) as lock:
            lock.require()
    finally:
        parent.communicate(b"\n")


def test_a_suspended_process_keeps_its_lock(tmp_path: Path) -> None:
    file = tmp_path / "_lock"
    code = """import sys, fruits.storage.lock as k
k.BEAT_SECONDS = 1e6
with k.exclusive(sys.argv[1]):
    print("in", flush=True)
    input()"""
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdout
    assert owner.stdout.readline() == b"in\n"
    with (
        pytest.raises(OutputError, match=f"process {owner.pid} on .* is writing here"),
        exclusive(str(file)),
    ):
        pytest.fail("the owner is alive")
    owner.communicate(b"\n")
    assert owner.returncode == 0
    assert not file.exists()


def test_a_lock_that_this_process_left_behind_is_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "_lock"
    write(file, this_process())
    with exclusive(str(file)) as lock:
        lock.require()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"host": "a", "pid": 1, "id"',
        b"\xff\xfe\x00",
        b"[1, 2]",
        b"null",
        b"{}",
        b'{"host": 5, "pid": "1", "id": [], "boot": 1, "namespace": {}, "started": null}',
        b'{"host": "a", "pid": -1, "id": "x", "started": 1e400}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_lock_that_does_not_change_is_taken_over(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "_lock"
    file.write_bytes(content)
    with exclusive(str(file)) as lock:
        lock.require()
    assert not file.exists()


def test_a_damaged_lock_that_changes_is_another_run(tmp_path: Path) -> None:
    file, ended = tmp_path / "_lock", threading.Event()
    file.write_bytes(b"{")

    def change() -> None:
        while not ended.wait(0.02):
            with file.open("ab") as end:
                end.write(b"x")

    thread = threading.Thread(target=change)
    thread.start()
    with (
        pytest.raises(OutputError, match=r"another run \(the file is damaged\) is writing here"),
        exclusive(str(file)),
    ):
        pytest.fail("the owner is alive")
    ended.set()
    thread.join()


def test_an_owner_whose_lock_file_is_damaged_stops_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "_lock"
    with pytest.raises(OutputError, match=r"lost .* to another run"), exclusive(str(file)):
        file.write_text("{")


def test_a_broken_link_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "_lock").symlink_to(tmp_path / "nothing")
    with (
        pytest.raises(OutputError, match="neither be created nor read"),
        exclusive(str(tmp_path / "_lock")),
    ):
        pytest.fail("there is no such place")


def test_control_characters_in_the_name_of_an_owner_are_escaped(tmp_path: Path) -> None:
    file = tmp_path / "_lock"
    with pytest.raises(OutputError) as raised, exclusive(str(file)):
        write(file, this_process(), pid=1, host="a\x1b[2Jb\nfruits: all is well")
    assert str(raised.value).isprintable()


def test_the_lock_of_another_machine_is_taken_over_when_it_does_not_change(tmp_path: Path) -> None:
    file = tmp_path / "_lock"
    file.write_text(json.dumps({"host": "elsewhere", "pid": 1, "id": "x", "beat": 7}))
    with exclusive(str(file)) as lock:
        lock.require()


def test_a_run_that_lost_its_lock_stops(tmp_path: Path) -> None:
    file = tmp_path / "_lock"
    with (
        pytest.raises(OutputError, match=r"lost .* to process 1 on elsewhere"),
        exclusive(str(file)),
    ):
        file.write_text(json.dumps({"host": "elsewhere", "pid": 1, "id": "x", "beat": 7}))


@pytest.mark.parametrize("below", ["", "/out"])
def test_a_file_in_place_of_the_folder_is_reported(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    place = f"{tmp_path}/file{below}"
    with (
        pytest.raises(OutputError, match=f"{place} is a file, or inside a file"),
        exclusive(f"{place}/_lock"),
    ):
        pytest.fail("there is no such place")


def test_a_place_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    place = f"{tmp_path}/{'x' * 300}/_lock"
    with (
        pytest.raises(OutputError, match=r"cannot be written: File name too long: give another"),
        exclusive(place),
    ):
        pytest.fail("there is no such place")


@pytest.mark.parametrize("content", [b"my own notes", b"", b"{}", b'{"pid": 1}', b"\xff"])
def test_a_file_that_is_not_a_lock_is_recognised(tmp_path: Path, content: bytes) -> None:
    place = Location.of(str(tmp_path / "_lock"))
    assert is_free_or_lock(place)
    with exclusive(place.uri):
        assert is_free_or_lock(place)
    (tmp_path / "_lock").write_bytes(content)
    assert not is_free_or_lock(place)
    assert (tmp_path / "_lock").read_bytes() == content


def test_a_place_below_a_file_is_free(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert is_free_or_lock(Location.of(f"{tmp_path}/file/out/_lock"))


def test_a_folder_is_not_a_lock(tmp_path: Path) -> None:
    (tmp_path / "_lock").mkdir()
    assert not is_free_or_lock(Location.of(str(tmp_path / "_lock")))
