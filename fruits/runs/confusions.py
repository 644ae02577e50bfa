"""The worst confusions of a run, for its report and for notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fruits.classify.evaluate import Evaluation
from fruits.classify.review import REVIEWED, Confusion, confusions
from fruits.classify.rows import side_of_scheme
from fruits.classify.train import HeldOut
from fruits.features.rows import scan
from fruits.runs.classify import Classified

if TYPE_CHECKING:
    # The import takes half a second.
    import pyarrow.dataset as pads


def worst_confusions(
    evaluation: Evaluation,
    classified: Classified,
    predictions: Callable[[], pads.Dataset],
    count: int,
) -> list[Confusion]:
    """The worst confusions of the first evaluation of a run, each with two images to compare.

    Args:
        evaluation: The first evaluation.
        classified: The classifier, with its predictions of held-out images, if there are any.
        predictions: Opens the table ``predictions``, which is read in batches. It is only called
            without held-out images.
        count: The largest number of confusions to return.
    """
    if held_out := classified.held_out:
        rows = iter([_rows(held_out, classified.classifier.labels)])
    else:
        rows = _evaluated(predictions(), side_of_scheme(evaluation.scheme))
    return confusions(evaluation, rows, count)


def _rows(held_out: HeldOut, labels: Sequence[str]) -> pa.RecordBatch:
    predictions = held_out.predictions
    predicted = pa.array(labels, pa.string()).take(pa.array(predictions.predicted))
    columns = held_out.paths, held_out.labels, predicted, predictions.confidence
    return pa.record_batch(dict(zip(REVIEWED.names, columns, strict=True)), REVIEWED)


def _evaluated(predictions: pads.Dataset, side: str | None) -> Iterator[pa.RecordBatch]:
    """The predictions of the labelled images on one side of the split."""
    split, is_labelled = pc.field("split"), pc.field("label").is_valid()
    is_there = split.is_null() if side is None else split == side
    return scan(predictions, REVIEWED.names, is_labelled & is_there)
