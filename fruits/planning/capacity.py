"""The memory that a run needs by process, and whether memory, disk and images are enough.

A run is refused only if it surely cannot fit: :data:`LEAST` is below the memory of any run, and
:data:`LIKELY` is the expected memory. The constants of the latter were measured (VmHWM in /proc) in
runs of 64 to 5,000 images on two cores, with EfficientNetLite0, MobileNetV2 and ResNet50.
"""

import math
from collections import Counter
from dataclasses import dataclass

from fruits.errors import ConfigError, FruitsError, OutputError
from fruits.features.products import BLOCK_ROWS
from fruits.networks.graph import CompiledGraph
from fruits.planning.label_memory import labels_refusal
from fruits.planning.resources import Resources, available_disk
from fruits.reduction.fit import too_many_components
from fruits.runs.config import RunConfig
from fruits.sources.naming import training_side
from fruits.sources.parts import Parts
from fruits.sources.row_counts import value_counts
from fruits.tasks.failures import FEWER_LOCAL
from fruits.wording import size

MB = 10**6

# Size of features in Parquet, as a share of their size in memory. Measured: 1.0 with random
# weights, and 0.5 with trained weights, where many features are zero.
LEAST_STORED = 0.25


@dataclass(frozen=True)
class Footprint:
    """The memory of the processes of a run, in bytes.

    Attributes:
        jvm: The memory of the driver's JVM.
        driver: The memory of the driver's Python process, without the PCA.
        pca: The additional memory of the driver's Python process while the PCA is fitted. The
            workers are idle then.
        worker: The memory of each Python worker.
    """

    jvm: float
    driver: float
    pca: float
    worker: float

    def together(self, workers: int) -> float:
        """The bytes of all processes on this machine, with a number of Python workers."""
        return self.jvm + self.driver + self.pca + workers * self.worker


@dataclass(frozen=True)
class MemoryModel:
    """How the memory of the processes grows with the graph and the images.

    Attributes:
        jvm: The bytes of the driver's JVM.
        jvm_graphs: The number of copies of the graph in the driver's JVM. Its heap does not shrink
            after they are sent.
        jvm_outside_heap: The maximum bytes of the driver's JVM outside of its heap.
        driver: The bytes of the driver's Python process.
        driver_graphs: The number of copies of the graph in the driver's Python process.
        driver_image: The bytes of the driver's Python process for each image: its row in the
            listing, its name and its digest. The thumbnails of the report are not included.
        pca_matrices: The number of d x d matrices of float64 that the PCA needs.
        worker: The bytes of a Python worker with PySpark, Arrow and their imports.
        worker_graphs: The number of copies of the graph in a Python worker.
    """

    jvm: int
    driver: int
    pca_matrices: int
    worker: int
    worker_graphs: float
    jvm_graphs: int = 0
    jvm_outside_heap: float = math.inf
    driver_graphs: int = 0
    driver_image: int = 0

    def footprint(
        self, graph: CompiledGraph, images: int = 0, heap: int | None = 0, work: int = 0
    ) -> Footprint:
        """The bytes by process.

        Args:
            graph: The backbone.
            images: The number of images.
            heap: The maximum heap of the driver's JVM, in bytes; None without a JVM.
            work: The bytes that a worker needs for its images and their moments.
        """
        weight = sum(map(len, graph.parts.values()))
        jvm = self.jvm + self.jvm_graphs * weight
        return Footprint(
            jvm=0 if heap is None else min(jvm, heap + self.jvm_outside_heap),
            driver=self.driver + self.driver_graphs * weight + self.driver_image * images,
            pca=self.pca_matrices * 8 * graph.dimension**2,
            worker=self.worker + self.worker_graphs * weight + work,
        )


# Measured: JVM 0.9 GB, driver 0.3 GB, worker 0.25 GB without shared pages. The matrices: scatter,
# covariance, eigenvectors and two of LAPACK. A worker has the archive of the graph and the engine's
# own copy, which takes half of it in bfloat16.
LEAST = MemoryModel(
    jvm=300 * MB, driver=100 * MB, pca_matrices=4, worker=120 * MB, worker_graphs=1.5
)
# The engine's copy of the graph is part of what a worker takes for its images.
LIKELY = MemoryModel(
    jvm=850 * MB,
    jvm_graphs=8,
    jvm_outside_heap=400 * MB,
    driver=235 * MB,
    driver_graphs=1,
    driver_image=600,
    pca_matrices=5,
    worker=232 * MB,
    worker_graphs=1,
)


def moments_memory(dimension: int, rows: int) -> int:
    """The bytes of a worker for moments: four limbs of a block of rows, six sums of products."""
    return 8 * (4 * dimension * min(rows, BLOCK_ROWS) + 6 * dimension**2)


def require_capacity(
    config: RunConfig, listing: Parts, graph: CompiledGraph, resources: Resources
) -> None:
    """Refuses a run that surely does not fit.

    Raises:
        ConfigError: The memory is too small.
        OutputError: The disk is too small.
    """
    if error := refusal(config, listing, graph, resources, available_disk(config.output)):
        raise error


def refusal(
    config: RunConfig, listing: Parts, graph: CompiledGraph, resources: Resources, disk: float
) -> FruitsError | None:
    """The error of a run that surely does not fit, which says what to change; None if it may fit.

    Args:
        config: The options.
        listing: The images, rows of :data:`fruits.sources.listing.LISTING`.
        graph: The backbone.
        resources: The cores and the memory that the run has.
        disk: The bytes that the output may take; infinite if unknown.
    """
    least = LEAST.footprint(graph, heap=None if resources.heap is None else 0)
    images = listing.num_rows
    return (
        _pca_refusal(graph, least, resources)
        or _workers_refusal(images, graph, least, resources)
        or _disk_refusal(config, images, graph.dimension, disk)
        or labels_refusal(config, listing, graph.dimension, resources.memory)
    )


def components_refusal(
    config: RunConfig, listing: Parts, graph: CompiledGraph
) -> ConfigError | None:
    """The error of a run with more components than its images can have; None if they may have them.

    Args:
        config: The options.
        listing: The images, rows of :data:`fruits.sources.listing.LISTING`.
        graph: The backbone.
    """
    if config.model or not isinstance(config.components, int):
        return None
    # With a detector, a photograph may have any number of rows.
    images = graph.dimension if graph.detector else _training_images(listing)
    possible = min(images, graph.dimension)
    if config.components <= possible:
        return None
    return too_many_components(config.components, possible)


def _training_images(listing: Parts) -> int:
    """The number of images that the PCA is fitted to, if none is rejected."""
    sides = Counter[str | None]()
    for part in listing:
        sides.update(value_counts(part["split"]))
    side = training_side(sides)
    return listing.num_rows if side is None else sides[side]


def _pca_refusal(
    graph: CompiledGraph, least: Footprint, resources: Resources
) -> FruitsError | None:
    driver = least.driver + least.pca
    if driver <= resources.memory:
        return None
    return ConfigError(
        f"backbone: wanted one whose PCA fits in memory; that of the {graph.dimension:,} "
        f"features of {graph.backbone} takes {size(driver)} at least, and {_memory_of(resources)}: "
        "use a backbone with fewer features, or a larger machine"
    )


def _workers_refusal(
    images: int, graph: CompiledGraph, least: Footprint, resources: Resources
) -> FruitsError | None:
    workers, others = min(resources.cores, images), least.jvm + least.driver
    left = resources.memory - others
    if not resources.local or workers * least.worker <= left:
        return None
    fitting = int(left // least.worker)
    fewer = f"{fitting} at most ({FEWER_LOCAL}), or" if left > least.worker else "it"
    return ConfigError(
        f"memory: {workers} tasks at a time with {graph.backbone} take "
        f"{size(others + workers * least.worker)} at least, and {_memory_of(resources)}: "
        f"run {fewer} on a larger machine, or with a smaller backbone"
    )


def _disk_refusal(
    config: RunConfig, images: int, dimension: int, disk: float
) -> FruitsError | None:
    numbers = dimension + (config.components if isinstance(config.components, int) else 0)
    output = images * (1 - config.max_rejected) * 4 * numbers * LEAST_STORED
    if output <= disk:
        return None
    return OutputError(
        f"output: {config.output} has {size(disk)} free; the results of {images:,} images need "
        f"at least {size(output)}: free some space, or give another output"
    )


def _memory_of(resources: Resources) -> str:
    return f"this machine, or its container, has {size(resources.memory)}"
