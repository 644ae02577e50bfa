"""The context of a run, which its steps share: options, images, network, workers and output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

import pyarrow as pa

from fruits.features.writer import FeatureWriter
from fruits.planning.capacity import require_capacity
from fruits.planning.resources import local_resources, session_resources
from fruits.runs.boxes import boxes_in
from fruits.runs.config import RunConfig
from fruits.runs.output_record import LOCK
from fruits.runs.outputs import Outputs
from fruits.runs.prepare import PreparedRun
from fruits.runs.trained_images import TrainedImages
from fruits.storage.location import Location
from fruits.storage.lock import Lock, exclusive
from fruits.tasks.failures import task_errors
from fruits.tasks.known import known_parts
from fruits.tasks.local import LocalWorkers
from fruits.tasks.workers import Workers

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class RunContext(PreparedRun):
    """A prepared run with its workers and the lock of its output.

    Attributes:
        staged: The folder for results that are not published yet.
        lock: The lock of the output.
        workers: The workers of the tasks.
        session: The Spark session; None if the run starts without one.
        store: The committed features.
        background: A thread for work that the run does not wait for.
        states: The states of the files of the last finished run; see
            :attr:`fruits.runs.output_record.OutputRecord.states`. Empty if there is no such run,
            or if ``overwrite`` deletes its results.
    """

    staged: Outputs
    lock: Lock
    workers: Workers
    session: SparkSession | None
    store: FeatureWriter
    background: ThreadPoolExecutor
    states: dict[str, str]

    @cached_property
    def trained(self) -> TrainedImages | None:
        """The training images of the model that is used.

        None if this run fits its own model, or if the model does not list all of them.
        """
        kept = self.basis.classifier if self.basis else None
        if kept is None:
            return None
        model = Location.of(str(self.config.model))
        return TrainedImages.of(model, kept.about["training_images"])

    @cached_property
    def chosen(self) -> pa.Table | None:
        """The sorted paths of the images that ``limit`` selects; None if it selects all.

        With a detector, these are the paths of boxes, which are known after the extraction.
        """
        if not self.config.limit:
            return None
        images = self.listing
        if self.graph.detector:
            images = boxes_in(images, known_parts(self.workers, self.store, images.bounds))
        return images.table(["path"]).sort_by("path").combine_chunks()


@contextmanager
def open_context(
    prepared: PreparedRun, local: LocalWorkers | None = None, tried: Sequence[RunConfig] = ()
) -> Iterator[RunContext]:
    """Locks the output, and starts Spark unless there are local workers.

    Args:
        prepared: The run.
        local: Workers without Spark.
        tried: The options of all classifiers that are tried; each of them must fit in memory. By
            default, only those of the run.

    Raises:
        FruitsError: The caller can fix the problem; the message is one line.
    """
    config, outputs, graph = prepared.config, prepared.outputs, prepared.graph
    with (
        task_errors() if local else _spark_errors(),
        exclusive(outputs.uri(LOCK)) as lock,
        ThreadPoolExecutor(1) as background,
    ):
        # Each of these imports takes a second. The workers start at the same time.
        for name in ("fruits.runs.steps", "fruits.plots", "bokeh.plotting", "bokeh.embed"):
            background.submit(import_module, name)
        background.submit(_compile_page)
        session: SparkSession | None = None
        workers: Workers
        if local:
            workers, resources = local, local_resources(local.slots)
        else:
            from fruits.spark.workers import SparkWorkers

            session = _session(prepared)
            workers, resources = SparkWorkers(session), session_resources(session)
        for one in tried or [config]:
            require_capacity(one, prepared.listing, graph, resources)
        # Read before prepare(), which removes them from the record.
        with outputs.errors():
            states = {} if config.overwrite else outputs.record().states
        outputs.prepare(lock, graph.identity, config.overwrite)
        yield RunContext(
            **{one.name: getattr(prepared, one.name) for one in fields(prepared)},
            staged=outputs.staging(),
            lock=lock,
            workers=workers,
            session=session,
            store=FeatureWriter(outputs.root / "features", lock),
            background=background,
            states=states,
        )


def _spark_errors() -> AbstractContextManager[None]:
    from fruits.spark.failures import spark_errors

    return spark_errors()


def _compile_page() -> None:
    from fruits.report.document import template

    template()


def _session(prepared: PreparedRun) -> SparkSession:
    """Starts Spark."""
    from fruits.spark.session import get_spark, run_session

    with prepared.stages("session"):
        spark = run_session(get_spark(prepared.config.output))
    if page := spark.sparkContext.uiWebUrl:
        progress = prepared.stages.progress
        print(f"Spark's page, until the run ends: {page}", file=progress, flush=True)
    return spark
