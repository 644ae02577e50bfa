"""The step of a run that looks for problems of the images, and writes ``quality/``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fruits.features.rows import rows_of_paths, scan, write_rows
from fruits.planning.label_memory import most_compared, most_labels
from fruits.quality.copies import COLUMNS
from fruits.quality.drift import drift_of_runs, drift_of_splits, farthest_first
from fruits.quality.findings import Finding, by_kind, counts_of, file_of
from fruits.runs.allocator import return_freed_memory
from fruits.runs.classifier_findings import classifier_findings
from fruits.runs.classify import Classified
from fruits.runs.context import RunContext
from fruits.runs.copies import IMAGES, find_copies
from fruits.runs.extract import Extracted
from fruits.runs.reduce import Reduced
from fruits.wording import are, counted


@dataclass(frozen=True)
class Quality:
    """The counts of the findings.

    Attributes:
        counts: The number of findings by kind; None if a check was not made.
        skipped: The reasons for checks that were not made, or not of all images, by kind.
    """

    counts: dict[str, int | None]
    skipped: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The content for run.json: the counts, and ``skipped`` if it is not empty."""
        return self.counts | ({"skipped": self.skipped} if self.skipped else {})


def find_quality(
    context: RunContext, extracted: Extracted, reduced: Reduced, classified: Classified | None
) -> Quality:
    """Stages the tables of findings.

    Args:
        context: The run, whose components and predictions are staged.
        extracted: The images.
        reduced: The scaler and the PCA.
        classified: The classifier; None if there is none.
    """
    with context.stages("quality"):
        found: list[Finding] = []
        not_made = _not_made(reduced, classified)
        skipped = dict(not_made)
        found += find_copies(context, skipped)
        return_freed_memory()
        if classified:
            found += classifier_findings(
                context, classified, _left_out(context, classified), reduced.side, skipped
            )
        found += _drift(context, extracted, reduced, skipped)
        tables, more = by_kind(found)
        for kind, count in more.items():
            reasons = [skipped[kind]] if kind in skipped else []
            skipped[kind] = "; ".join(
                [*reasons, f"{counted(count, 'more finding')} {are(count)} not listed"]
            )
        for kind, table in tables.items():
            write_rows(context.staged.root / file_of(kind), table)
        return Quality(counts_of(tables) | dict.fromkeys(not_made), skipped)


def _not_made(reduced: Reduced, classified: Classified | None) -> dict[str, str]:
    """The reasons for checks that cannot be made, by kind."""
    reasons: dict[str, str] = {}
    if classified is None:
        without = "not looked for without a classifier"
        reasons |= {"label suspect": without, "outlier": without}
    elif not 0 < classified.classifier.threshold < np.inf:
        reasons["outlier"] = "not looked for: no distance is known above which an image is unknown"
    if reduced.side is None and reduced.last is None:
        reasons["drift"] = (
            "not measured: there are neither separate training images nor an earlier run to "
            "compare with"
        )
    return reasons


def _left_out(context: RunContext, classified: Classified) -> pa.Table:
    """The held-out images of the cross-validation, of which there are at most some thousands."""
    paths = classified.held_out.paths if classified.held_out else []
    if not paths:
        return IMAGES.empty_table()
    return rows_of_paths(scan(context.store.dataset(), COLUMNS), pa.array(paths, pa.string()))


def _drift(
    context: RunContext, extracted: Extracted, reduced: Reduced, skipped: dict[str, str]
) -> list[Finding]:
    reduction, labels = reduced.reduction, extracted.labels
    found: list[Finding] = []
    reasons: list[str] = []
    if reduced.side is not None:
        table = context.staged.dataset("pca")
        sizes = {side: count for side, count in extracted.sides.items() if side}
        columns = ["label", "split", "pca"]
        most = most_compared(reduction.components, len(sizes))
        by_label = labels.num_rows <= most
        found += drift_of_splits(scan(table, columns, rows=8192), sizes, by_label)
        if not by_label:
            reasons.append(f"with more than {most:,} labels, they are not compared with train")
    if reduced.last is not None:
        name = "the model" if context.basis else "the last run"
        arrays = np.asarray(reduction.weights), np.asarray(reduction.offset)
        found += drift_of_runs(reduced.measured, reduced.last, *arrays, reduced.side, name)
        most = most_labels(context.graph.dimension)
        if labels.num_rows > most:
            reasons.append(f"with more than {most:,} labels, they are not compared with {name}")
        elif labels["label"].null_count < labels.num_rows and reduced.last.labels.keys() == {None}:
            reasons.append(f"labels are not compared with {name}, which has no sums of labels")
    if reasons:
        skipped["drift"] = "; ".join(reasons)
    return farthest_first(found)
