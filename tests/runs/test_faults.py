import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from pyspark.sql import SparkSession

from fruits.features.table import open_features
from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import Keep, featurize
from fruits.runs.config import RunConfig
from fruits.runs.pipeline import run
from fruits.sources.folder import Folder, list_images
from fruits.spark import extract as features

pytestmark = pytest.mark.spark

COMMAND = [sys.executable, "-m", "fruits.cli", "run", "--backbone", "EfficientNetLite0"]
COMMAND += ["--classifier", "none"]  # It would take longer than what is tested here.


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A small disk of its own; mounting one takes a privileged user."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True
        )
        if done.returncode:
            pytest.skip("only a privileged user may mount a disk")
        return folder

    yield mount
    subprocess.run(["umount", "--lazy", folder], capture_output=True)


@pytest.fixture(autouse=True)
def _compiled(graph: CompiledGraph) -> None:
    """The graph is in the cache before a run is started."""


def test_a_full_disk_is_one_line_and_leaves_what_was_committed(
    disk: Callable[[str], Path], draw: Callable[..., Path]
) -> None:
    folder = disk("size=2m")
    command = [*COMMAND, "--images", str(draw({"Fig": 400})), "--output", f"{folder}/out"]
    command += ["--chunk", "100"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "\nfruits: output: the disk is full" in done.stderr
    manifests = list((folder / "out" / "features" / "_chunks").glob("*.json"))
    assert manifests
    assert subprocess.run(["mount", "-o", "remount,size=64m", folder]).returncode == 0
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reused = len(manifests) * 100
    assert f"{400 - reused} extracted" in done.stdout
    assert f"{reused} reused" in done.stdout
    assert not pd.read_parquet(folder / "out" / "pca")["path"].duplicated().any()


def test_a_disk_that_becomes_read_only_is_one_line(
    disk: Callable[[str], Path], draw: Callable[..., Path]
) -> None:
    folder = disk("size=64m")
    command = [*COMMAND, "--images", str(draw({"Fig": 600})), "--output", f"{folder}/out"]
    process = subprocess.Popen([*command, "--chunk", "20"], stderr=subprocess.PIPE, text=True)
    chunks = folder / "out" / "features" / "_chunks"
    wait_for_a_chunk(process, chunks)
    # A file that is open for writing keeps the disk from being remounted.
    while subprocess.run(["mount", "-o", "remount,ro", folder], capture_output=True).returncode:
        assert process.poll() is None
    _, stderr = process.communicate()
    assert process.returncode == 2, stderr
    assert "\nfruits: output: it can no longer be written (read-only file system)" in stderr
    assert list(chunks.glob("*.json"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_one_line_and_goes_on(
    draw: Callable[..., Path], tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    command = [*COMMAND, "--images", str(draw({"Fig": 600})), "--output", str(out)]
    process = subprocess.Popen(
        [*command, "--chunk", "20"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for_a_chunk(process, out / "features" / "_chunks")
    # Ctrl-C reaches every process of a terminal, a request to end only the one that is named.
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, stderr = process.communicate()
    assert process.returncode == 130, stderr
    last = stderr.replace("\r", "\n").splitlines()[-1]
    committed = open_features(str(out)).count_rows()
    assert committed
    assert last == (
        f"fruits: interrupted; the features of {committed} images are committed in {out}: "
        "the same command continues from there"
    )
    assert "Traceback" not in stderr
    assert not (out / "_lock").exists()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"600 images: {600 - committed} extracted" in done.stdout


def test_a_photograph_of_200_megapixels_and_one_of_20_megabytes_are_images_like_others(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 12})
    Image.linear_gradient("L").resize((16384, 12288)).save(root / "Fig" / "large.jpg")
    noise = Image.frombytes("RGB", (3000, 2400), os.urandom(3000 * 2400 * 3))
    noise.save(root / "Fig" / "heavy.png")
    assert (root / "Fig" / "heavy.png").stat().st_size > 20e6
    command = [*COMMAND, "--images", str(root), "--output", f"{tmp_path}/out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "14 images: 14 extracted" in done.stdout


@pytest.fixture
def ruled_by_modes() -> list[str]:
    """What to put before a command that modes shall bind even where root starts it."""
    if os.geteuid():
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv is missing, and root may do everything")
    return [setpriv, "--bounding-set", "-dac_override,-dac_read_search"]


def test_a_permission_to_write_that_is_lost_is_one_line_and_the_next_run_goes_on(
    ruled_by_modes: list[str], draw: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [*ruled_by_modes, *COMMAND, "--images", str(draw({"Fig": 600})), "--output", str(out)]
    process = subprocess.Popen([*command, "--chunk", "20"], stderr=subprocess.PIPE, text=True)
    chunks = out / "features" / "_chunks"
    wait_for_a_chunk(process, chunks)
    for folder in (chunks, *(out / "features").rglob("*/"), out / "features", out):
        folder.chmod(0o555)
    _, stderr = process.communicate()
    assert process.returncode == 2, stderr
    last = stderr.splitlines()[-1]
    assert last.startswith("fruits: output: it can no longer be written (permission denied)")
    committed = len(list(chunks.glob("*.json")))
    for folder in (out, out / "features", *(out / "features").rglob("*/")):
        folder.chmod(0o755)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{600 - 20 * committed} extracted" in done.stdout
    assert not pd.read_parquet(out / "pca")["path"].duplicated().any()


def test_images_whose_permission_is_lost_are_rejected_and_tried_again(
    ruled_by_modes: list[str], draw: Callable[..., Path], tmp_path: Path
) -> None:
    root, out = draw({"Fig": 30, "Kiwi": 30}), tmp_path / "out"
    for file in (root / "Kiwi").iterdir():
        file.chmod(0)
    command = [*ruled_by_modes, *COMMAND, "--images", str(root), "--output", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "30 of 60 were (50.00%)" in done.stderr.splitlines()[-1]
    rejected = pd.read_parquet(out / "rejected")
    assert set(rejected["label"]) == {"Kiwi"}
    assert rejected["error"].str.startswith("unreadable: ").all()
    assert rejected["error"].str.contains("Permission denied").all()
    for file in (root / "Kiwi").iterdir():
        file.chmod(0o644)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for told in ("60 images: 30 extracted", " 30 reused", " 0 rejected"):
        assert told in done.stdout


def test_wrong_clocks_neither_hide_a_change_nor_cause_a_false_one(
    spark: SparkSession, draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 12}) / "Fig"
    files = sorted(root.iterdir())
    times = [0, -86_400, 4_102_444_800, 1_700_000_000.123456]
    for number, file in enumerate(files):
        os.utime(file, (times[number % 4],) * 2)
    options = {"output": f"{tmp_path}/out", "backbone": "EfficientNetLite0", "components": 4}
    config = RunConfig(images=str(root.parent), **options)  # type: ignore[arg-type]
    assert counts(config) == (12, 12, 0, 0)
    assert counts(config) == (12, 0, 12, 0)
    # Another length, and the old time.
    before = files[2].stat()
    files[2].write_bytes(files[3].read_bytes() + b"grown")
    assert files[2].stat().st_size != before.st_size
    os.utime(files[2], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert counts(config) == (12, 1, 11, 0)
    # Another time, earlier than before, and the old length: other content in one, the same in all
    # others, which costs no CNN.
    content = bytearray(files[5].read_bytes())
    content[-3:-2] = bytes([content[-3] ^ 1])
    files[5].write_bytes(content)
    for file in files:
        os.utime(file, (-200_000, -200_000))
    assert counts(config) == (12, 1, 11, 0)
    rows = pd.read_parquet(tmp_path / "out" / "features").set_index("path")
    assert rows.index.is_unique
    for file in files:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert rows.loc[f"file:{file}", "sha256"] == digest
        assert rows.loc[f"file:{file}", "modified"].timestamp() == -200_000


def test_files_of_the_same_content_cost_one_cnn_pass_and_are_rejected_together(
    graph: CompiledGraph, draw: Callable[..., Path]
) -> None:
    root = draw({"Fig": 3})
    picture = (root / "Fig" / "1_100.jpg").read_bytes()
    for name in ("a.jpg", "z.jpg"):
        (root / "Fig" / name).write_bytes(picture)
    for name in ("bad.jpg", "worse.jpg"):
        (root / "Fig" / name).write_bytes(b"no picture")
    for name in ("gone.jpg", "lost.jpg", "empty.jpg"):
        (root / "Fig" / name).write_bytes(b"")
    listing = list_images(str(root))
    for name in ("gone.jpg", "lost.jpg"):
        (root / "Fig" / name).unlink()
    seen: list[bytes | Exception] = []

    def counting(
        contents: Iterable[bytes | Exception], graph: CompiledGraph, keep: Keep
    ) -> Iterator[NDArray[np.float32] | str]:
        def passing() -> Iterator[bytes | Exception]:
            for content in contents:
                seen.append(content)
                yield content

        return featurize(passing(), graph, keep)

    read = Folder(str(root)).contents
    table, outcome = features._rows(listing, graph, np.empty(0, np.uint64), read, counting, 600.0)
    rows = table.to_pandas().set_index("path")
    assert rows["thumbnail"].notna().all()
    assert seen.count(picture) == 1
    assert seen.count(b"no picture") == 1
    names = {path.rpartition("/")[2] for path in rows.index}
    assert names == {"0_100.jpg", "1_100.jpg", "2_100.jpg", "a.jpg", "z.jpg"}
    (expected,) = list(featurize([picture], graph))
    for name in ("1_100.jpg", "a.jpg", "z.jpg"):
        row = rows.loc[f"file:{root}/Fig/{name}"]
        np.testing.assert_array_equal(row["features"], expected)
        assert row["sha256"] == hashlib.sha256(picture).hexdigest()
    reasons = {path.rpartition("/")[2]: reason for path, reason in outcome.rejected.items()}
    assert reasons["bad.jpg"] == reasons["worse.jpg"]
    assert reasons["bad.jpg"].startswith("not an image")
    assert reasons["empty.jpg"].startswith("not an image: empty")
    for name in ("gone.jpg", "lost.jpg"):
        assert reasons[name].startswith("unreadable: ")
    assert len(reasons) + len(rows) == listing.num_rows


def counts(config: RunConfig) -> tuple[int, int, int, int]:
    found = run(config).report["counts"]
    return found["found"], found["extracted"], found["reused"], found["rejected"]


def wait_for_a_chunk(process: "subprocess.Popen[str]", chunks: Path) -> None:
    deadline = time.monotonic() + 120
    while not list(chunks.glob("*.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
