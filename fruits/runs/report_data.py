"""Collects the data of ``report.html`` from the staged results of a run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fruits.classify.evaluate import Evaluation, labels_by_similarity
from fruits.features.rows import sample_batches
from fruits.features.table import FeatureTable
from fruits.quality.findings import file_of
from fruits.report.data import IMAGES, REJECTED, Rejected, ReportData
from fruits.report.sections import KINDS, paths_of
from fruits.runs.allocator import return_freed_memory
from fruits.runs.classify import Classified
from fruits.runs.confusions import worst_confusions
from fruits.runs.context import RunContext
from fruits.runs.extract import Extracted
from fruits.runs.image_map import map_images, sampled, thumbnails
from fruits.runs.reduce import Reduced
from fruits.runs.trained_images import TrainedImages

if TYPE_CHECKING:
    # The import takes half a second.
    import pyarrow.dataset as pads

PAIRS = 12
"""The number of confusions that the report shows as photographs."""

MOST_IMAGES = 200_000
"""The maximum number of images in the report, since their paths are in the driver's memory."""


def collect_report_data(
    context: RunContext,
    extracted: Extracted,
    reduced: Reduced,
    classified: Classified | None,
    evaluations: Sequence[Evaluation],
    report: dict[str, Any],
) -> ReportData:
    """Collects the data of the report. The results must be staged, with the plots.

    Args:
        context: The run.
        extracted: The images.
        reduced: The scaler and the PCA.
        classified: The classifier, or None.
        evaluations: The evaluations of the classifier, the most important one first.
        report: The content of run.json.
    """
    rows = context.staged.dataset("predictions" if classified else "pca", IMAGES)
    images = _sampled_images(rows, extracted.images)
    confusions = (
        worst_confusions(evaluations[0], classified, lambda: rows, PAIRS)
        if classified and evaluations
        else []
    )
    quality = _quality(context)
    classifier = classified.classifier if classified else None
    shown = paths_of(confusions, quality.values())
    images = sampled(images)
    mapped = map_images(context.workers, context.store, reduced.reduction, classifier, images)
    del images
    return_freed_memory()
    return ReportData(
        run=report,
        written=datetime.now().astimezone(),
        images=mapped.images,
        total=extracted.images,
        planes=mapped.planes,
        vectors=mapped.vectors,
        thumbnails=thumbnails(_stores(context), mapped.digests, shown),
        order=labels_by_similarity(classifier) if classifier else (),
        confusions=confusions,
        quality=quality,
        rejected=Rejected.of(context.staged.dataset("rejected", REJECTED).to_batches()),
        static_map=context.staged.read("plots/pc1_pc2.png"),
    )


def _stores(context: RunContext) -> list[FeatureTable | TrainedImages]:
    """The images of the run, and of the model that is used, of which they may be copies."""
    return [context.store, *([context.trained] if context.trained else [])]


def _sampled_images(rows: pads.Dataset, total: int) -> pa.Table:
    """The images of a table, ordered by path; an even sample if there are very many."""
    if total <= MOST_IMAGES:
        return rows.to_table()
    # One chunk instead of thousands of small ones, whose memory is returned.
    sample = sample_batches(rows, MOST_IMAGES, count=total)
    images = pa.Table.from_batches(sample, IMAGES).combine_chunks()
    return_freed_memory()
    return images


def _quality(context: RunContext) -> dict[str, pa.Table]:
    """The staged tables of findings, by kind."""
    files = {kind: file_of(kind) for kind in KINDS}
    return {
        kind: context.staged.dataset(file).to_table()
        for kind, file in files.items()
        if context.staged.exists(file)
    }
