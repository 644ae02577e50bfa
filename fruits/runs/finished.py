"""A finished run, for notebooks and programs: its tables, figures and photographs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fruits.errors import OutputError
from fruits.features.rows import rows_of_paths, sample_batches, scan
from fruits.features.table import open_features
from fruits.images.crop import CROPS
from fruits.images.resize import InputSpec
from fruits.runs.basis import Basis, read_basis
from fruits.runs.held_out import read_held_out
from fruits.runs.outputs import Outputs
from fruits.runs.summary import summary
from fruits.sources.boxes import box_of, photographs
from fruits.sources.listing import sample_evenly
from fruits.sources.open_source import locate_members
from fruits.sources.parts import IN_MEMORY
from fruits.sources.reading import contents_of

if TYPE_CHECKING:
    # Importing Spark takes a second, and the others together as long.
    import numpy as np
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from fruits.classify.evaluate import Evaluation
    from fruits.reduction.fit import Reduction
    from fruits.runs.classify import Classified


@dataclass(frozen=True)
class Results:
    """The results of a run in memory.

    Attributes:
        reduction: The fitted scaler and PCA.
        classified: The classifier; None if there is none.
        evaluations: The evaluations of the classifier; the one on held-out groups is first.
    """

    reduction: Reduction
    classified: Classified | None
    evaluations: list[Evaluation]


@dataclass(frozen=True)
class Run:
    """A finished run: one that has just ended, or an earlier one if nothing has changed.

    Attributes:
        outputs: The output folder.
        report: The content of run.json.
        session: The Spark session of the run; None for an earlier run, or a run without Spark.
        made: The results in memory; None for an earlier run.
    """

    outputs: Outputs
    report: dict[str, Any]
    session: SparkSession | None = None
    made: Results | None = None

    @cached_property
    def spark(self) -> SparkSession:
        """The session of the run, or a new one if the run needed none."""
        from fruits.spark.session import get_spark, run_session

        return self.session or run_session(get_spark(str(self.outputs.root)))

    @property
    def reduction(self) -> Reduction:
        """The fitted scaler and PCA."""
        return self._results.reduction

    @property
    def classified(self) -> Classified | None:
        """The classifier; None if there is none."""
        return self._results.classified

    @property
    def evaluations(self) -> list[Evaluation]:
        """The evaluations of the classifier; the one on held-out groups is first."""
        return self._results.evaluations

    @cached_property
    def _results(self) -> Results:
        return self.made or _read_results(self.outputs, self.report)

    def table(self, name: str) -> DataFrame:
        """The table ``features``, ``pca``, ``predictions`` or ``rejected``."""
        return self.outputs.table(self.spark, name)

    def pictures(self, count: int, side: int = 160) -> tuple[list[NDArray[np.uint8]], list[str]]:
        """Some of the images, evenly sampled, resized to squares as for the CNN.

        Returns:
            Their pixels, uint8 RGB of shape (side, side, 3) each, and their labels or "no label".
        """
        features = open_features(str(self.outputs.root))
        rows = sample_batches(features, IN_MEMORY, ["path", "label", "length"])
        some = sample_evenly(pa.Table.from_batches(rows).sort_by("path"), count)
        taken = self._decoded(some, side)
        labels = dict(zip(some["path"].to_pylist(), some["label"].to_pylist(), strict=True))
        return list(taken.values()), [labels[path] or "no label" for path in taken]

    def pictures_of(self, paths: Iterable[str], side: int = 160) -> dict[str, NDArray[np.uint8]]:
        """Images by their paths, resized to squares as for the CNN.

        Args:
            paths: The paths, as in the tables.
            side: The side of the squares in pixels.

        Returns:
            Pixels, uint8 RGB of shape (side, side, 3), by path. Missing images are left out.
        """
        wanted = list(dict.fromkeys(paths))
        rows = scan(open_features(str(self.outputs.root)), ["path", "length"])
        found = rows_of_paths(rows, pa.array(wanted, pa.string())).sort_by("path")
        taken = self._decoded(found, side)
        return {path: taken[path] for path in wanted if path in taken}

    def _decoded(self, rows: pa.Table, side: int) -> dict[str, NDArray[np.uint8]]:
        """The pixels of images by path, without images that are missing or damaged now."""
        from fruits.images.decode import RejectedImage, decode, decode_box

        crop = self.report["parameters"].get("crop")
        spec = InputSpec(side, crop=crop if crop in CROPS else "")
        paths = rows["path"].to_pylist()
        rows = rows.set_column(rows.column_names.index("path"), "path", photographs(rows["path"]))
        found = {}
        for path, content in zip(paths, contents_of(locate_members(rows)), strict=True):
            if isinstance(content, bytes):
                box = box_of(path)
                with suppress(RejectedImage):
                    found[path] = decode_box(content, box, spec) if box else decode(content, spec)
        return found

    def map(self, color_by: str = "label") -> Any:
        """The images in a scatter plot with a lasso, for a notebook.

        Args:
            color_by: label, split, predicted, confidence, distance or unknown.

        Returns:
            A ``jscatter.Scatter``: :func:`fruits.report.explore.chosen` returns the rows that the
            lasso selects, with their paths.

        Raises:
            ConfigError: jupyter-scatter is not installed.
        """
        from fruits.report.explore import scatter_map
        from fruits.runs.image_map import frame_of

        classifier = self.classified.classifier if self.classified else None
        frame, axes = frame_of(self.spark, self.outputs, self.reduction, classifier)
        return scatter_map(frame, axes[0], axes[1], color_by)

    def summary(self) -> str:
        """The figures in a few lines, and the paths of the results."""
        return summary(self.report, self.outputs)


def _read_results(outputs: Outputs, report: dict[str, Any]) -> Results:
    """Reads the results of a finished run from its files."""
    from fruits.classify.evaluate import Evaluation
    from fruits.reduction.fit import fit_reduction

    basis = read_basis(outputs.root)
    if basis is None:
        raise OutputError(
            f"output: {outputs.uri('model')} was deleted after the run: run again to write it again"
        )
    reduction = fit_reduction(basis.moments, basis.scaler, basis.components)
    evaluations = [Evaluation.from_json(one) for one in report["evaluation"]]
    return Results(reduction, _classified(outputs, basis, evaluations), evaluations)


def _classified(outputs: Outputs, basis: Basis, evaluations: list[Evaluation]) -> Classified | None:
    """The saved classifier of a run, with its predictions of held-out images."""
    from fruits.classify.train import SCHEME
    from fruits.runs.classify import Classified

    if (kept := basis.classifier) is None:
        return None
    own = next((one for one in evaluations if one.scheme == SCHEME), None)
    held_out = read_held_out(outputs.root) if own else None
    return Classified(
        kept.classifier, kept.most_frequent, kept.baselines, own, held_out, kept.about
    )
