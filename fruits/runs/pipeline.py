"""The whole flow: a folder of photographs -> features, components, a classifier and a predictor."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fruits.classify.evaluate import Evaluation
from fruits.reduction.fit import Reduction
from fruits.report.explore import scatter_map
from fruits.runs.atlas import write_atlas
from fruits.runs.classify import Classified, train_classifier
from fruits.runs.config import RunConfig
from fruits.runs.extract import Extracted, extract_features
from fruits.runs.mapped import frame_of
from fruits.runs.outputs import Outputs
from fruits.runs.project import project_features
from fruits.runs.publish import (
    describe_results,
    draw_plots,
    publish_results,
    save_model,
    save_predictor,
    write_page,
)
from fruits.runs.quality import find_quality
from fruits.runs.reduce import Reduced, reduce_features
from fruits.runs.summary import interruption, summary
from fruits.runs.work import Work, open_work
from fruits.sources.decode import decode
from fruits.sources.listing import sample_evenly
from fruits.sources.open_source import located
from fruits.sources.reading import contents_of
from fruits.sources.resize import InputSpec


@dataclass(frozen=True)
class Run:
    """What a run has made.

    Attributes:
        spark: the session.
        outputs: where everything lies.
        report: the content of run.json.
        reduction: the fitted scaler and PCA.
        classified: the classifier; None where there is none.
        evaluations: of the classifier, the one on groups unseen first.
    """

    spark: SparkSession
    outputs: Outputs
    report: dict[str, Any]
    reduction: Reduction
    classified: Classified | None
    evaluations: list[Evaluation]

    def table(self, name: str) -> DataFrame:
        """The table ``features``, ``pca``, ``predictions`` or ``rejected``."""
        return self.outputs.table(self.spark, name)

    def pictures(self, count: int, side: int = 160) -> tuple[list[NDArray[np.uint8]], list[str]]:
        """Some of the images, spread over the labels, squeezed into squares as the CNN gets them.

        Returns:
            Their pixels, uint8 RGB of shape (side, side, 3) each, and their labels.
        """
        rows = self.table("features").select("path", "label", "length").toArrow().sort_by("path")
        some = sample_evenly(rows, count)
        taken = self._decoded(some, side)
        labels = dict(zip(some["path"].to_pylist(), some["label"].to_pylist(), strict=True))
        return list(taken.values()), [str(labels[path]) for path in taken]

    def pictures_of(self, paths: Iterable[str], side: int = 160) -> dict[str, NDArray[np.uint8]]:
        """Images by their paths, squeezed into squares as the CNN gets them.

        Args:
            paths: as in the tables.
            side: of the squares, in pixels.

        Returns:
            Pixels, uint8 RGB of shape (side, side, 3), by path; images that are gone are left out.
        """
        wanted = list(dict.fromkeys(paths))
        rows = self.table("features").select("path", "label", "length")
        rows = rows.where(F.col("path").isin(wanted)).toArrow().sort_by("path")
        taken = self._decoded(rows, side)
        return {path: taken[path] for path in wanted if path in taken}

    def _decoded(self, rows: pa.Table, side: int) -> dict[str, NDArray[np.uint8]]:
        """The pixels of images by path; those that are gone since are left out."""
        spec = InputSpec(side, crop=self.report["parameters"].get("crop") or "")
        contents = contents_of(located(rows))
        return {
            path: decode(content, spec)
            for path, content in zip(rows["path"].to_pylist(), contents, strict=True)
            if isinstance(content, bytes)
        }

    def map(self, color_by: str = "label") -> Any:
        """The images in a scatter plot with a lasso, for a notebook.

        Args:
            color_by: label, split, predicted, confidence, distance or unknown.

        Returns:
            A ``jscatter.Scatter``: :func:`fruits.report.explore.chosen` gives the rows that the
            lasso has chosen, with their paths.

        Raises:
            ConfigError: jupyter-scatter is not installed.
        """
        classifier = self.classified.classifier if self.classified else None
        frame, axes = frame_of(self.spark, self.outputs, self.reduction, classifier)
        return scatter_map(frame, axes[0], axes[1], color_by)

    def summary(self) -> str:
        """The figures in a few lines, and where the results lie."""
        return summary(self.report, self.outputs)


def run(config: RunConfig, progress: TextIO | None = None) -> Run:
    """Extracts the features of all images, reduces and classifies them, and writes the results.

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
    with open_work(config, progress) as work:
        extracted = extract_features(work)
        reduced = reduce_features(work, extracted)
        trained = train_classifier(work, extracted, reduced)
        return finish(work, extracted, reduced, trained)


def finish(work: Work, extracted: Extracted, reduced: Reduced, trained: Classified | str) -> Run:
    """Writes and publishes the results of a run, after its classifier was trained.

    Args:
        work: the run.
        extracted: from its first step.
        reduced: from its second step.
        trained: from its third step: the classifier, or why there is none.
    """
    classified = None if isinstance(trained, str) else trained
    model = save_model(work, extracted, reduced, classified)
    evaluations = project_features(work, extracted, reduced, classified)
    if classified and classified.evaluation:
        evaluations.insert(0, classified.evaluation)
    if classified:
        save_predictor(work, extracted, reduced, classified, evaluations)
    draw_plots(work, reduced, classified, evaluations)
    quality = find_quality(work, reduced, classified)
    write_atlas(work)
    report = describe_results(work, extracted, reduced, trained, evaluations, quality)
    write_page(work, reduced, classified, evaluations, report)
    with work.stages("model"):
        model.result()
    publish_results(work, report)
    return Run(work.spark, work.outputs, report, reduced.reduction, classified, evaluations)
