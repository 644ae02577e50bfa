"""The context of a run, which its steps share: options, images, network, session and output."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import import_module

import pyarrow as pa
from pyspark.sql import SparkSession

from fruits.features.table import FeatureTable
from fruits.features.writer import FeatureWriter
from fruits.runs.boxes import boxes_in
from fruits.runs.capacity import require_capacity
from fruits.runs.output_record import LOCK
from fruits.runs.outputs import Outputs
from fruits.runs.prepare import PreparedRun
from fruits.runs.resources import session_resources
from fruits.spark.failures import spark_errors
from fruits.spark.known import known_parts
from fruits.spark.session import get_spark, run_session
from fruits.storage.location import Location
from fruits.storage.lock import Lock, exclusive


@dataclass(frozen=True)
class RunContext(PreparedRun):
    """A prepared run with its Spark session and the lock of its output.

    Attributes:
        staged: The folder for results that are not published yet.
        lock: The lock of the output.
        spark: The session.
        store: The committed features.
        background: A thread for work that the run does not wait for.
        states: The states of the files of the last finished run; see
            :attr:`fruits.runs.output_record.OutputRecord.states`. Empty if there is no such run,
            or if ``overwrite`` deletes its results.
    """

    staged: Outputs
    lock: Lock
    spark: SparkSession
    store: FeatureWriter
    background: ThreadPoolExecutor
    states: dict[str, str]

    @cached_property
    def trained(self) -> FeatureTable | None:
        """The features of the run whose model is used; None if this run fits its own model."""
        model = self.config.model
        return None if model is None else FeatureTable(Location.of(model) / "features")

    @cached_property
    def chosen(self) -> pa.Table | None:
        """The paths of the images that ``limit`` selects, in memory; None if it selects all.

        With a detector, these are the paths of boxes, which are known after the extraction.
        """
        if not self.config.limit:
            return None
        images = self.listing
        if self.graph.detector:
            images = boxes_in(images, known_parts(self.spark, self.store, images.bounds))
        return images.table(["path"])


@contextmanager
def open_context(prepared: PreparedRun) -> Iterator[RunContext]:
    """Starts Spark and locks the output.

    Raises:
        FruitsError: The caller can fix the problem; the message is one line.
    """
    config, stages, outputs, graph = (
        prepared.config,
        prepared.stages,
        prepared.outputs,
        prepared.graph,
    )
    with (
        spark_errors(),
        exclusive(outputs.uri(LOCK)) as lock,
        ThreadPoolExecutor(1) as background,
    ):
        # Each of these imports takes a second. Spark starts at the same time.
        for name in ("fruits.runs.steps", "fruits.plots", "bokeh.plotting", "bokeh.embed"):
            background.submit(import_module, name)
        with stages("session"):
            spark = run_session(get_spark(config.output))
        if page := spark.sparkContext.uiWebUrl:
            print(f"Spark's page, until the run ends: {page}", file=prepared.progress, flush=True)
        require_capacity(config, prepared.listing.num_rows, graph, session_resources(spark))
        # Read before prepare(), which removes them from the record.
        with outputs.errors():
            states = {} if config.overwrite else outputs.record().states
        outputs.prepare(graph.identity, config.overwrite)
        yield RunContext(
            **{one.name: getattr(prepared, one.name) for one in fields(prepared)},
            staged=outputs.staging(),
            lock=lock,
            spark=spark,
            store=FeatureWriter(outputs.uri("features"), lock),
            background=background,
            states=states,
        )
