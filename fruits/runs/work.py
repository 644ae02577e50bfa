"""What the steps of a run share: what was asked for, the images, the network and the session."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TextIO

import pyarrow as pa
from pyspark.sql import SparkSession

from fruits.errors import ConfigError, InputError
from fruits.features.writer import FeatureWriter
from fruits.networks.graph import CompiledGraph
from fruits.runs.basis import Basis
from fruits.runs.capacity import require_capacity
from fruits.runs.checks import chosen_basis, require_apart
from fruits.runs.config import RunConfig
from fruits.runs.inputs import compile_network, list_images
from fruits.runs.outputs import Outputs
from fruits.runs.place import this_place
from fruits.runs.progress import Stages
from fruits.sources.listing import Listing
from fruits.sources.source import Source
from fruits.spark.failures import spark_errors
from fruits.spark.session import get_spark, run_session
from fruits.storage.lock import Lock, exclusive


@dataclass(frozen=True)
class Work:
    """A run under way.

    Attributes:
        config: what to do.
        progress: where lines about the progress go.
        stages: the seconds of its steps.
        source: the images.
        found: all of them.
        listing: those that the run uses, which ``limit`` may make fewer.
        graph: the compiled backbone.
        basis: of the finished run whose model is used; None where a new one is fitted.
        outputs: the output folder.
        staged: where results are made before they are published.
        lock: of the output.
        spark: the session.
        store: the committed features.
        background: a thread for what the run need not wait for.
    """

    config: RunConfig
    progress: TextIO
    stages: Stages
    source: Source
    found: Listing
    listing: pa.Table
    graph: CompiledGraph
    basis: Basis | None
    outputs: Outputs
    staged: Outputs
    lock: Lock
    spark: SparkSession
    store: FeatureWriter
    background: ThreadPoolExecutor

    @property
    def chosen(self) -> pa.Table | None:
        """The images that count, where they are not all."""
        return self.listing if self.config.limit else None


@contextmanager
def open_work(
    config: RunConfig, progress: TextIO, listed: tuple[Source, Listing, pa.Table] | None = None
) -> Iterator[Work]:
    """Lists the images, compiles the network, starts Spark and locks the output.

    Args:
        config: what to do.
        progress: where lines about the progress go.
        listed: from :func:`fruits.runs.inputs.list_images`, where the images are listed already.

    Raises:
        FruitsError: something is wrong that the caller can fix; one clear line.
    """
    stages = Stages(progress)
    outputs = Outputs.of(config.output)
    source, found, listing = listed or list_images(config, stages)
    graph = compile_network(config, stages)
    require_apart(config, found.linked)
    basis = chosen_basis(config, graph)
    if basis:
        config = replace(config, scaler=basis.scaler, components=basis.components)
    else:
        _require_images(config, listing.num_rows, graph)
    outputs.check(graph.identity, config.overwrite)
    with (
        spark_errors(),
        exclusive(outputs.uri("_lock")) as lock,
        ThreadPoolExecutor(1) as background,
    ):
        # Each of them takes a second to import, in which Spark starts.
        for name in ("fruits.plots", "bokeh.plotting", "bokeh.embed"):
            background.submit(import_module, name)
        with stages("session"):
            spark = run_session(get_spark(config.output))
        if page := spark.sparkContext.uiWebUrl:
            print(f"Spark's page, until the run ends: {page}", file=progress, flush=True)
        require_capacity(config, listing.num_rows, graph, this_place(spark))
        outputs.prepare(graph.identity, config.overwrite)
        store = FeatureWriter(outputs.uri("features"), lock)
        yield Work(
            *(config, progress, stages, source, found, listing, graph, basis),
            *(outputs, outputs.staging(), lock, spark, store, background),
        )


def _require_images(config: RunConfig, found: int, graph: CompiledGraph) -> None:
    """Finds out before any long work what cannot end well.

    Raises:
        ConfigError: more components are wanted than there can be.
        InputError: fewer than two images.
    """
    if found < 2:
        raise InputError(f"images: wanted two at least for a PCA; found {found} in {config.images}")
    possible = min(found, graph.dimension)
    if isinstance(config.components, int) and config.components > possible:
        raise ConfigError(
            f"components: wanted at most {possible} ({found} images, {graph.dimension} features "
            f"of {graph.backbone}); got {config.components}"
        )
