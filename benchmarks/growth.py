"""Measures runs with more and more images, and with photographs of many megapixels.

    python -m benchmarks.growth [--images DIR] [--counts N ...] [--photographs DIR]

The seconds per image and the peak memory of each process should not depend on the number of images,
and the memory should not depend on the size of the photographs.
"""

import argparse
import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.inputs import DATA, ROOT, name_of, source_of, subset
from benchmarks.ours import fruits_run
from benchmarks.precision import movement, network_of
from benchmarks.report import bars, table, write_json
from benchmarks.watch import ROLES, peak
from fruits.images.decode import decode


def main() -> None:
    options = _options()
    source = source_of(options.images)
    runs = []
    for count in options.counts:
        print(f"{count:,} images ...", flush=True)
        images = subset(source, count)
        runs.append(fruits_run(images, DATA / "runs" / "growth", *_network_options(options)))
        runs[-1]["images"] = count
    print("large photographs ...", flush=True)
    photographs = options.photographs or enlarged(source, options.megapixels, options.photo_count)
    large = fruits_run(photographs, DATA / "runs" / "large", *_network_options(options))
    large |= scales(photographs, options)
    report = {"runs": runs, "large": large}
    print("\n" + describe(report))
    write_json(report, DATA / "growth.json")
    good = {f"{run['images']:,}": run for run in runs if "error" not in run}
    if good:
        panels = {
            "milliseconds per image": {n: 1000 * per_image(run) for n, run in good.items()},
            **{
                f"{role}, peak MB": {
                    n: peak(run["memory_mb"], role) or 0.0 for n, run in good.items()
                }
                for role in ("jvm", "driver", "worker")
            },
        }
        bars("Growth with the number of images", panels, DATA / "growth.png")


def per_image(run: dict[str, Any]) -> float:
    """The seconds of extraction per image."""
    return float(run["seconds"]["extract"] / run["images"])


def describe(report: dict[str, Any]) -> str:
    """A line for each size, and the effect of the reduced scale."""
    large = report["large"]
    named = [(f"{run['images']:,} images", run) for run in report["runs"]]
    lines, notes = [], []
    for name, run in [*named, ("large photographs", large)]:
        if "error" in run:
            notes.append(f"{name} could not be run: {run['error']}")
            continue
        seconds = [run["seconds"][stage] for stage in ("start", "extract", "fit", "total")]
        peaks = [peak(run["memory_mb"], role) for role in ROLES]
        lines.append([name, *seconds, 1000 * per_image(run), *peaks])
    head = ["", "start s", "extract s", "fit s", "total s", "ms/image"]
    notes += [
        f"decoding {large['megapixels']:.1f} megapixels takes {large['full_ms']:.0f} ms in full, "
        f"{large['reduced_ms']:.0f} ms at reduced scale: "
        f"{large['full_ms'] / large['reduced_ms']:.1f} x as fast",
        "changes of features: " + ", ".join(f"{k} {v:.4g}" for k, v in large["movement"].items()),
    ]
    return "\n".join([table(lines, [*head, *(f"{role} MB" for role in ROLES)]), "", *notes])


def scales(photographs: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Compares decoding at reduced and at full scale: milliseconds, and changes of the features."""
    graph, network = network_of(options.backbone, options.weights)
    contents = [path.read_bytes() for path in sorted(photographs.glob("*/*.jpg"))]
    reduced, reduced_ms = _timed(decode, contents, graph.input)
    full, full_ms = _timed(decode_in_full, contents, graph.input.height)
    return {
        "megapixels": np.prod(Image.open(io.BytesIO(contents[0])).size) / 1e6,
        "reduced_ms": reduced_ms,
        "full_ms": full_ms,
        "movement": movement(network(full), network(reduced)),
    }


def decode_in_full(content: bytes, side: int) -> NDArray[np.uint8]:
    """The pixels of an image that is decoded at full scale and then resized."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def enlarged(source: Path, megapixels: float, count: int) -> Path:
    """Photographs of many megapixels: enlarged small ones, with noise like that of a sensor."""
    target = DATA / "subsets" / f"{name_of(source)}-{count}-of-{megapixels:g}-megapixels"
    size = (round(1000 * (megapixels * 4 / 3) ** 0.5), round(1000 * (megapixels * 3 / 4) ** 0.5))
    rng = np.random.default_rng(0)
    for path in sorted(subset(source, count).glob("*/*.jpg")):
        file = target / path.parent.name / path.name
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.asarray(Image.open(path).convert("RGB").resize(size), np.float32)
            grain = 6 * rng.standard_normal(pixels.shape[:2], np.float32)[..., np.newaxis]
            noisy = Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))
            noisy.save(file, quality=90)
    return target


def _timed(work: Any, contents: list[bytes], shape: Any) -> tuple[NDArray[np.uint8], float]:
    begin = time.perf_counter()
    pixels = np.stack([work(content, shape) for content in contents])
    return pixels, 1000 * (time.perf_counter() - begin) / len(contents)


def _network_options(options: argparse.Namespace) -> list[str]:
    return ["--backbone", options.backbone, "--weights", options.weights]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument(
        "--images", type=Path, help="folder of JPEG files (default: a synthetic sample)"
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[5_000, 20_000, 90_000])
    parser.add_argument("--photographs", type=Path, help="folder of large photographs, by label")
    parser.add_argument(
        "--photo-count", type=int, default=200, help="number of large photographs to make"
    )
    parser.add_argument(
        "--megapixels", type=float, default=12.0, help="size of the large photographs"
    )
    parser.add_argument("--backbone", default="EfficientNetLite0", help="(%(default)s)")
    parser.add_argument("--weights", default="imagenet", help="(%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
