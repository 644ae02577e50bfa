import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from listings import find_images
from numpy.typing import NDArray
from PIL import Image
from pyspark.sql import SparkSession

from fruits.errors import OutputError
from fruits.features.table import open_features
from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import Keep, featurize
from fruits.runs.config import RunConfig
from fruits.runs.pipeline import run
from fruits.sources.reading import contents_of
from fruits.tasks import extract as features

pytestmark = pytest.mark.spark


def config_of(images: Path, output: Path, chunk: int = 10_000) -> RunConfig:
    """A run without a classifier, which would take longer than the rest of the run."""
    options = {"backbone": "EfficientNetLite0", "classifier": "none", "chunk": chunk}
    return RunConfig(images=str(images), output=str(output), **options)  # type: ignore[arg-type]


def command_of(config: RunConfig) -> list[str]:
    """The command of such a run, for tests in a separate process."""
    names = ("images", "output", "backbone", "classifier", "chunk")
    options = [[f"--{name}", str(getattr(config, name))] for name in names]
    return [sys.executable, "-m", "fruits.cli", "run", *itertools.chain(*options)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that mounts a small disk, which requires a privileged user."""
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
    """Makes sure that the graph is in the cache before a run starts."""


@pytest.mark.usefixtures("kind_of_workers")
def test_a_full_disk_is_one_line_and_committed_features_stay(
    disk: Callable[[str], Path], draw: Callable[..., Path]
) -> None:
    folder = disk("size=1m")
    config = config_of(draw({"Fig": 200}), folder / "out", chunk=50)
    done = subprocess.run(command_of(config), capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "\nfruits: output: the disk is full" in done.stderr
    manifests = list((folder / "out" / "features" / "_chunks").glob("*.json"))
    assert manifests
    assert subprocess.run(["mount", "-o", "remount,size=64m", folder]).returncode == 0
    reused = len(manifests) * 50
    assert counts(config) == (200, 200 - reused, reused, 0)
    assert not pd.read_parquet(folder / "out" / "pca")["path"].duplicated().any()


@pytest.mark.usefixtures("kind_of_workers")
def test_a_disk_that_becomes_read_only_is_one_line(
    disk: Callable[[str], Path], draw: Callable[..., Path]
) -> None:
    folder = disk("size=64m")
    command = command_of(config_of(draw({"Fig": 150}), folder / "out", chunk=10))
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    chunks = folder / "out" / "features" / "_chunks"
    wait_for_a_commit(process, folder / "out")
    # The disk cannot be remounted while a file is open for writing.
    while subprocess.run(["mount", "-o", "remount,ro", folder], capture_output=True).returncode:
        assert process.poll() is None
    _, stderr = process.communicate()
    assert process.returncode == 2, stderr
    assert "\nfruits: output: it can no longer be written (read-only file system)" in stderr
    assert list(chunks.glob("*.json"))


@pytest.mark.usefixtures("kind_of_workers")
def test_a_run_that_is_interrupted_twice_prints_one_line_each_time_and_continues(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    config = config_of(draw({"Fig": 150}), tmp_path / "out", chunk=10)
    first = interrupt(config, signal.SIGINT)
    second = interrupt(config, signal.SIGTERM, first)
    assert 0 < first < second < 150
    assert counts(replace(config, chunk=1000)) == (150, 150 - second, second, 0)


def interrupt(config: RunConfig, number: signal.Signals, before: int = 0) -> int:
    """Interrupts a run after it has committed some images; returns the number of all committed."""
    out = Path(config.output)
    process = subprocess.Popen(
        command_of(config), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for_a_commit(process, out, before)
    # Ctrl-C is sent to all processes of a terminal, SIGTERM only to the given process.
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, stderr = process.communicate()
    assert process.returncode == 130, stderr
    last = stderr.replace("\r", "\n").splitlines()[-1]
    committed = committed_in(out)
    assert committed
    assert last == (
        f"fruits: interrupted; the features of {committed} images are committed in {out}: "
        "the same command continues from there"
    )
    assert "Traceback" not in stderr
    assert not (out / "_lock").exists()
    return committed


def test_photographs_of_200_megapixels_and_of_20_megabytes_have_features(
    draw: Callable[..., Path], tmp_path: Path
) -> None:
    root = draw({"Fig": 12})
    Image.linear_gradient("L").resize((16384, 12288)).save(root / "Fig" / "large.jpg")
    noise = Image.frombytes("RGB", (3000, 2400), os.urandom(3000 * 2400 * 3))
    noise.save(root / "Fig" / "heavy.png")
    assert (root / "Fig" / "heavy.png").stat().st_size > 20e6
    assert counts(config_of(root, tmp_path / "out")) == (14, 14, 0, 0)


@pytest.fixture
def ruled_by_modes() -> list[str]:
    """A prefix for commands that must obey file permissions, even if root starts them."""
    if os.geteuid():
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv is missing, and root may do everything")
    return [setpriv, "--bounding-set", "-dac_override,-dac_read_search"]


@pytest.mark.usefixtures("kind_of_workers")
def test_a_lost_write_permission_is_one_line_and_the_next_run_continues(
    ruled_by_modes: list[str], draw: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    config = config_of(draw({"Fig": 150}), out, chunk=10)
    command = [*ruled_by_modes, *command_of(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    chunks = out / "features" / "_chunks"
    wait_for_a_commit(process, out)
    for folder in (chunks, *(out / "features").rglob("*/"), out / "features", out):
        folder.chmod(0o555)
    _, stderr = process.communicate()
    assert process.returncode == 2, stderr
    last = stderr.splitlines()[-1]
    assert last.startswith("fruits: output: it can no longer be written (permission denied)")
    committed = len(list(chunks.glob("*.json")))
    for folder in (out, out / "features", *(out / "features").rglob("*/")):
        folder.chmod(0o755)
    continued = counts(replace(config, chunk=1000))
    assert continued == (150, 150 - 10 * committed, 10 * committed, 0)
    assert not pd.read_parquet(out / "pca")["path"].duplicated().any()


def test_images_without_read_permission_are_rejected_and_retried(
    ruled_by_modes: list[str], draw: Callable[..., Path], tmp_path: Path
) -> None:
    root, out = draw({"Fig": 30, "Kiwi": 30}), tmp_path / "out"
    for file in (root / "Kiwi").iterdir():
        file.chmod(0)
    config = config_of(root, out)
    done = subprocess.run([*ruled_by_modes, *command_of(config)], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "30 of 60 were (50.00%)" in done.stderr.splitlines()[-1]
    rejected = pd.read_parquet(out / "rejected")
    assert set(rejected["label"]) == {"Kiwi"}
    assert rejected["error"].str.startswith("unreadable: ").all()
    assert rejected["error"].str.contains("Permission denied").all()
    for file in (root / "Kiwi").iterdir():
        file.chmod(0o644)
    assert counts(config) == (60, 30, 30, 0)


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
    # Another length with the old time.
    before = files[2].stat()
    files[2].write_bytes(files[3].read_bytes() + b"grown")
    assert files[2].stat().st_size != before.st_size
    os.utime(files[2], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert counts(config) == (12, 1, 11, 0)
    # An earlier time with the old length: one file has other content; the others have the same
    # content, so the CNN does not run for them.
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
    listing = find_images(str(root)).images
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

    table, outcome = features._rows(
        listing, graph, np.empty(0, np.uint64), contents_of, counting, 600.0
    )
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


def committed_in(output: Path) -> int:
    """The number of committed images."""
    try:
        return open_features(str(output)).count_rows()
    except OutputError:
        return 0


def wait_for_a_commit(process: "subprocess.Popen[str]", output: Path, before: int = 0) -> None:
    """Waits until a run has committed more than `before` images."""
    deadline = time.monotonic() + 120
    while committed_in(output) <= before:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
