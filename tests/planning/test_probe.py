import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from listings import find_images

from fruits.errors import InputError
from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import featurize
from fruits.planning.probe import probe
from fruits.sources.parts import Parts


@pytest.mark.slow
def test_a_probe_measures_some_images_and_counts_the_bad_ones(
    graph: CompiledGraph, draw: Callable[..., Path]
) -> None:
    root = draw({"Fig": 20, "Plum": 20})
    for number in range(4):
        (root / "Fig" / f"{number}_100.jpg").write_bytes(b"no picture")
    (root / "Plum" / "7_100.jpg").unlink()
    listing = find_images(str(root)).images
    (root / "Plum" / "8_100.jpg").unlink()
    probed = probe(Parts.of(listing), graph)
    assert (probed.images, probed.rejected) == (39, 5)
    assert (probed.pixels, probed.most_pixels) == (10_000, 10_000)
    assert 0 < probed.read < probed.read + probed.decode + probed.network < 5
    assert 20_000_000 < probed.memory < 1_000_000_000
    assert 0.3 * 4 * graph.dimension < probed.row < 1.1 * 4 * graph.dimension + 100
    contents = [file.read_bytes() for file in root.glob("*/*.jpg")]
    pictures: list[bytes | None] = []
    list(featurize(contents, graph, pictures.append))
    lengths = [len(picture) for picture in pictures if picture]
    assert probed.thumbnail == pytest.approx(sum(lengths) / len(lengths))
    assert len(lengths) == 34


def test_an_image_that_crashes_a_probe_ends_the_plan_with_one_line(
    graph: CompiledGraph,
    draw: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing = find_images(str(draw({"Fig": 5}))).images
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import os, fruits.networks.runtime as engines\nengines.decode = lambda *_: os._exit(139)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    with pytest.raises(InputError, match="one of the 6 that were tried crashes"):
        probe(Parts.of(listing), graph)


@pytest.mark.slow
def test_a_script_without_a_guard_is_not_run_again_by_an_estimate(
    graph: CompiledGraph, draw: Callable[..., Path], tmp_path: Path
) -> None:
    images, script = draw({"Fig": 4}), tmp_path / "script.py"
    script.write_text(
        "import fruits\n"
        "print('started')\n"
        f"places = {{'images': {str(images)!r}, 'output': {str(tmp_path / 'out')!r}}}\n"
        f"config = fruits.RunConfig(**places, backbone={graph.backbone!r})\n"
        "print(fruits.estimate(config).images)\n"
    )
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.splitlines() == ["started", "4"]
