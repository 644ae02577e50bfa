"""Photographs with one or two bright halves, a detector for them, and the results of a run."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from detectors import INPUT, bright_halves, two_halves, write_detector
from onnx_bytes import colours
from PIL import Image

from fruits.networks.compile import compile_backbone
from fruits.networks.runtime import featurize
from fruits.runs.config import RunConfig
from fruits.sources.boxes import fragment

LIGHTS = [(210, 30), (40, 200), (190, 220)]  # left half, right half


def write_nets(root: Path) -> Path:
    """Writes a folder with a network for mean colours, and one with a detector of bright halves."""
    (root / "colours").mkdir()
    weights = np.random.default_rng(0).normal(size=(3, 6))
    (root / "colours" / "model.onnx").write_bytes(colours(weights))
    (root / "colours" / "input.json").write_text(json.dumps(INPUT | {"output": "features"}))
    write_detector(root / "halves")
    return root


def write_fruit(root: Path) -> Path:
    """Writes two labels of six photographs with eight bright halves, and one dark photograph."""
    for label, channel in {"Lemon": 2, "Plum": 1}.items():
        (root / label).mkdir()
        for number in range(6):
            draw(root / label / f"{number}.png", channel, LIGHTS[number % 3], number)
    draw(root / "Plum" / "dark.png", 1, (20, 30), 9)
    return root


def draw(file: Path, channel: int, lights: tuple[int, int], seed: int) -> None:
    """Writes a photograph with two halves, in which one channel is darker."""
    pixels = np.array(two_halves(*lights, seed=seed + 100 * channel))
    pixels[..., channel] = pixels[..., channel] * 0.8
    Image.fromarray(pixels).save(file)


def config(nets: Path, images: Path, output: Path, **options: Any) -> RunConfig:
    settings = {"backbone": str(nets / "colours"), "crop": f"detector:{nets / 'halves'}"}
    settings |= {"components": 3, "max_rejected": 0.5, **options}
    return RunConfig(images=str(images), output=str(output), **settings)


def rows(output: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(output / name).sort_values("path", ignore_index=True)


def files(images: Path) -> list[Path]:
    return sorted(images.rglob("*.png"))


def wanted_boxes(images: Path, without: str = "") -> dict[str, Image.Image]:
    """The boxes that Pillow crops from each photograph but `without`, by the path of the row."""
    cut = {}
    for file in files(images):
        if str(file.relative_to(images)) == without:
            continue
        picture = Image.open(file)
        for box in bright_halves(picture):
            cut[f"file:{file}{fragment(box)}"] = picture.crop(box)
    return cut


def assert_rows_are_those_of_the_boxes(
    output: Path, nets: Path, images: Path, without: str = ""
) -> None:
    cut, found = wanted_boxes(images, without), rows(output, "features")
    assert list(found["path"]) == sorted(cut)
    contents = []
    for path in found["path"]:
        buffer = io.BytesIO()
        cut[path].save(buffer, "PNG")
        contents.append(buffer.getvalue())
    plain = compile_backbone(str(nets / "colours"))
    np.testing.assert_array_equal(
        np.stack(found["features"].to_list()), np.stack(list(featurize(contents, plain)))
    )
    for row in found.itertuples():
        photograph = row.path.partition("#xywh")[0]
        file = Path(photograph.removeprefix("file:"))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert row.sha256 == digest + row.path.removeprefix(photograph)
        assert (row.label, row.length) == (file.parent.name, file.stat().st_size)


def counts(output: Path) -> dict[str, int]:
    return dict(json.loads((output / "run.json").read_text())["counts"])
