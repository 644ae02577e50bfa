"""The first step of a run: extracts the features of all images and counts the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from fruits.errors import InputError
from fruits.features.changes import changed_rows
from fruits.features.rejects import UNREADABLE
from fruits.features.rows import REJECTED
from fruits.folds.kept_folds import delete_folds
from fruits.runs.boxes import boxes_in, photographs_in
from fruits.runs.checks import require_most
from fruits.runs.config import RunConfig
from fruits.runs.context import RunContext
from fruits.runs.outdated import Outdated
from fruits.runs.outputs import Outputs
from fruits.runs.progress import images_bar
from fruits.runs.run_json import Counts
from fruits.sources.listing import anti_join, last_of_each, semi_join
from fruits.sources.parts import Parts, Read, Totals
from fruits.sources.row_counts import value_counts
from fruits.sources.spread import Spread, divide
from fruits.tasks import update_rows
from fruits.tasks.compact import compact
from fruits.tasks.extract import Extraction, extract
from fruits.tasks.known import divided_by_known, known_parts

REASONS = ["path", "label", "error"]

MOST_DROPPED = 1_000_000
"""The maximum number of dropped rows whose paths are in memory, about 250 bytes each."""


@dataclass(frozen=True)
class Extracted:
    """The result of the extraction.

    Attributes:
        counts: The counts of the images.
        usable: The images that have features, rows of :data:`fruits.sources.listing.LISTING`. With
            a detector, these are boxes.
        sides: The number of usable images on each side of the split; the key None is for images on
            no side.
        with_label: The number of usable images with a label on each side, like `sides`.
        labels: The number of usable images with each label, as
            :attr:`fruits.sources.parts.Totals.labels`.
        unreadable: The number of images that could not be read. The next run tries them again.
        dropped: The paths of rows that this run dropped, in several columns. None if they are more
            than a fifth of the images, or more than :data:`MOST_DROPPED`.
    """

    counts: Counts
    usable: Parts
    sides: dict[str | None, int]
    with_label: dict[str | None, int]
    labels: pa.Table
    unreadable: int
    dropped: list[pa.ChunkedArray] | None

    @property
    def images(self) -> int:
        """The number of usable images."""
        return sum(self.sides.values())

    def labelled(self, side: str | None) -> Parts:
        """The usable images with a label on one side of the split, or on all sides for None.

        They are ordered by path. Columns: ``path``, ``label``, and ``group`` if the source has
        groups.
        """
        names = [name for name in ("path", "label", "group") if name in self.usable.schema.names]
        schema = pa.schema([self.usable.schema.field(name) for name in names])
        found = Spread(schema, self.usable.bounds)
        for number, part in enumerate(self.usable):
            found.add_to(number, _labelled(part, side).select(names).sort_by("path"))
        return found.parts()

    def require_rows(self, rows: int, side: str | None) -> None:
        """Checks that the number of rows of features is the number of usable images.

        Raises:
            RuntimeError: An image was lost or counted twice.
        """
        wanted = self.images if side is None else self.sides.get(side, 0)
        if rows != wanted or self.images != self.counts.rows:
            raise RuntimeError(
                f"wanted features of {wanted:,} images ({self.counts}), there are {rows:,} rows: "
                "run again with overwrite, and please report this"
            )


def _labelled(images: pa.Table, side: str | None) -> pa.Table:
    wanted = pc.is_valid(pc.field("label"))
    return images.filter(wanted if side is None else wanted & (pc.field("split") == side))


def extract_features(context: RunContext) -> Extracted:
    """Extracts the features of new images, and drops the rows of images that are gone.

    Raises:
        InputError: Too many images of earlier runs are gone, or too many were rejected. Extracted
            features stay committed.
    """
    with context.stages("extract"):
        context.store.sweep()
        compact(context.workers, context.store)
        known = divided_by_known(context.workers, context.store, context.found.images)
        if known.bounds != context.found.images.bounds:
            context = _divided(context, known.bounds)
        # A photograph has a row for each box. All of them are new, known or gone together.
        images = photographs_in(known) if context.graph.detector else known
        if not context.config.allow_removed:
            require_most(images, context.found.images, context.config)
        missing, rejected = _compared(context, images)
        fresh = _extracted(context, missing, known)
        for number, part in enumerate(fresh.rejected):
            rejected.add_to(number, part)
        without = rejected.parts()
        _write_rejected(context, without)
        counts = Counts.of(context.listing.num_rows, fresh.extracted, without.num_rows)
        if error := _rejected_too_many(counts, context.config, context.outputs, without):
            context.outputs.publish(context.lock, "rejected")
            raise error
        listed = context.found.images
        rows = boxes_in(listed, known) if context.graph.detector else listed
        dropped = _update(context, known, rows)
        described = _described(counts, context.listing, without, dropped)
        if not context.graph.detector:
            return described
        return _of_boxes(
            described, known_parts(context.workers, context.store, context.listing.bounds)
        )


def _divided(context: RunContext, bounds: Sequence[str]) -> RunContext:
    """The same context, with its images divided by other bounds."""
    found = replace(context.found, images=divide(context.found.images, bounds))
    return replace(context, found=found, listing=divide(context.listing, bounds))


def _extracted(context: RunContext, missing: Parts, known: Parts) -> Extraction:
    """Extracts the missing features, with a progress bar."""
    with images_bar(missing.num_rows, context.stages.progress) as bar:
        return extract(
            context.workers,
            missing,
            known,
            context.graph,
            context.store,
            context.config.chunk,
            partial(_advance, bar),
        )


def _compared(context: RunContext, known: Parts) -> tuple[Parts, Spread]:
    """The images to extract, and the images that earlier runs rejected."""
    bounds = context.listing.bounds
    refused = Spread(REJECTED, bounds)
    for rows in context.store.refused():
        refused.add(rows)
    missing, rejected = Spread(context.listing.schema, bounds), Spread(REJECTED, bounds)
    both = zip(context.listing, known, refused.parts(), strict=True)
    for number, (listed, there, without) in enumerate(both):
        # Earlier versions rejected some images again in each run.
        own = last_of_each(semi_join(without, listed))
        rejected.add_to(number, own)
        missing.add_to(number, anti_join(anti_join(listed, there), own))
    return missing.parts(), rejected


def _write_rejected(context: RunContext, rejected: Parts) -> None:
    """Stages the table ``rejected``: a file for each part that is not empty, at least one file."""
    for number, part in enumerate(rejected):
        if part.num_rows or not number:
            context.staged.write_table(part.select(REASONS), "rejected", number)


def _update(context: RunContext, known: Parts, listed: Parts) -> list[pa.ChunkedArray] | None:
    """Drops rows of missing images and updates labels; returns :attr:`Extracted.dropped`."""
    workers, store = context.workers, context.store
    outdated = Outdated(store.file_sizes(), known.num_rows)
    dropped: list[pa.ChunkedArray] | None = []
    count = 0
    for there, found in zip(known, listed, strict=True):
        if len(pc.unique(there["path"])) < there.num_rows:
            # An interrupted run left two versions of an image: it is not known which was measured.
            delete_folds(store.root)
        gone = anti_join(there, found)
        outdated.add(gone, changed_rows(there, found))
        count += gone.num_rows
        if count > min(MOST_DROPPED, known.num_rows // 5):
            dropped = None
        if dropped is not None:
            dropped.append(gone["path"])
    for stale, changed in outdated:
        update_rows.update(workers, store, stale, changed)
    return dropped


def _described(
    counts: Counts, listing: Parts, rejected: Parts, dropped: list[pa.ChunkedArray] | None
) -> Extracted:
    """The result of the extraction, with the counts of images that have features."""
    reads = [partial(_without, *both) for both in zip(listing.reads, rejected.reads, strict=True)]
    totals = Totals.of(read() for read in reads)
    unreadable = sum(
        pc.sum(pc.starts_with(part["error"], UNREADABLE)).as_py() or 0 for part in rejected
    )
    usable = Parts(listing.schema, listing.bounds, totals.rows, reads)
    return Extracted(
        counts=counts,
        usable=usable,
        sides=totals.sides,
        with_label=totals.labelled,
        labels=totals.labels,
        unreadable=unreadable,
        dropped=dropped,
    )


def _of_boxes(extracted: Extracted, rows: Parts) -> Extracted:
    """Replaces the usable photographs of a result by their boxes.

    Raises:
        RuntimeError: A photograph has no box.
    """
    boxes = boxes_in(extracted.usable, rows)
    if photographs_in(boxes).num_rows != extracted.images:
        raise RuntimeError(
            f"wanted boxes of {extracted.images:,} photographs ({extracted.counts}), some have "
            "none: run again with overwrite, and please report this"
        )
    totals = Totals.of(boxes)
    counts = replace(extracted.counts, boxes=boxes.num_rows)
    return replace(
        extracted,
        counts=counts,
        usable=boxes,
        sides=totals.sides,
        with_label=totals.labelled,
        labels=totals.labels,
    )


def _without(listing: Read, rejected: Read) -> pa.Table:
    return anti_join(listing(), rejected())


def _advance(bar: tqdm, done: int) -> None:
    """Advances a progress bar to ``done``."""
    bar.update(done - bar.n)


def _rejected_too_many(
    counts: Counts, config: RunConfig, outputs: Outputs, rejected: Parts
) -> InputError | None:
    """The error of a run that rejected too many images; None if they are not too many."""
    none_left = counts.rejected == counts.found
    if not none_left and counts.rejected <= config.max_rejected * counts.found:
        return None
    reason, times = _most_frequent_reason(rejected)
    reasons = f"{times:,} for {reason!r}; the reasons are in {outputs.uri('rejected')}"
    if none_left:
        return InputError(
            f"images: wanted some that can be used; all {counts.found:,} were rejected: {reasons}"
        )
    return InputError(
        f"images: wanted at most {config.max_rejected:.2%} rejected (max_rejected); "
        f"{counts.rejected:,} of {counts.found:,} were ({counts.rejected / counts.found:.2%}): "
        f"{reasons}; the features of the others are kept"
    )


def _most_frequent_reason(rejected: Parts) -> tuple[str, int]:
    """The most frequent reason of rejected images, and their number."""
    found: Counter[str] = Counter()
    for part in rejected:
        found.update(value_counts(part["error"]))
    return found.most_common(1)[0]
