"""The inputs of the benchmarks: photographs, weights and compiled networks."""

import hashlib
import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from fruits.networks.compile import compile_backbone, keras_model
from fruits.sample import draw_sample
from fruits.sources.folder import list_folder
from fruits.sources.naming import Naming

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data" / "bench"
CORES = len(os.sched_getaffinity(0))
BACKBONE = "MobileNetV2"


def source_of(images: Path | None) -> Path:
    """The folder with the photographs: the given one, or a generated sample."""
    if images is not None:
        return images.resolve()
    drawn = DATA / "drawn"
    draw_sample(str(drawn))
    return drawn


def subset(source: Path, count: int) -> Path:
    """A folder of exactly ``count`` JPEG files in folders by label, selected evenly from a source.

    If the source has fewer files, they are repeated. Each repetition has other bytes after the end
    of the image, so that no two files are equal.
    """
    files = [
        Path(path.removeprefix("file:"))
        for path in list_folder(str(source), Naming()).images.table()["path"].to_pylist()
    ]
    files = [path for path in files if path.suffix.lower() in (".jpg", ".jpeg")]
    target = DATA / "subsets" / f"{name_of(source)}-{count}"
    if target.exists():
        return target
    draft = target.with_name(target.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    for number in range(count):
        turn, place = divmod(number, len(files))
        path = files[place if count > len(files) else number * len(files) // count]
        file = draft / path.parent.name / f"{number:06}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.read_bytes() + (b"\0%d" % turn if turn else b""))
    draft.rename(target)
    return target


def name_of(source: Path) -> str:
    """A name that is different for each source."""
    return f"{source.name}-{hashlib.sha256(str(source).encode()).hexdigest()[:6]}"


def weights_file() -> Path:
    """A file with random weights of the network from a fixed seed, the same for all contenders."""
    path = DATA / f"{BACKBONE}.weights.h5"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # In a separate process, because TensorFlow in this process would disturb its measurements.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            pool.submit(_save_weights, str(path)).result()
    return path


def _save_weights(path: str) -> None:
    model, _ = keras_model(BACKBONE, "random")
    model.save_weights(path)


def compiled(weights: Path) -> tuple[Path, float]:
    """The compiled network in a new cache, and the seconds of compiling it.

    Each ``fruits`` command that is started later uses this cache.
    """
    cache = DATA / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    os.environ["FRUITS_CACHE"] = str(cache)
    begin = time.perf_counter()
    graph = compile_backbone(BACKBONE, str(weights))
    seconds = time.perf_counter() - begin
    path = DATA / f"{BACKBONE}.graph"
    path.write_bytes(replace(graph, precision="f32").to_bytes())
    return path, seconds
