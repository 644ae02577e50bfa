"""A finished run, for notebooks and programs: its tables, its figures, its photographs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fruits.errors import OutputError
from fruits.runs.basis import Basis, read_basis
from fruits.runs.held_out import read_held_out
from fruits.runs.outputs import Outputs
from fruits.runs.summary import summary
from fruits.sources.boxes import box_of, photographs
from fruits.sources.crop import CROPS
from fruits.sources.listing import sample_evenly
from fruits.sources.open_source import located
from fruits.sources.reading import contents_of
from fruits.sources.resize import InputSpec

if TYPE_CHECKING:
    # Loading Spark takes a second, and what only some callers ask for as long.
    import numpy as np
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from fruits.classify.evaluate import Evaluation
    from fruits.reduction.fit import Reduction
    from fruits.runs.classify import Classified


@dataclass(frozen=True)
class Results:
    """What a run has made, as it is in memory.

    Attributes:
        reduction: the fitted scaler and PCA.
        classified: the classifier; None where there is none.
        evaluations: of the classifier, the one on groups unseen first.
    """

    reduction: Reduction
    classified: Classified | None
    evaluations: list[Evaluation]


@dataclass(frozen=True)
class Run:
    """What a run has made, or has found where nothing has changed.

    Attributes:
        outputs: where everything lies.
        report: the content of run.json.
        session: in which it was made; None where it was found.
        made: what is still in memory; None where it was found.
    """

    outputs: Outputs
    report: dict[str, Any]
    session: SparkSession | None = None
    made: Results | None = None

    @cached_property
    def spark(self) -> SparkSession:
        """The session; a new one where none was needed so far."""
        from fruits.spark.session import get_spark, run_session

        return self.session or run_session(get_spark(str(self.outputs.root)))

    @property
    def reduction(self) -> Reduction:
        """The fitted scaler and PCA."""
        return self._results.reduction

    @property
    def classified(self) -> Classified | None:
        """The classifier; None where there is none."""
        return self._results.classified

    @property
    def evaluations(self) -> list[Evaluation]:
        """Of the classifier, the one on groups unseen first."""
        return self._results.evaluations

    @cached_property
    def _results(self) -> Results:
        return self.made or _read_results(self.outputs, self.report)

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
        from pyspark.sql import functions as F

        wanted = list(dict.fromkeys(paths))
        rows = self.table("features").select("path", "label", "length")
        rows = rows.where(F.col("path").isin(wanted)).toArrow().sort_by("path")
        taken = self._decoded(rows, side)
        return {path: taken[path] for path in wanted if path in taken}

    def _decoded(self, rows: pa.Table, side: int) -> dict[str, NDArray[np.uint8]]:
        """The pixels of images by path; those that are gone or damaged since are left out."""
        from fruits.sources.decode import RejectedImage, decode, decode_box

        crop = self.report["parameters"].get("crop")
        spec = InputSpec(side, crop=crop if crop in CROPS else "")
        paths = rows["path"].to_pylist()
        rows = rows.set_column(rows.column_names.index("path"), "path", photographs(rows["path"]))
        found = {}
        for path, content in zip(paths, contents_of(located(rows)), strict=True):
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
            A ``jscatter.Scatter``: :func:`fruits.report.explore.chosen` gives the rows that the
            lasso has chosen, with their paths.

        Raises:
            ConfigError: jupyter-scatter is not installed.
        """
        from fruits.report.explore import scatter_map
        from fruits.runs.mapped import frame_of

        classifier = self.classified.classifier if self.classified else None
        frame, axes = frame_of(self.spark, self.outputs, self.reduction, classifier)
        return scatter_map(frame, axes[0], axes[1], color_by)

    def summary(self) -> str:
        """The figures in a few lines, and where the results lie."""
        return summary(self.report, self.outputs)


def _read_results(outputs: Outputs, report: dict[str, Any]) -> Results:
    """What a run has made, from the files that it has left."""
    from fruits.classify.evaluate import Evaluation
    from fruits.reduction.fit import fit_reduction

    basis = read_basis(str(outputs.root))
    if basis is None:
        raise OutputError(
            f"output: {outputs.uri('model')} is gone since the run: run again, which makes it anew"
        )
    reduction = fit_reduction(basis.moments, basis.scaler, basis.components)
    evaluations = [Evaluation.from_json(one) for one in report["evaluation"]]
    return Results(reduction, _classified(outputs, basis, evaluations), evaluations)


def _classified(outputs: Outputs, basis: Basis, evaluations: list[Evaluation]) -> Classified | None:
    """The classifier that a run has left, and what it has said of the images held out."""
    from fruits.classify.train import SCHEME
    from fruits.runs.classify import Classified

    if (kept := basis.classifier) is None:
        return None
    own = next((one for one in evaluations if one.scheme == SCHEME), None)
    held_out = read_held_out(str(outputs.root)) if own else None
    return Classified(kept.classifier, kept.most_frequent, None, own, held_out, kept.about)
