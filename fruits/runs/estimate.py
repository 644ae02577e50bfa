"""What a run from scratch will take: memory by process, time by stage, bytes written, dollars.

:func:`predict` is arithmetic on what :func:`probe` finds. Its constants were measured from outside
(VmHWM in /proc, run.json) in runs of 64 to 5,000 images on two cores, with EfficientNetLite0,
MobileNetV2 and ResNet50.
"""

import io
import json
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from fruits.errors import InputError
from fruits.features.products import BLOCK_ROWS
from fruits.features.rows import lists
from fruits.networks.compile import compile_backbone
from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import BATCH_SIZES, GROUP, featurize
from fruits.runs.capacity import Place, disk_there, refusal, size, this_place
from fruits.runs.config import RunConfig
from fruits.runs.progress import Stages
from fruits.sources.decode import RejectedImage, decode
from fruits.sources.folder import READ_AHEAD_BYTES, READS, list_images, read_contents
from fruits.sources.listing import sample_evenly
from fruits.spark.session import get_spark
from fruits.spark.tasks import MOST_IMAGES, task_ranges

PROBED_IMAGES = 48


MB = 10**6


# Memory. A JVM's heap does not give back what it has taken, and grows with the graphs that pass
# through it, up to spark.driver.memory and some beside it.
JVM, JVM_GRAPHS, JVM_BESIDE_HEAP = 850 * MB, 8, 400 * MB


# The listing is widest as one dictionary for each file. Matrices: see fruits.runs.capacity.
DRIVER, DRIVER_IMAGE, DRIVER_MATRICES = 235 * MB, 1000, 5


# PySpark, Arrow and their imports; then the graph's archive, what a probe grows by, and one matrix.
WORKER = 232 * MB


# Seconds: the first job starts the workers; a chunk is a job and a commit; the other stages with
# next to no rows; the model is saved while these go on; beside decoding and the network an image
# takes a digest, Arrow and Parquet.
FIRST_JOB, JOB, FIT, PROJECT, PLOTS, MODEL, IMAGE = 4.0, 0.5, 0.6, 0.5, 1.9, 4.2, 0.5e-3


# One core in float64: a product's operations in a second, and an eigendecomposition's over d cubed.
FLOPS, EIGH = 40e9, 1.9e-10
# Exact moments take three products and what belongs to them, of one half each.
MEASURE = 2.2


# Exact moments, compressed: of each product of two features, and of a feature for each label.
PRODUCT_BYTES, LABEL_BYTES = 11, 20


CSV_SECONDS, CSV_BYTES, CSV_ROW = 130e-9, 11.3, 70


# Path, label, digest, length and time of a row, compressed.
ROW_BESIDE = 90


BILLED_SECONDS = 60


@dataclass(frozen=True)
class Probe:
    """What some of the images took in one process, on one core.

    Attributes:
        images: how many were tried, and
        rejected: how many of them yield no features.
        read: seconds for one, with several reads at once; and
        decode: to pixels of the wanted size; and
        network: from those to features.
        load: seconds to load the network.
        memory: bytes by which the process grew, with the largest file of all among the images.
        row: bytes of one row of features in Parquet.
        pixels: width times height of the median one, and
        most_pixels: of the largest one.
    """

    images: int
    rejected: int
    read: float
    decode: float
    network: float
    load: float
    memory: int
    row: float
    pixels: int
    most_pixels: int


@dataclass(frozen=True)
class Plan:
    """What a run from scratch will take.

    Attributes:
        images: how many there are, of
        bytes: in all, and
        largest: of one at most.
        probe: what some of them took.
        place: where the run takes place.
        work: how the images are cut up; components are as many as there can be where they are
            asked for by a share of the variance, which holds for seconds and output too.
        memory: peak bytes by process, and of all processes on this machine.
        seconds: by stage.
        output: bytes written.
        offers: of EC2 instances: type, vcpus, whether its memory fits, seconds, dollars.
        prices: their date, region and terms.
        refusal: why it cannot be done here; None if it can, or may.
    """

    images: int
    bytes: int
    largest: int
    probe: Probe
    place: Place
    work: dict[str, int]
    memory: dict[str, int]
    seconds: dict[str, float]
    output: dict[str, int]
    offers: list[dict[str, Any]]
    prices: str
    refusal: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """By name, ready for JSON."""
        return asdict(self)

    def text(self) -> str:
        """For people to read."""
        probe, work = self.probe, self.work
        lines = [
            f"images    {self.images:,}, {size(self.bytes)}: {size(self.bytes / self.images)} each,"
            f" {size(self.largest)} the largest",
            f"probed    {probe.images}: {probe.pixels / 1e6:.2f} megapixels each, "
            f"{probe.most_pixels / 1e6:.2f} the largest; {probe.rejected / probe.images:.0%} "
            f"rejected; {1e3 * probe.read:.1f} ms to read, {1e3 * probe.decode:.1f} ms to decode, "
            f"{1e3 * probe.network:.1f} ms in the network",
            f"work      {work['chunks']} chunks of {work['chunk']:,} images or less, in partitions "
            f"of {work['partition']}, in batches of {work['batch']}; {self.place.cores} tasks at a "
            f"time; {work['components']:,} components at most",
        ]
        for name, unit in (("memory", size), ("seconds", "{:,.1f}".format), ("output", size)):
            lines.append(name)
            lines += [f"  {key:22}{unit(value):>10}" for key, value in getattr(self, name).items()]
        lines.append(f"EC2       {self.prices}; a vCPU taken for as fast as a core here")
        lines += [
            f"  {offer['type']:12}{offer['vcpus']:3} vCPUs {offer['seconds'] / 60:10,.1f} min"
            f"{offer['dollars']:10,.3f} $" + ("" if offer["fits"] else "  too little memory")
            for offer in self.offers
        ]
        together, there = self.memory["all on this machine"], self.place.memory
        verdict = "tight" if together > there else "fits"
        lines.append(
            f"refused   {self.refusal}"
            if self.refusal
            else f"{verdict:10}{size(together)} of memory wanted, {size(there)} there"
        )
        return "\n".join(lines)


def plan(config: RunConfig, progress: TextIO | None = None) -> Plan:
    """Lists the images, probes some of them and reckons what a run takes.

    Args:
        config: what to do.
        progress: where lines about the progress go; by default stderr.

    Raises:
        FruitsError: when something is wrong that the caller can mend; one clear line.
    """
    progress = progress or sys.stderr
    stages = Stages(progress)
    with stages("list"):
        listing = sample_evenly(list_images(config.images), config.limit)
    with stages("compile"):
        graph = compile_backbone(
            config.backbone,
            config.weights,
            config.engine,
            config.precision,
            config.exact_decode,
        )
    with stages("session"):
        spark = get_spark()
    seconds = dict(stages.seconds)
    with stages("probe"):
        probed = probe(listing, graph)
    place, disk = this_place(spark), disk_there(config.output)
    return predict(config, listing, graph, probed, place, seconds, disk)


def predict(
    config: RunConfig,
    listing: pa.Table,
    graph: CompiledGraph,
    probe: Probe,
    place: Place,
    seconds: dict[str, float],
    disk: float = math.inf,
) -> Plan:
    """Reckons what a run takes.

    Args:
        config: what to do.
        listing: of the images, a table of :data:`fruits.sources.listing.LISTING`.
        graph: the backbone.
        probe: of some of the images.
        place: where.
        seconds: what the stages ``list``, ``compile`` and ``session`` take.
        disk: bytes that the output may take.
    """
    images, d, weight = listing.num_rows, graph.dimension, sum(map(len, graph.parts.values()))
    bytes_, largest = pc.sum(listing["length"]).as_py(), pc.max(listing["length"]).as_py()
    usable = round(images * (1 - probe.rejected / probe.images))
    k = config.components if isinstance(config.components, int) else max(min(usable - 1, d), 1)
    chunk, chunks = min(config.chunk, images), math.ceil(images / config.chunk)
    labels = len(pc.unique(listing["label"]))
    moments = PRODUCT_BYTES * d * (d + 1) // 2 + LABEL_BYTES * d * labels

    def memory(cores: int, local: bool) -> dict[str, int]:
        jvm = min(JVM + JVM_GRAPHS * weight, place.heap + JVM_BESIDE_HEAP)
        driver = DRIVER + weight + DRIVER_MATRICES * 8 * d * d + DRIVER_IMAGE * images
        ahead = min(READ_AHEAD_BYTES, READS * bytes_ // images)
        # While it measures: four limbs of a block of rows, and six sums of products.
        measuring = 8 * (4 * d * min(chunk, BLOCK_ROWS) + 6 * d * d)
        worker = WORKER + weight + probe.memory + ahead + measuring
        together = jvm + driver + local * min(cores, images) * worker
        names = ("driver JVM", "driver Python", "each Python worker", "all on this machine")
        return dict(zip(names, (jvm, driver, worker, together), strict=True))

    def stages(cores: int) -> dict[str, float]:
        # Reads go on while the rest works; a worker that waits for them waits for nothing else.
        image = max(probe.read, probe.decode + probe.network) + IMAGE
        extract = FIRST_JOB + probe.load + JOB * (chunks - 1) + images * image / min(cores, images)
        fit = FIT + MEASURE * 2 * d * d / FLOPS * chunk * math.ceil(chunks / cores) + EIGH * d**3
        project = PROJECT + usable * 2 * d * k / FLOPS / cores
        project += usable * k * CSV_SECONDS * config.csv
        model = max(MODEL - project - PLOTS, 0.0)
        parts = seconds | {"extract": extract, "fit": fit, "project": project}
        parts |= {"plots": PLOTS, "model": model}
        return {name: round(taken, 3) for name, taken in parts.items()} | {
            "total": round(sum(parts.values()), 3)
        }

    def offer(type_: str, vcpus: int, memory_gib: float, dollars_per_hour: float) -> dict[str, Any]:
        fits = memory(vcpus, True)["all on this machine"] <= memory_gib * 2**30
        taken = stages(vcpus)["total"]
        dollars = round(max(taken, BILLED_SECONDS) / 3600 * dollars_per_hour, 4)
        return {"type": type_, "vcpus": vcpus, "fits": fits, "seconds": taken, "dollars": dollars}

    output = {
        # The moments of a part of the images are not kept.
        "features": usable * probe.row + moments * chunks * (config.limit is None),
        "pca": usable * (4 * k + 10),
        "pca.csv": usable * (CSV_BYTES * k + CSV_ROW) * config.csv,
        "model": weight + 8 * d * k + moments,
    }
    prices = json.loads((files("fruits") / "prices.json").read_text())
    partition = max(map(len, task_ranges(chunk, place.cores)))
    return Plan(
        images=images,
        bytes=bytes_,
        largest=largest,
        probe=probe,
        place=place,
        work={
            "chunk": chunk,
            "chunks": chunks,
            "partition": partition,
            "batch": BATCH_SIZES[graph.engine],
            "components": k,
        },
        memory=memory(place.cores, place.local),
        seconds=stages(place.cores),
        output={name: round(n) for name, n in (output | {"total": sum(output.values())}).items()},
        offers=[offer(type_, **terms) for type_, terms in prices["types"].items()],
        prices=f"{prices['terms']}, {prices['region']}, {prices['date']}",
        refusal=str(error) if (error := refusal(config, images, graph, place, disk)) else None,
    )


def probe(listing: pa.Table, graph: CompiledGraph) -> Probe:
    """Tries some of the images in a process of its own.

    Args:
        listing: of all images, a table of :data:`fruits.sources.listing.LISTING`.
        graph: the backbone.

    Raises:
        InputError: when one of them crashes the decoder or the engine.
    """
    some, largest = (
        sample_evenly(listing, PROBED_IMAGES),
        pc.index(listing["length"], pc.max(listing["length"])),
    )
    rows = pa.concat_tables([some, listing.slice(largest.as_py(), 1)])
    pairs = list(zip(rows["path"].to_pylist(), rows["length"].to_pylist(), strict=True))
    try:
        # Not a fork: the session's threads would not survive it.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(_probe, pairs, graph).result()
    except BrokenProcessPool:
        raise InputError(
            f"images: one of the {len(pairs)} that were tried crashes the decoder or the engine; "
            "a run would reject it and go on, but nothing can be predicted"
        ) from None


def _probe(files: list[tuple[str, int]], graph: CompiledGraph) -> Probe:
    """Tries the files; the last one is there for the memory that it takes."""
    *some, largest = files
    before = _resident("VmRSS")
    begin = time.perf_counter()
    list(featurize([b""], graph))
    loaded = time.perf_counter() - begin
    read = decoded = network = 0.0
    good: list[Any] = []
    pixels = []
    for start in range(0, len(some), GROUP):
        begin = time.perf_counter()
        contents = list(read_contents(some[start : start + GROUP]))
        read += time.perf_counter() - begin
        begin = time.perf_counter()
        for content in contents:
            with suppress(RejectedImage):
                if isinstance(content, bytes):
                    decode(content, graph.side, graph.exact_decode)
        once = time.perf_counter() - begin
        begin = time.perf_counter()
        good += [result for result in featurize(contents, graph) if not isinstance(result, str)]
        decoded += once
        network += max(time.perf_counter() - begin - once, 0)
        pixels += [_pixels(content) for content in contents]
    for content in read_contents([largest]):
        list(featurize([content], graph))
        pixels.append(_pixels(content))
    count = len(some)
    return Probe(
        images=count,
        rejected=count - len(good),
        read=read / count,
        decode=decoded / count,
        network=network / count,
        load=loaded,
        memory=_resident("VmHWM") - before,
        row=_row(good),
        pixels=int(median(pixels)),
        most_pixels=max(pixels),
    )


def _pixels(content: bytes | OSError) -> int:
    with suppress(Exception):
        width, height = Image.open(io.BytesIO(content)).size  # type: ignore[arg-type]
        return int(width * height)
    return 0


def _row(features: list[Any]) -> float:
    """Bytes of a row in Parquet, in a file of many."""
    if not features:
        return 0.0
    # With other numbers, as other images have.
    copies = range(math.ceil(MOST_IMAGES / len(features)))
    values = np.concatenate([np.stack(features) * np.float32(1 + n / 1000) for n in copies])
    buffer = io.BytesIO()
    pq.write_table(pa.table({"features": lists(values)}), buffer, use_dictionary=False)
    return buffer.tell() / len(values) + ROW_BESIDE


def _resident(name: str) -> int:
    """Bytes of memory of this process: VmRSS now, VmHWM at its peak."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # Not a Linux.
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * int(status.partition(f"{name}:")[2].split()[0])
