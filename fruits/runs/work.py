"""What the steps of a run share: what was asked for, the images, the network and the session."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import import_module

import pyarrow as pa
from pyspark.sql import SparkSession

from fruits.features.writer import FeatureWriter
from fruits.runs.begin import Begun
from fruits.runs.boxes import boxes_in
from fruits.runs.capacity import require_capacity
from fruits.runs.made import LOCK
from fruits.runs.outputs import Outputs
from fruits.runs.place import this_place
from fruits.spark.failures import spark_errors
from fruits.spark.known import known_parts
from fruits.spark.session import get_spark, run_session
from fruits.storage.lock import Lock, exclusive


@dataclass(frozen=True)
class Work(Begun):
    """A run under way.

    Attributes:
        staged: where results are made before they are published.
        lock: of the output.
        spark: the session.
        store: the committed features.
        background: a thread for what the run need not wait for.
    """

    staged: Outputs
    lock: Lock
    spark: SparkSession
    store: FeatureWriter
    background: ThreadPoolExecutor

    @cached_property
    def chosen(self) -> pa.Table | None:
        """The paths of the images that count, or of their boxes, where they are not all.

        In memory; those of boxes are known after the extraction.
        """
        if not self.config.limit:
            return None
        images = self.listing
        if self.graph.detector:
            images = boxes_in(images, known_parts(self.spark, self.store, images.bounds))
        return images.table(["path"])


@contextmanager
def open_work(begun: Begun) -> Iterator[Work]:
    """Starts Spark and locks the output.

    Raises:
        FruitsError: something is wrong that the caller can fix; one clear line.
    """
    config, stages, outputs, graph = begun.config, begun.stages, begun.outputs, begun.graph
    with (
        spark_errors(),
        exclusive(outputs.uri(LOCK)) as lock,
        ThreadPoolExecutor(1) as background,
    ):
        # Each of them takes a second to import, in which Spark starts.
        for name in ("fruits.runs.steps", "fruits.plots", "bokeh.plotting", "bokeh.embed"):
            background.submit(import_module, name)
        with stages("session"):
            spark = run_session(get_spark(config.output))
        if page := spark.sparkContext.uiWebUrl:
            print(f"Spark's page, until the run ends: {page}", file=begun.progress, flush=True)
        require_capacity(config, begun.listing.num_rows, graph, this_place(spark))
        outputs.prepare(graph.identity, config.overwrite)
        yield Work(
            **{one.name: getattr(begun, one.name) for one in fields(begun)},
            staged=outputs.staging(),
            lock=lock,
            spark=spark,
            store=FeatureWriter(outputs.uri("features"), lock),
            background=background,
        )
