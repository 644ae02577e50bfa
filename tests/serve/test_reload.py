"""Replacing the model under load, damaged models, killed processes, and the end of a server."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from loads import Load, version
from models import ROOT, Server, served, wait_for

QUICK = ("--reload-seconds", "0.3")


@pytest.fixture
def place(model: Path, tmp_path: Path) -> Path:
    """An output that a test may change."""
    shutil.copytree(model, tmp_path / "output")
    return tmp_path / "output"


def replace(output: Path, predictor: Path) -> None:
    """Replaces the predictor, the manifest last, like a run."""
    for file in sorted(predictor.iterdir(), key=lambda file: file.name == "predictor.json"):
        shutil.copy(file, output / "predictor" / file.name)


def cut_short(folder: Path, other: Path) -> None:
    """Another predictor with a truncated graph."""
    (folder / "predictor.json").unlink()
    for file in other.iterdir():
        content = file.read_bytes()
        if file.name != "predictor.json":
            (folder / file.name).write_bytes(content[: -(file.name == "graph.bin") or None])
    shutil.copy(other / "predictor.json", folder / "predictor.json")


def without_a_file(folder: Path, _: Path) -> None:
    (folder / "classifier.npz").unlink()


def without_sense(folder: Path, _: Path) -> None:
    (folder / "predictor.json").write_text("{")


def test_a_new_model_is_loaded_under_load_without_a_lost_request(
    place: Path, other: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    with served(place, tmp_path, *QUICK, "--workers", "2") as server:
        before = version(server)
        old = server.predict(photographs[0]).json()["predictions"][0]["distance"]
        with Load(server, photographs) as load:
            replace(place, other)
            wait_for(lambda: version(server) != before)
            count = len(load.statuses)
            wait_for(lambda: len(load.statuses) > count + 8)
        assert set(load.statuses) == {200}
        assert load.versions == {before, version(server)}
        assert server.predict(photographs[0]).json()["predictions"][0]["distance"] != old
        assert server.metric('fruits_model_loads_total{outcome="taken over"}') == 1
        assert server.metric(f'fruits_model_info{{version="{version(server)}"}}') == 1
        assert server.metric(f'fruits_model_info{{version="{before}"}}') == 0


def test_a_damaged_or_incomplete_model_is_refused_and_the_old_one_remains(
    place: Path, other: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    refused = 'fruits_model_loads_total{outcome="refused"}'
    with served(place, tmp_path, *QUICK) as server:
        before = version(server)
        expected = server.predict(photographs[0]).json()
        count = 0.0
        for damage in (cut_short, without_a_file, without_sense):
            damage(place / "predictor", other)
            wait_for(lambda: server.metric(refused) > count)  # noqa: B023
            count = server.metric(refused)
            assert version(server) == before
        # A killed process is restarted with the old model, whatever is at the location.
        kill_predictors(server)
        assert server.predict(photographs[0]).json() == expected
        assert version(server) == before
        assert str(place) in server.log.read_text()
        replace(place, other)
        wait_for(lambda: version(server) != before)


def test_a_location_that_is_unreachable_for_a_while_changes_nothing(
    place: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    with served(place, tmp_path, *QUICK) as server:
        before = version(server)
        place.rename(tmp_path / "away")  # Like a disk that is not mounted any more.
        wait_for(lambda: server.metric("fruits_model_place_readable") == 0)
        assert "the location of the model cannot be read" in server.log.read_text()
        assert server.predict(photographs[0]).status_code == 200
        (tmp_path / "away").rename(place)
        wait_for(lambda: server.metric("fruits_model_place_readable") == 1)
        assert version(server) == before
        assert server.metric('fruits_model_loads_total{outcome="refused"}') == 0


# The next call of a method of the file system fails if a file says so.
FAILING = """
import os
import fsspec.implementations.local as local
original = local.LocalFileSystem.{method}
def failing(*arguments, **options):
    if os.path.exists("{file}"):
        os.remove("{file}")
        raise {error}
    return original(*arguments, **options)
local.LocalFileSystem.{method} = failing
"""


@contextmanager
def failing(
    place: Path, other: Path, tmp_path: Path, method: str, error: str
) -> Iterator[tuple[Server, str]]:
    """A server whose file system fails once while it takes over a new model; its old version."""
    file = tmp_path / "fail"
    script = FAILING.format(method=method, error=error, file=file)
    (tmp_path / "sitecustomize.py").write_text(script)
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with served(place, tmp_path, *QUICK, environment=environment) as server:
        before = version(server)
        file.touch()
        replace(place, other)
        yield server, before


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("get_file", "OSError(5, 'no answer')"),
        # As of a client of a store that has exceptions of its own.
        ("get_file", "RuntimeError('no answer')"),
        ("find", "RuntimeError('no answer')"),
    ],
)
def test_a_new_model_is_loaded_after_a_request_to_its_store_has_failed(
    place: Path, other: Path, tmp_path: Path, method: str, error: str
) -> None:
    with failing(place, other, tmp_path, method, error) as (server, before):
        wait_for(lambda: version(server) != before)
        assert "no answer" in server.log.read_text()
        assert server.metric('fruits_model_loads_total{outcome="refused"}') == 0


def test_a_new_model_is_loaded_after_its_disk_was_away_during_the_copy(
    place: Path, other: Path, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    # The error is the real one of a folder that is not there.
    leave = f"os.rename('{place}', '{away}') or open('{place}/predictor/graph.bin')"
    with failing(place, other, tmp_path, "get_file", leave) as (server, before):
        wait_for(lambda: server.metric("fruits_model_place_readable") == 0)
        away.rename(place)
        wait_for(lambda: version(server) != before)
        assert server.metric('fruits_model_loads_total{outcome="refused"}') == 0
        assert server.metric('fruits_model_loads_total{outcome="failed"}') == 1


# Kills a process while it loads a model, and adds the time to a file.
CRASHING = """
import os, signal, time
import fruits.predictor as predictor
if os.path.exists("{file}"):
    def crash(folder):
        with open("{file}", "a") as file:
            file.write(f"{{time.monotonic()}}\\n")
        os.kill(os.getpid(), signal.SIGKILL)
    predictor.Predictor.load = crash
"""


def test_a_new_model_whose_processes_crash_is_tried_again_after_longer_and_longer_pauses(
    place: Path, other: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tries"
    (tmp_path / "sitecustomize.py").write_text(CRASHING.format(file=file))
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    failed = 'fruits_model_loads_total{outcome="failed"}'
    with served(place, tmp_path, "--reload-seconds", "0.1", environment=environment) as server:
        before = version(server)
        file.touch()
        replace(place, other)
        wait_for(lambda: server.metric(failed) == 5)
        times = [float(line) for line in file.read_text().split()]
        # The fifth try comes 8 checks after the fourth one.
        assert times[4] - times[3] > 0.8
        assert "died of SIGKILL" in server.log.read_text()
        assert version(server) == before
        file.unlink()
        wait_for(lambda: version(server) != before)


def test_a_full_disk_delays_a_new_model_only(place: Path, other: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with served(place, tmp_path, *QUICK, environment={"TMPDIR": str(temporary)}) as server:
        before = version(server)
        temporary.rename(tmp_path / "away")  # Like a disk on which no folder can be made.
        replace(place, other)
        wait_for(lambda: "cannot be loaded now" in server.log.read_text())
        assert version(server) == before
        assert f"room for a copy of the model in {temporary}" in server.log.read_text()
        (tmp_path / "away").rename(temporary)
        wait_for(lambda: version(server) != before)
        wait_for(lambda: len(list(temporary.iterdir())) == 1)


# Makes each copy of a file take long, as from a store.
SLOW = """
import time
import fsspec.implementations.local as local
get_file = local.LocalFileSystem.get_file
def slow(*arguments, **options):
    time.sleep({seconds})
    return get_file(*arguments, **options)
local.LocalFileSystem.get_file = slow
"""


def slowly(folder: Path, seconds: float) -> tuple[Path, dict[str, str]]:
    """A folder for temporary files, and the environment of a server that copies slowly."""
    (folder / "sitecustomize.py").write_text(SLOW.format(seconds=seconds))
    (folder / "temporary").mkdir()
    python_path = f"{folder}:{ROOT}"
    return folder / "temporary", {
        "TMPDIR": str(folder / "temporary"),
        "PYTHONPATH": python_path,
    }


def test_no_copy_of_a_model_remains_if_the_server_stops_while_it_loads_another(
    place: Path, other: Path, tmp_path: Path
) -> None:
    temporary, environment = slowly(tmp_path, 0.3)
    with served(place, tmp_path, *QUICK, environment=environment) as server:
        replace(place, other)
        wait_for(lambda: len(list(temporary.iterdir())) == 2)
        assert server.end() == 0
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_first_copy_ends_it_after_the_present_file_and_no_copy_remains(
    place: Path, tmp_path: Path, number: int
) -> None:
    temporary, environment = slowly(tmp_path, 2)
    process = subprocess.Popen(
        [*(sys.executable, "-m", "fruits.cli", "serve", "--model", str(place), "--port", "0")],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        # Some shells start programs in the background with Ctrl-C turned off.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(lambda: list(temporary.iterdir()))
    process.send_signal(number)
    started = time.monotonic()
    _, errors = process.communicate(timeout=60)
    # Less than half of the time of the files after the first one.
    assert time.monotonic() - started < len(list((place / "predictor").iterdir()))
    assert (process.returncode, errors) == (130, "fruits: interrupted\n")
    assert list(temporary.iterdir()) == []


def predictors(server: Server) -> list[int]:
    """The processes that a server has started."""
    found = subprocess.run(
        ["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=False
    )
    return [int(number) for number in found.stdout.split()]


def kill_predictors(server: Server) -> None:
    numbers = predictors(server)
    for number in numbers:
        os.kill(number, signal.SIGKILL)
    wait_for(lambda: not any(Path(f"/proc/{number}").exists() for number in numbers))


def test_a_process_that_was_killed_between_two_photographs_is_restarted_for_the_next_one(
    model: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    with served(model, tmp_path) as server:
        expected = server.predict(photographs[0]).json()
        first = predictors(server)
        kill_predictors(server)
        answers = [server.predict(photographs[0]) for _ in range(3)]
        assert [answer.json() for answer in answers] == [expected] * 3
        assert server.metric("fruits_predictor_deaths") == 1
        assert "between two batches, the process that decodes died of SIGKILL" in (
            server.log.read_text()
        )
        assert set(predictors(server)).isdisjoint(first)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_after_the_running_requests(
    model: Path, photographs: list[bytes], tmp_path: Path, number: int
) -> None:
    with served(model, tmp_path) as server:

        def slow_body() -> Iterator[bytes]:
            for n in range(0, len(photographs[0]), 500):
                yield photographs[0][n : n + 500]
                time.sleep(0.3)

        answers: list[httpx.Response] = []
        thread = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{server.url}/predict", content=slow_body(), timeout=60)
            )
        )
        thread.start()
        wait_for(lambda: server.metric("fruits_buffered_bytes") > 0)
        children = predictors(server)
        status = server.end(number)
        thread.join()
        assert [answer.status_code for answer in answers] == [200]
        assert status == 0
        assert children
        assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_no_request_is_lost_when_it_ends_under_load(
    model: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    lost: list[Exception] = []
    statuses: set[int] = set()
    with served(model, tmp_path, "--workers", "2") as server:

        def ask() -> None:
            with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
                while True:
                    try:
                        statuses.add(client.post("/predict", content=photographs[0]).status_code)
                    except httpx.ConnectError:  # It accepts no new connection any more.
                        return
                    except httpx.HTTPError as error:
                        lost.append(error)

        with ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(ask) for _ in range(8)]
            wait_for(lambda: 200 in statuses)
            time.sleep(1)
            assert server.end() == 0
            for one in asking:
                one.result()
    assert not lost
    assert statuses == {200}


def test_photographs_are_kept_with_consent_only_and_as_folders_that_a_run_reads(
    model: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    with served(model, tmp_path, "--keep-uploads", str(kept)) as server:
        assert server.client.get("/model").json()["keeps_uploads"] is True
        assert server.predict(*photographs[:6]).json()["kept"] == 0
        assert not kept.exists()
        files = [("files", ("../../x.jpg", one)) for one in (*photographs[:6], b"no picture")]
        answer = server.client.post("/predict", files=files, data={"keep": "true"}).json()
        assert answer["kept"] == 6
        again = server.client.post("/predict?keep=true", content=photographs[0]).json()
        assert again["kept"] == 1
    expected = {
        ("unknown" if one["unknown"] else one["label"], content)
        for one, content in zip(answer["predictions"], photographs[:6], strict=False)
    }
    files_kept = [file for file in kept.rglob("*") if file.is_file()]
    assert {(file.parent.name, file.read_bytes()) for file in files_kept} == expected
    assert {file.suffix for file in files_kept} == {".jpg"}
    assert {file.parent.parent for file in files_kept} == {kept}


def test_photographs_that_cannot_be_stored_are_still_predicted(
    model: Path, photographs: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with served(model, tmp_path, "--keep-uploads", str(tmp_path / "file")) as server:
        answer = server.predict(photographs[0], keep="true")
        assert answer.status_code == 200
        assert answer.json()["kept"] == 0
        log = server.log.read_text()
        assert "could not be kept" in log
        assert answer.json()["predictions"][0]["label"] not in log
