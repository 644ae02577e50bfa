import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from fruits.engines import CompiledGraph

COMMAND = [sys.executable, "-m", "fruits.cli", "run", "--backbone", "EfficientNetLite0"]


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
    deadline = time.monotonic() + 120
    while not list(chunks.glob("*.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # A file that is open for writing keeps the disk from being remounted.
    while subprocess.run(["mount", "-o", "remount,ro", folder], capture_output=True).returncode:
        assert process.poll() is None
    _, stderr = process.communicate()
    assert process.returncode == 2, stderr
    assert "\nfruits: output: it can no longer be written (read-only file system)" in stderr
    assert list(chunks.glob("*.json"))


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
