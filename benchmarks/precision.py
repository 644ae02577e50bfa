"""Measures the effect of a lower precision on features, explained variance and speed.

    python -m benchmarks.precision --images DIR [--count N] [--int8]

It compares bfloat16, and int8 calibrated with images of the same folder, with float32, on one
thread.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.environments import python_of
from benchmarks.inputs import DATA, ROOT, subset
from benchmarks.report import table, write_json
from fruits.features.moments import Moments
from fruits.images.decode import decode
from fruits.networks.compile import compile_backbone
from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import GROUP, load
from fruits.reduction.fit import choose_components, principal_axes, scaling

Pixels = NDArray[np.uint8]
Features = NDArray[np.float32]

# The number of images that calibrate the int8 network; nncf recommends 300.
CALIBRATION = 300


def main() -> None:
    options = _options()
    graph, network = network_of(options.backbone, options.weights)
    files = sorted(subset(options.images.resolve(), options.count).glob("*/*.jpg"))
    labels = np.array([file.parent.name for file in files])
    pixels = np.stack([decode(file.read_bytes(), graph.input) for file in files])
    exact, speed = timed(network, pixels)
    report = {"f32": {"images_per_second": speed} | quality(exact, labels)}
    others = {
        "bf16": lambda: timed(network_of(options.backbone, options.weights, "bf16")[1], pixels)
    }
    if options.int8:
        others["int8"] = lambda: quantised(graph, pixels)
    for name, features_of in others.items():
        try:
            features, speed = features_of()
        except RuntimeError as error:
            report[name] = {"error": str(error)}
            continue
        report[name] = {"images_per_second": speed} | quality(features, labels)
        report[name] |= movement(exact, features)
        shares = [_explained(x)[: report["f32"]["components"]] for x in (exact, features)]
        report[name]["change of variance"] = float(np.abs(np.subtract(*shares)).max())
    print(describe(report))
    write_json({"backbone": options.backbone, "images": len(files), **report}, _file())


def describe(report: dict[str, dict[str, Any]]) -> str:
    """A table with a column for each precision."""
    names = dict.fromkeys(key for figures in report.values() for key in figures)
    lines = [[name, *(figures.get(name) for figures in report.values())] for name in names]
    return table(lines, ["", *report])


def network_of(
    backbone: str, weights: str, precision: str = "f32"
) -> tuple[CompiledGraph, Callable[[Pixels], Features]]:
    """A compiled backbone, and a function that computes the features of any number of images."""
    graph = compile_backbone(backbone, weights, precision=precision)
    return graph, load(graph)


def timed(network: Callable[[Pixels], Features], pixels: Pixels) -> tuple[Features, float]:
    """The features, and the images per second after the first batch."""
    network(pixels[:GROUP])
    begin = time.perf_counter()
    features = network(pixels)
    return features, len(pixels) / (time.perf_counter() - begin)


def movement(exact: Features, other: Features) -> dict[str, float]:
    """The difference from the exact features: in direction, and relative to their length."""
    lengths = np.linalg.norm(exact, axis=1)
    cosine = (exact * other).sum(axis=1) / (lengths * np.linalg.norm(other, axis=1))
    relative = np.linalg.norm(other - exact, axis=1) / lengths
    return {
        "cosine, mean": float(cosine.mean()),
        "cosine, least": float(cosine.min()),
        "relative, mean": float(relative.mean()),
        "relative, greatest": float(relative.max()),
    }


def quality(features: Features, labels: NDArray[Any]) -> dict[str, Any]:
    """Components for 97 % of the variance, and how often the nearest image has the same label."""
    explained = _explained(features)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -1)
    return {
        "components": choose_components(explained[: len(features)], 0.97),
        "variance of 10": float(explained[:10].sum()),
        "neighbour's label": float((labels[likeness.argmax(axis=1)] == labels).mean()),
    }


def quantised(graph: CompiledGraph, pixels: Pixels) -> tuple[Features, float]:
    """The features and the speed of the network in int8, computed in a separate environment.

    Raises:
        RuntimeError: the environment cannot be installed, or the program fails.
    """
    folder = DATA / "int8"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph").write_bytes(replace(graph, precision="f32").to_bytes())
    np.save(folder / "pixels.npy", pixels)
    command = [python_of("nncf"), "-m", "benchmarks.quantise", str(folder), str(CALIBRATION)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    speed = json.loads((folder / "figures.json").read_text())["images_per_second"]
    return np.load(folder / "features.npy"), speed


def _explained(features: Features) -> NDArray[np.float64]:
    moments = Moments.of(features)
    return principal_axes(moments, scaling(moments, "minmax")[0])[0]


def _file() -> Path:
    return DATA / "precision.json"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--count", type=int, default=1_000, help="(%(default)s)")
    parser.add_argument("--int8", action="store_true", help="also measure int8")
    parser.add_argument("--backbone", default="EfficientNetLite0", help="(%(default)s)")
    parser.add_argument("--weights", default="imagenet", help="(%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
