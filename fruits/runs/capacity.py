"""The memory that a run takes by process, and whether memory and disk suffice.

Only what surely cannot fit is refused: :data:`LEAST` counts less than any run takes. What a run is
likely to take is :data:`LIKELY`. Its constants were measured from outside (VmHWM in /proc) in runs
of 64 to 5,000 images on two cores, with EfficientNetLite0, MobileNetV2 and ResNet50.
"""

import math
from dataclasses import dataclass

from fruits.errors import ConfigError, FruitsError, OutputError
from fruits.features.products import BLOCK_ROWS
from fruits.networks.graph import CompiledGraph
from fruits.runs.config import RunConfig
from fruits.runs.place import Place, disk_there

MB = 10**6

# Share of their bytes that features keep in Parquet; measured: 1.0 with random weights, and with
# trained ones, of which many are zero, 0.5.
LEAST_STORED = 0.25


@dataclass(frozen=True)
class Footprint:
    """Bytes of memory that the processes of a run take.

    Attributes:
        jvm: of the driver's JVM.
        driver: of the driver's Python, without the PCA.
        pca: added to the driver's Python while the PCA is fitted, when the workers are idle.
        worker: of each Python worker.
    """

    jvm: float
    driver: float
    pca: float
    worker: float

    def together(self, workers: int) -> float:
        """Bytes of all processes, of which so many are Python workers on this machine."""
        return self.jvm + self.driver + self.pca + workers * self.worker


@dataclass(frozen=True)
class MemoryModel:
    """How the memory of processes grows with the graph and the images.

    Attributes:
        jvm: bytes of the driver's JVM.
        jvm_graphs: copies of the graph in it; its heap does not shrink after they are sent.
        jvm_outside_heap: bytes of it at most besides the heap.
        driver: bytes of the driver's Python.
        driver_graphs: copies of the graph in it.
        driver_image: bytes of it for each image: its row in the listing, as a dictionary per file
            for a while; its name, its digest and the cells of its thumbnail.
        pca_matrices: d x d matrices of float64 of the PCA.
        worker: bytes of a Python worker: PySpark, Arrow and their imports.
        worker_graphs: copies of the graph in it.
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
        self, graph: CompiledGraph, images: int = 0, heap: int = 0, work: int = 0
    ) -> Footprint:
        """Bytes by process.

        Args:
            graph: the backbone.
            images: how many there are.
            heap: the most that the driver's JVM takes for its heap, in bytes.
            work: bytes that a worker takes for its images and their moments.
        """
        weight = sum(map(len, graph.parts.values()))
        return Footprint(
            jvm=min(self.jvm + self.jvm_graphs * weight, heap + self.jvm_outside_heap),
            driver=self.driver + self.driver_graphs * weight + self.driver_image * images,
            pca=self.pca_matrices * 8 * graph.dimension**2,
            worker=self.worker + self.worker_graphs * weight + work,
        )


# Measured: 0.9 GB, 0.3 GB and, without pages that processes share, 0.25 GB. Matrices: scatter,
# covariance, eigenvectors, LAPACK's two. A worker has the archive of the graph, and the engine's
# own copy, in bfloat16 at the smallest.
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
    driver_image=2000,
    pca_matrices=5,
    worker=232 * MB,
    worker_graphs=1,
)


def moments_memory(dimension: int, rows: int) -> int:
    """Bytes that a worker takes to measure: four limbs of a block of rows, six sums of products."""
    return 8 * (4 * dimension * min(rows, BLOCK_ROWS) + 6 * dimension**2)


def require_capacity(config: RunConfig, images: int, graph: CompiledGraph, place: Place) -> None:
    """Refuses a run that cannot fit.

    Raises:
        ConfigError: the memory is too small.
        OutputError: the disk is too small.
    """
    if error := refusal(config, images, graph, place, disk_there(config.output)):
        raise error


def refusal(
    config: RunConfig, images: int, graph: CompiledGraph, place: Place, disk: float
) -> FruitsError | None:
    """The error that says why a run cannot fit and what to change; None where it may.

    Args:
        config: what to do.
        images: how many there are.
        graph: the backbone.
        place: where.
        disk: bytes that the output may take; infinite if that is not known.
    """
    least = LEAST.footprint(graph)
    return (
        _pca_refusal(graph, least, place)
        or _workers_refusal(images, graph, least, place)
        or _disk_refusal(config, images, graph.dimension, disk)
    )


def _pca_refusal(graph: CompiledGraph, least: Footprint, place: Place) -> FruitsError | None:
    driver = least.driver + least.pca
    if driver <= place.memory:
        return None
    return ConfigError(
        f"backbone: wanted one whose PCA fits in memory; that of the {graph.dimension:,} "
        f"features of {graph.backbone} takes {size(driver)} at least, and {_memory_of(place)}: "
        "take a backbone with fewer features, or a larger machine"
    )


def _workers_refusal(
    images: int, graph: CompiledGraph, least: Footprint, place: Place
) -> FruitsError | None:
    workers, others = min(place.cores, images), least.jvm + least.driver
    left = place.memory - others
    if not place.local or workers * least.worker <= left:
        return None
    fitting = int(left // least.worker)
    fewer = f"{fitting} at most (--master local[N]), or" if left > least.worker else "it"
    return ConfigError(
        f"memory: {workers} tasks at a time with {graph.backbone} take "
        f"{size(others + workers * least.worker)} at least, and {_memory_of(place)}: "
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
        f"output: {config.output} can take {size(disk)}, and the results of {images:,} images "
        f"are {size(output)} at least: free some space, or give another output"
    )


def _memory_of(place: Place) -> str:
    return f"this machine, or its container, has {size(place.memory)}"


def size(count: float) -> str:
    """Bytes for people to read."""
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= bytes_:
            return f"{count / bytes_:,.1f} {unit}"
    return f"{count:.0f} B"
