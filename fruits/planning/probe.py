"""Measures the time and memory of some of the images."""

import io
import math
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from fruits.errors import InputError
from fruits.features.rows import lists
from fruits.images.decode import RejectedImage, decode, decode_whole
from fruits.networks.graph import CompiledGraph
from fruits.networks.objects import featurize, parts_of
from fruits.networks.runtime import GROUP
from fruits.sources.parts import Parts
from fruits.sources.reading import contents_of
from fruits.tasks.image_ranges import MOST_IMAGES
from fruits.tasks.spawn import main_hidden

PROBED_IMAGES = 48

# Compressed bytes of a row's path, label, digest, length and time.
OTHER_COLUMNS = 90

T = TypeVar("T")


@dataclass(frozen=True)
class Probe:
    """Measurements on some of the images, in one process on one core.

    Attributes:
        images: The number of images that were tried.
        rejected: The number of these images without features.
        read: The seconds to read one image, with several reads at once.
        decode: The seconds to decode one image to pixels of the wanted size.
        network: The seconds of one image in the network, from pixels to features, and for its
            thumbnail.
        load: The seconds to load the network.
        memory: The bytes by which the process grew, including the largest file of all.
        row: The bytes of one row of features in Parquet.
        thumbnail: The mean bytes of a thumbnail; 0 if there are none.
        pixels: The width times the height of the median image.
        most_pixels: The width times the height of the largest image.
        boxes: The mean number of boxes of an image that is not rejected; 1 without a detector.
    """

    images: int
    rejected: int
    read: float
    decode: float
    network: float
    load: float
    memory: int
    row: float
    thumbnail: float
    pixels: int
    most_pixels: int
    boxes: float = 1.0

    @property
    def rows(self) -> float:
        """The mean number of rows of features for each image."""
        return (1 - self.rejected / self.images) * self.boxes


def probe(listing: Parts, graph: CompiledGraph) -> Probe:
    """Measures some of the images in a new process.

    Args:
        listing: All images, as a source lists them.
        graph: The backbone.

    Raises:
        InputError: One of the images crashes the decoder or the engine.
    """
    some = listing.sample_evenly(PROBED_IMAGES).table()
    largest = pa.concat_tables(_largest(part) for part in listing if part.num_rows)
    rows = pa.concat_tables([some, _largest(largest)])
    try:
        # Not a fork: the session's threads would not survive it.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            with main_hidden():
                probed = pool.submit(_probe, rows, graph)
            return probed.result()
    except BrokenProcessPool:
        raise InputError(
            f"images: one of the {rows.num_rows} that were tried crashes the decoder or the "
            "engine; a run would reject it and continue, but nothing can be estimated"
        ) from None


def _largest(files: pa.Table) -> pa.Table:
    """The row of the largest file."""
    return files.slice(pc.index(files["length"], pc.max(files["length"])).as_py(), 1)


def _probe(files: pa.Table, graph: CompiledGraph) -> Probe:
    """Measures the files; for the last one, which is the largest, only the memory."""
    count = files.num_rows - 1
    before, trial = _resident("VmRSS"), _Trial(graph)
    _, loading = _timed(lambda: list(featurize([b""], graph)))
    for start in range(0, count, GROUP):
        trial.add(files.slice(start, min(GROUP, count - start)))
    for content in contents_of(files.slice(count)):
        list(featurize([content], graph))
        trial.pixels.append(_pixels(content))
    return Probe(
        images=count,
        rejected=count - trial.good,
        read=trial.read / count,
        decode=trial.decode / count,
        network=trial.network / count,
        load=loading,
        memory=_resident("VmHWM") - before,
        row=_row_bytes(trial.features),
        thumbnail=sum(map(len, trial.thumbnails)) / max(1, len(trial.thumbnails)),
        pixels=int(median(trial.pixels)),
        most_pixels=max(trial.pixels),
        boxes=round(len(trial.features) / trial.good, 2) if trial.good else 1.0,
    )


@dataclass
class _Trial:
    """The sums of the measurements so far.

    Attributes:
        graph: The backbone.
        read: The seconds to read the images.
        decode: The seconds to decode the images.
        network: The seconds in the network, and for the thumbnail.
        features: The features of each image, or box, that has some.
        thumbnails: The thumbnail of each image, or box, that has features.
        good: The number of images with features.
        pixels: The width times the height of each image; 0 if it cannot be opened.
    """

    graph: CompiledGraph
    read: float = 0.0
    decode: float = 0.0
    network: float = 0.0
    features: list[Any] = field(default_factory=list)
    thumbnails: list[bytes] = field(default_factory=list)
    good: int = 0
    pixels: list[int] = field(default_factory=list)

    def add(self, files: pa.Table) -> None:
        contents, read = _timed(lambda: list(contents_of(files)))
        _, decoding = _timed(lambda: _decode(contents, self.graph))
        pictures: list[bytes | None] = []
        results, both = _timed(lambda: list(featurize(contents, self.graph, pictures.append)))
        self.read += read
        self.decode += decoding
        self.network += max(both - decoding, 0)
        made = [
            parts_of(result, picture)
            for result, picture in zip(results, pictures, strict=True)
            if not isinstance(result, str)
        ]
        self.good += len(made)
        self.features += [part.features for parts in made for part in parts]
        self.thumbnails += [part.thumbnail or b"" for parts in made for part in parts]
        self.pixels += map(_pixels, contents)


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    """Calls a function and returns its result and the seconds."""
    begin = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begin


def _decode(contents: list[bytes | OSError], graph: CompiledGraph) -> None:
    for content in contents:
        with suppress(RejectedImage):
            if isinstance(content, bytes) and graph.detector:
                decode_whole(content)
            elif isinstance(content, bytes):
                decode(content, graph.input, graph.exact_decode)


def _pixels(content: bytes | OSError) -> int:
    with suppress(Exception):
        width, height = Image.open(io.BytesIO(content)).size  # type: ignore[arg-type]
        return int(width * height)
    return 0


def _row_bytes(features: list[Any]) -> float:
    """The bytes of a row in a Parquet file with many rows."""
    if not features:
        return 0.0
    # The copies are scaled: equal rows would be compressed too well.
    copies = range(math.ceil(MOST_IMAGES / len(features)))
    values = np.concatenate([np.stack(features) * np.float32(1 + n / 1000) for n in copies])
    buffer = io.BytesIO()
    pq.write_table(pa.table({"features": lists(values)}), buffer, use_dictionary=False)
    return buffer.tell() / len(values) + OTHER_COLUMNS


def _resident(name: str) -> int:
    """The memory of this process in bytes: VmRSS is the current one, VmHWM the peak."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # Not on Linux.
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * int(status.partition(f"{name}:")[2].split()[0])
