"""The costs of a run from scratch: memory by process, seconds by stage, bytes written, dollars.

Constants are from ``run.json`` of runs on two cores: of 64 to 5,000 images with EfficientNetLite0,
MobileNetV2 and ResNet50, and of 100,000 to 1,000,000 files with :mod:`benchmarks.scale`. Those of
memory are in :mod:`fruits.planning.capacity`.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from fruits.classify.choose import THREADS
from fruits.classify.groups import FOLDS
from fruits.classify.transforms import TRANSFORMS
from fruits.folds.scored_images import most_scored
from fruits.networks.graph import CompiledGraph
from fruits.planning.capacity import LIKELY, moments_memory
from fruits.planning.label_memory import most_labels
from fruits.planning.probe import Probe
from fruits.planning.resources import Resources
from fruits.predictor.write_images import MOST_NEIGHBOURS
from fruits.quality.signature import DECODERS
from fruits.report.document import LARGEST
from fruits.runs.atlas import MOST_IMAGES as MAPPED
from fruits.runs.config import RunConfig
from fruits.runs.copies import MOST_COMPARED
from fruits.runs.image_map import POINTS
from fruits.runs.output_record import ATLAS, CSV
from fruits.runs.run_json import total_seconds
from fruits.sources.folder import READ_AHEAD_BYTES, READS
from fruits.sources.naming import training_side
from fruits.sources.parts import IN_MEMORY, Parts, Totals
from fruits.tasks.image_ranges import image_ranges

# Seconds per image for its digest, Arrow and Parquet, in addition to decoding, the network and the
# thumbnail; and for the comparison with committed images on the driver.
IMAGE, COMPARE = 0.05e-3, 20e-6
# Seconds of the first job, which starts the workers, and of each further chunk: a job and a commit.
FIRST_JOB, JOB = 4.0, 0.5
# Seconds of the first job, and of a job of another stage, without Spark.
FIRST_LOCAL_JOB, LOCAL_JOB = 1.0, 0.1
# Seconds of the other stages with very few rows. The model is written in the background.
FIT, PROJECT, PLOTS = 0.6, 0.5, 1.9
# Seconds of each further chunk in the fit. Seconds of a core for each row: to read its features and
# its fold, and to write its components, prediction and digest. Seconds of the driver for each row:
# to write it for the predictor, and to compare its digest.
FIT_CHUNK, FOLD_ROW, PROJECT_ROW, PREDICTOR_ROW, QUALITY_ROW = 0.035, 26e-6, 31e-6, 3e-6, 4e-6
# Seconds to decode a thumbnail on a core of the driver; float32 operations per second.
THUMBNAIL, FLOAT32_FLOPS = 0.2e-3, 80e9
CSV_SECONDS = 130e-9
# The report: seconds and bytes with very few images, and for each image on its map; and seconds for
# each image that it reads.
REPORT, REPORT_IMAGE, PAGE_BYTES, PAGE_IMAGE = 0.8, 15e-6, 2_600_000, 1450
REPORT_ROW = 13e-6
# The classifier: seconds with very few rows, and for each score of its calibration. Spark's softmax
# regression: steps, as many as features of EfficientNetLite0 need; seconds of each step; operations
# of one core per second, in Java.
CLASSIFY, SCORE, STEPS, STEP, JAVA_FLOPS = 0.5, 1.5e-6, 110, 0.065, 12e9
# Bytes of the neighbours' components that are written and hashed in a second.
NEIGHBOUR_BYTES = 150e6
# One core in float64: operations of a product per second; seconds of an eigendecomposition over
# d cubed. Exact moments take three half products and their overhead.
FLOPS, EIGH, MEASURE = 40e9, 1.9e-10, 2.2
# Compressed bytes of exact moments: for each product of two features; for a feature of a label.
PRODUCT_BYTES, LABEL_BYTES = 11, 20
CSV_BYTES, CSV_ROW = 11.3, 70
# Bytes of a prediction with its digest, and of a neighbour's name and thumbnail.
PREDICTION_BYTES, NEIGHBOUR_ROW = 195, 1500
BILLED_SECONDS = 60


@dataclass(frozen=True)
class RunCosts:
    """A run that is estimated.

    The attributes are the parameters of :func:`fruits.planning.estimate.estimate_from_probe`.
    """

    config: RunConfig
    listing: Parts
    graph: CompiledGraph
    probe: Probe
    resources: Resources
    seconds: dict[str, float]

    @cached_property
    def listed(self) -> Totals:
        """The counts and bytes of the images."""
        return Totals.of(self.listing)

    @property
    def images(self) -> int:
        """The number of images."""
        return self.listing.num_rows

    @property
    def local(self) -> bool:
        """Whether the run starts no Spark."""
        return self.resources.heap is None

    @property
    def usable(self) -> int:
        """The number of rows of features, if all images are like the probed ones."""
        return round(self.images * self.probe.rows)

    @property
    def components(self) -> int:
        """The number of components; the largest possible one for a share of the variance."""
        if isinstance(self.config.components, int):
            return self.config.components
        return max(min(self.usable - 1, self.graph.dimension), 1)

    @property
    def chunk(self) -> int:
        """The number of images of a chunk."""
        return min(self.config.chunk, self.images)

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        return math.ceil(self.images / self.config.chunk)

    def work(self) -> dict[str, int]:
        """How the images are divided."""
        return {
            "chunk": self.chunk,
            "chunks": self.chunks,
            "partition": max(map(len, image_ranges(self.chunk, self.resources.cores))),
            "batch": self.graph.batch,
            "components": self.components,
        }

    def memory(self, cores: int, local: bool) -> dict[str, int]:
        """Peak bytes by process, with one task per core at a time."""
        ahead = min(READ_AHEAD_BYTES, READS * self.listed.bytes // self.images)
        work = self.probe.memory + ahead + moments_memory(self.graph.dimension, self.chunk)
        rows = min(self.images, IN_MEMORY)  # Longer listings are read in parts.
        likely = LIKELY.footprint(self.graph, rows, self.resources.heap, work)
        pictures = self.probe.thumbnail * min(self.usable, POINTS)  # of the report
        likely = replace(likely, driver=likely.driver + pictures)
        figures = {
            **({} if self.local else {"driver JVM": likely.jvm}),
            "driver Python": likely.driver + likely.pca,
            "each Python worker": likely.worker,
            "all on this machine": likely.together(min(cores, self.images) if local else 0),
        }
        return {name: round(figure) for name, figure in figures.items()}

    def stages(self, cores: int) -> dict[str, float]:
        """Seconds by stage."""
        parts = self.seconds | {
            "extract": self._extract(cores),
            "fit": self._fit(cores),
            "classify": self._classify(cores),
            "project": self._project(cores),
            "predictor": self._predictor(),
            "plots": PLOTS,
            "quality": self._quality(cores),
            "report": REPORT + REPORT_IMAGE * min(self.usable, POINTS) + REPORT_ROW * self.usable,
        }
        if self.config.atlas:
            parts["atlas"] = self._atlas(cores)
        parts["model"] = 0.0
        return total_seconds({name: round(part, 3) for name, part in parts.items()})

    def _extract(self, cores: int) -> float:
        # A worker reads ahead while it decodes and computes, so the slower of both counts.
        image = max(self.probe.read, self.probe.decode + self.probe.network) + IMAGE
        first = FIRST_LOCAL_JOB if self.local else FIRST_JOB
        starting = first + self.probe.load + JOB * (self.chunks - 1)
        return starting + self.images * (image / min(cores, self.images) + COMPARE)

    def _fit(self, cores: int) -> float:
        d = self.graph.dimension
        rows_in_turn = self.chunk * math.ceil(self.chunks / cores)
        return (
            (LOCAL_JOB if self.local else FIT)
            + FIT_CHUNK * (self.chunks - 1)
            + MEASURE * 2 * d * d / FLOPS * rows_in_turn
            + EIGH * d**3
        )

    @cached_property
    def labels(self) -> int:
        """The number of labels of the classifier; 0 if there is none."""
        found = self.listed.different_labels
        return found if found > 1 and self.config.classifier != "none" else 0

    @property
    def training(self) -> int:
        """The number of training images."""
        side = training_side(self.listed.sides)
        return round(self.usable * (self.listed.sides[side] / self.images if side else 1))

    def _classify(self, cores: int) -> float:
        """Seconds of a model without each fold for each transform, a final one, regressions."""
        if not self.labels:
            return 0.0
        d, n = self.graph.dimension, self.training
        transforms = len(TRANSFORMS) if self.config.transform == "auto" else 1
        models = FOLDS * transforms + 1
        seconds = models * (2 * n * d * d / FLOPS + EIGH * min(d, n) ** 3) / min(cores, THREADS)
        if self.config.classifier == "softmax":
            step = 4 * n * d * self.labels / JAVA_FLOPS / cores
            seconds += (FOLDS + 1) * STEPS * (step + STEP)
        # The cross-validation scores a sample of more images, and measures the folds in tasks.
        most = most_scored(self.labels)
        tasks = FOLD_ROW * n / cores if n > most else 0.0
        return CLASSIFY + SCORE * min(n, most) * self.labels + tasks + seconds

    def _quality(self, cores: int) -> float:
        """Seconds to compare digests and thumbnails."""
        pictures = min(self.usable, MOST_COMPARED) if self.probe.thumbnail else 0
        return QUALITY_ROW * self.usable + THUMBNAIL * pictures / min(cores, DECODERS)

    def _atlas(self, cores: int) -> float:
        """Seconds of the map, which compares all images with each other."""
        rows = min(self.usable, MAPPED)
        return 2 * rows * rows * self.components / FLOAT32_FLOPS / cores

    def _predictor(self) -> float:
        """Seconds to write and hash the neighbours."""
        if not self.labels:
            return 0.0
        rows = min(self.training, MOST_NEIGHBOURS)
        return rows * (PREDICTOR_ROW + 4 * self.components / NEIGHBOUR_BYTES)

    def _project(self, cores: int) -> float:
        d, k = self.graph.dimension, self.components
        # The distance of an image to the labels takes a product with a column for each feature.
        columns = k + d + self.labels if self.labels else k
        seconds = LOCAL_JOB if self.local else PROJECT
        seconds += self.usable * (PROJECT_ROW + 2 * d * columns / FLOPS) / cores
        return seconds + self.usable * k * CSV_SECONDS if self.config.csv else seconds

    def output(self) -> dict[str, int]:
        """Bytes written."""
        d, k = self.graph.dimension, self.components
        rows, moments = self.usable, self._moments(self.images)
        weight = sum(map(len, self.graph.parts.values()))
        # Moments of some of the images are not stored.
        kept = self._moments(self.chunk) * self.chunks if self.config.limit is None else 0
        output = {
            "features": rows * self.probe.row + kept,
            "pca": rows * (4 * k + 10),
            CSV: rows * (CSV_BYTES * k + CSV_ROW) if self.config.csv else 0,
            "model": weight + 8 * d * k + moments,
            "report.html": min(LARGEST, PAGE_BYTES + PAGE_IMAGE * rows),
        }
        if self.labels:
            output["predictions"] = rows * PREDICTION_BYTES
            arrays = 8 * d * (d + k + 2 * self.labels)
            output["predictor"] = 2 * weight + arrays + self.training * (4 * k + NEIGHBOUR_ROW)
        if self.config.atlas:
            output[ATLAS] = min(rows, MAPPED) * NEIGHBOUR_ROW
        output["total"] = sum(output.values())
        return {name: round(count) for name, count in output.items()}

    def _moments(self, images: int) -> int:
        """The bytes of the moments of so many images."""
        d, labels = self.graph.dimension, self.listed.labels.num_rows
        labels = min(labels, images) if labels <= most_labels(d) else 1
        return PRODUCT_BYTES * d * (d + 1) // 2 + LABEL_BYTES * d * labels

    def offer(
        self, type_: str, vcpus: int, memory_gib: float, dollars_per_hour: float
    ) -> dict[str, Any]:
        """What the run takes on an EC2 instance, billed by the second, at least a minute."""
        taken = self.stages(vcpus)["total"]
        return {
            "type": type_,
            "vcpus": vcpus,
            "fits": self.memory(vcpus, True)["all on this machine"] <= memory_gib * 2**30,
            "seconds": taken,
            "dollars": round(max(taken, BILLED_SECONDS) / 3600 * dollars_per_hour, 4),
        }
