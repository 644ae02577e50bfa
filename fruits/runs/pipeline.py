"""The whole flow: a folder of photographs -> features, components, a model and plots."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from tqdm import tqdm

from fruits.errors import ConfigError, InputError
from fruits.features.rows import matrix
from fruits.features.writer import FeatureWriter
from fruits.networks.compile import compile_backbone
from fruits.networks.graph import CompiledGraph
from fruits.reduction.fit import Reduction, fit_reduction
from fruits.runs.basis import Basis
from fruits.runs.capacity import require_capacity
from fruits.runs.checks import chosen_basis, degrees_turned, require_most
from fruits.runs.config import RunConfig
from fruits.runs.made import RESULTS, STAGING
from fruits.runs.outputs import Outputs
from fruits.runs.place import this_place
from fruits.runs.progress import Stages
from fruits.runs.report import Counts, describe, interruption, summary
from fruits.sources.decode import decode
from fruits.sources.folder import Folder, read_contents
from fruits.sources.listing import anti_join, sample_evenly, semi_join
from fruits.spark import measure
from fruits.spark.extract import extract
from fruits.spark.failures import spark_errors
from fruits.spark.models import pipeline_model
from fruits.spark.project import project
from fruits.spark.session import get_spark, run_session
from fruits.spark.tasks import described
from fruits.storage.location import Location
from fruits.storage.lock import exclusive

REASONS = ["path", "label", "error"]


# Points of the PC1/PC2 plot: more would hide each other.
PLOTTED_IMAGES = 20_000


@dataclass(frozen=True)
class Run:
    """What a run has made.

    Attributes:
        spark: the session.
        outputs: where everything lies.
        report: the content of run.json.
        reduction: the fitted scaler and PCA.
    """

    spark: SparkSession
    outputs: Outputs
    report: dict[str, Any]
    reduction: Reduction

    def table(self, name: str) -> DataFrame:
        """The table ``features``, ``pca`` or ``rejected``."""
        return self.outputs.table(self.spark, name)

    def pictures(self, count: int, side: int = 160) -> tuple[list[NDArray[np.uint8]], list[str]]:
        """Some of the images, spread over the labels, squeezed into squares as the CNN gets them.

        Returns:
            Their pixels, uint8 RGB of shape (side, side, 3) each, and their labels.
        """
        rows = self.table("features").select("path", "label", "length").toArrow().sort_by("path")
        some = sample_evenly(rows, count).to_pylist()
        contents = read_contents((row["path"], row["length"]) for row in some)
        taken = [
            (decode(content, side), str(row["label"]))
            for content, row in zip(contents, some, strict=True)
            if isinstance(content, bytes)  # and not an image that is gone since
        ]
        return [pixels for pixels, _ in taken], [label for _, label in taken]

    def summary(self) -> str:
        """The figures in one line, and where the results lie."""
        return summary(self.report, self.outputs)


def run(config: RunConfig, progress: TextIO | None = None) -> Run:
    """Extracts the features of all images, reduces them, and writes the results.

    Args:
        config: what to do.
        progress: where lines about the progress go; by default stderr.

    Raises:
        FruitsError: when something is wrong that the caller can fix; one clear line.
        KeyboardInterrupt: with a line that says what is committed.
    """
    try:
        return _run(config, progress or sys.stderr)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(interruption(config.output)) from None


def _run(config: RunConfig, progress: TextIO) -> Run:
    """:func:`run`, whose interruption says nothing."""
    stages = Stages(progress)
    outputs = Outputs(config.output)

    with stages("list"):
        source = Folder(config.images)
        found = source.items()
        images = found.images
        listing = sample_evenly(images, config.limit)
    with stages("compile"):
        graph = compile_backbone(
            config.backbone,
            config.weights,
            config.engine,
            config.precision,
            config.exact_decode,
        )
    require_apart(config, found.linked)
    basis = chosen_basis(config, graph)
    if basis:
        config = replace(config, scaler=basis.scaler, components=basis.components)
    else:
        check_before(config, listing.num_rows, graph)
    outputs.check(graph.identity, config.overwrite)

    # One thread for what the run need not wait for.
    with (
        spark_errors(),
        exclusive(outputs.uri("_lock")) as lock,
        ThreadPoolExecutor(1) as background,
    ):
        # Matplotlib takes a second to import, in which Spark starts.
        background.submit(import_module, "fruits.plots")
        with stages("session"):
            spark = run_session(get_spark(config.output))
        if page := spark.sparkContext.uiWebUrl:
            print(f"Spark's page, until the run ends: {page}", file=progress, flush=True)
        require_capacity(config, listing.num_rows, graph, this_place(spark))
        outputs.prepare(graph.identity, config.overwrite)

        with stages("extract"):
            store = FeatureWriter(outputs.uri("features"), lock)
            store.sweep()
            known, refused = measure.known(spark, store), semi_join(store.refused(), listing)
            if not config.allow_removed:
                require_most(known, images, config)
            missing = anti_join(anti_join(listing, known), refused)
            with tqdm(total=missing.num_rows, desc="images", unit=" images", file=progress) as bar:
                report_progress = partial(advance, bar)
                fresh = extract(
                    *(spark, missing, known, graph, store, config.chunk),
                    progress=report_progress,
                    contents=source.contents,
                )
            measure.drop(spark, store, anti_join(known, images))
            rejected = pa.concat_tables([refused, fresh.rejected])
            staged = outputs.staging()
            staged.write_table(rejected.select(REASONS), "rejected")
            counts = Counts.of(listing.num_rows, fresh.extracted, rejected.num_rows)
            if error := rejected_too_many(counts, config, outputs):
                outputs.publish(lock, "rejected")
                raise error

        some = listing if config.limit else None
        with stages("fit"):
            moments = measure.moments(spark, store, listing=some)
            counts.require(moments.count)
            last = basis or outputs.basis()
            turned = degrees_turned(last.moments, moments, config.scaler) if last else None
            fitted_to = basis.moments if basis else moments
            reduction = fit_reduction(fitted_to, config.scaler, config.components)
            basis = Basis(fitted_to, config.scaler, reduction.components, graph.identity)

        with stages("project"):
            model = pipeline_model(anti_join(listing, rejected)["label"], graph, reduction)
            # Spark ML takes seconds to save it, by a dozen jobs of one small task each.
            saved = background.submit(save_model, spark, staged, model, basis)
            project(spark, store, reduction, staged.uri("pca"), some)
            if config.csv:
                staged.write_csv("pca", "pca.csv")

        with stages("plots"):
            from fruits import plots

            variance = reduction.explained_variance
            staged.write_figure(plots.scree(variance, reduction.components), "plots/scree.png")
            with described(spark, "plots: the first two components"):
                points, labels = pc1_pc2(staged.table(spark, "pca"))
            staged.write_figure(plots.scatter(points, labels, variance), "plots/pc1_pc2.png")

        with stages("model"):
            saved.result()

        report = describe(
            *(config, counts, graph, reduction, turned, stages.seconds, spark, store.ran()),
            passed_over=found.passed_over,
        )
        outputs.publish(lock, "rejected", "pca", "pca.csv", "model", "plots", report=report)
    return Run(spark, outputs, report, reduction)


def save_model(spark: SparkSession, staged: Outputs, model: PipelineModel, basis: Basis) -> None:
    """Saves the model, by jobs that are called so."""
    with described(spark, "model: save"):
        staged.write_model(model, basis)


def advance(bar: tqdm, done: int) -> None:
    """Moves a progress bar on to ``done``."""
    bar.update(done - bar.n)


def check_before(config: RunConfig, found: int, graph: CompiledGraph) -> None:
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


def require_apart(config: RunConfig, linked: list[str]) -> None:
    """Makes sure that results are not taken for images, and images not replaced by results.

    Args:
        config: what to do.
        linked: real paths of the folders to which links in the images lead.

    Raises:
        ConfigError: the output is in the images, or the images are where results go.
    """
    images, output = Location.of(config.images), Location.of(config.output)
    for folder in (images, *map(Location.of, linked)):
        if folder.contains(output):
            where = config.images if folder is images else f"{folder}, a part of {config.images}"
            raise ConfigError(
                "output: wanted a folder outside of the images, whose plots would else be taken "
                f"for images; {config.output} is below {where}: give another output"
            )
    for name in (*RESULTS, STAGING):
        if (output / name).contains(images):
            raise ConfigError(
                f"output: wanted a folder that a run may fill; the images {config.images} are in "
                f"{output / name}, which results replace: give another output"
            )


def rejected_too_many(counts: Counts, config: RunConfig, outputs: Outputs) -> InputError | None:
    """The error that ends a run that rejected too much; what was extracted stays committed."""
    reasons = f"the reasons are in {outputs.uri('rejected')}"
    if counts.rejected == counts.found:
        return InputError(
            f"images: wanted some that can be used; all {counts.found} were rejected: {reasons}"
        )
    if counts.rejected > config.max_rejected * counts.found:
        return InputError(
            f"images: wanted at most {config.max_rejected:.2%} rejected (max_rejected); "
            f"{counts.rejected} of {counts.found} were ({counts.rejected / counts.found:.2%}): "
            f"{reasons}; the features of the others are kept"
        )
    return None


def pc1_pc2(components: DataFrame) -> tuple[NDArray[np.float32], list[str]]:
    """The first two components of some images, for a plot, and their labels.

    Returns:
        float32 of shape (n, 2), or (n, 1) where there is only one component, with n of about
        :data:`PLOTTED_IMAGES` at most; and n labels.
    """
    fraction = min(1.0, PLOTTED_IMAGES / components.count())
    chosen = components
    if fraction < 1:  # by their paths: the same ones however the table is partitioned
        share = F.lit(int(fraction * 1_000_000))
        chosen = components.filter(F.pmod(F.xxhash64("path"), F.lit(1_000_000)) < share)
    rows = chosen.orderBy("path").select("label", F.slice("pca", 1, 2).alias("pca")).toArrow()
    return matrix(rows["pca"].combine_chunks()), rows["label"].to_pylist()
