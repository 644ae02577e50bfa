"""Finds images of a run that are equal or look the same; of very many, it compares a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from fruits.features.digest_keys import Keys, is_in, merged_keys, sorted_keys, unique_keys
from fruits.features.rows import FEATURES, scan
from fruits.quality.contents import Contents, rows_of
from fruits.quality.copies import COLUMNS, most_serious_first
from fruits.quality.duplicates import duplicates
from fruits.quality.findings import MOST_LISTED, Finding
from fruits.quality.near_duplicates import SimilarContents, near_duplicates, similar_contents
from fruits.quality.picture_pairs import PARTNERS
from fruits.runs.context import RunContext
from fruits.sources.listing import in_sorted
from fruits.wording import are, counted

MOST_COMPARED = 200_000
"""At most this many contents are compared by their pictures, with 400 bytes of memory for each."""

IMAGES = pa.schema([FEATURES.field(name) for name in COLUMNS])
"""The schema of tables of images with the :data:`fruits.quality.copies.COLUMNS`."""


@dataclass(frozen=True)
class _Images:
    """Images that are read in batches, each time they are needed.

    Attributes:
        rows: The table of features.
        wanted: The filter of rows; None for all.
        is_wanted: A second filter, which returns a mask for a batch.
    """

    rows: pads.Dataset
    wanted: pc.Expression | None = None
    is_wanted: Callable[[pa.RecordBatch], pa.Array] | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        for batch in scan(self.rows, COLUMNS, self.wanted):
            yield batch if self.is_wanted is None else batch.filter(self.is_wanted(batch))

    def contents(self) -> Contents:
        return Contents.of(batch["sha256"] for batch in self.batches())

    def of(self, keys: Keys) -> pa.Table:
        """The images with some contents, in the order of their paths."""
        # Nothing is read if nothing is wanted, as in a collection without copies.
        return rows_of(self.batches() if len(keys) else (), keys, IMAGES)


def find_copies(context: RunContext, skipped: dict[str, str]) -> list[Finding]:
    """Finds images that are equal to another image or look the same, the most serious first.

    Args:
        context: The run.
        skipped: Receives the checks that were not made, by kind.
    """
    images = _own(context)
    trained = None
    if context.trained is not None:
        trained = _training_images(context.trained.dataset(), images)
    elif context.basis is not None:
        skipped["split duplicate"] = (
            "not looked for among the training images of the model, which does not list all of them"
        )
    own = images.contents()
    theirs = Contents(np.empty(0, np.uint64)) if trained is None else trained.contents()
    # Copies among the training images of a model are no findings of this run.
    shared = theirs.shared_with(own)
    both = own if trained is None else Contents(merged_keys([own.keys, shared.keys]))

    copies, more = both.repeated(MOST_LISTED)
    if more:
        images_left = f"{counted(more, 'more image')} with the bytes of another one"
        skipped["duplicate"] = f"{images_left} {are(more)} not listed"
    found = duplicates(images.of(copies), trained.of(copies) if trained else None)
    samples = [some.sample(MOST_COMPARED) for some in (own, theirs)]
    del own, theirs, shared, both
    compared = unique_keys(merged_keys(keys for keys, _ in samples))
    thumbnails = context.store.thumbnails()
    if context.trained is not None:
        thumbnails = chain(thumbnails, context.trained.thumbnails())
    similar = similar_contents(thumbnails, compared)
    others = trained.of(similar.keys) if trained else None
    alike = near_duplicates(similar, images.of(similar.keys), others)
    reasons = _not_compared(len(compared), sum(left for _, left in samples), similar)
    if reasons:
        skipped["near-duplicate"] = "; ".join(reasons)
    return most_serious_first(found + alike)


def _not_compared(compared: int, left_out: int, similar: SimilarContents) -> list[str]:
    reasons = []
    if similar.missing:
        reasons.append(
            f"not looked for among {counted(similar.missing, 'image')} without a thumbnail"
        )
    if similar.crowded:
        reasons.append(
            f"not all pairs were compared of {counted(similar.crowded, 'image')} with {PARTNERS} "
            "similar ones or more: copies in another part of the split may be missing"
        )
    if left_out:
        reasons.append(
            f"looked for among {compared:,} different contents, sampled evenly; {left_out:,} more "
            "were not compared"
        )
    return reasons


def _own(context: RunContext) -> _Images:
    """The images that the run uses."""
    rows = context.store.dataset()
    if context.chosen is None:
        return _Images(rows)
    chosen = context.chosen["path"]
    return _Images(rows, is_wanted=lambda batch: in_sorted(batch["path"], chosen))


def _training_images(rows: pads.Dataset, images: _Images) -> _Images:
    """The training images of the model that is used, without those that this run has too."""
    own = sorted_keys(batch["path"] for batch in images.batches())
    return _Images(rows, is_wanted=lambda batch: pc.invert(pa.array(is_in(own, batch["path"]))))
