"""The first step of a run: the features of all images, and what became of each image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from fruits.errors import InputError
from fruits.features.rows import REJECTED
from fruits.features.table import UNREADABLE
from fruits.runs.boxes import boxes_in, photographs_in
from fruits.runs.checks import require_most
from fruits.runs.config import RunConfig
from fruits.runs.outputs import Outputs
from fruits.runs.summary import Counts
from fruits.runs.work import Work
from fruits.sources.listing import anti_join, semi_join
from fruits.sources.parts import Parts, Read, Totals
from fruits.sources.spread import Spread
from fruits.spark import measure
from fruits.spark.compact import compact
from fruits.spark.extract import Extraction, extract
from fruits.spark.known import known_digests, known_parts

REASONS = ["path", "label", "error"]


@dataclass(frozen=True)
class Extracted:
    """What the extraction came to.

    Attributes:
        counts: of the images.
        usable: those that have features, rows of :data:`fruits.sources.listing.LISTING`; with a
            detector, their boxes.
        sides: how many of them are on each side of the split; None for those on no side.
        labels: how many of them have each label; None for those without.
        unreadable: how many could not be read, which the next run tries again.
    """

    counts: Counts
    usable: Parts
    sides: dict[str | None, int]
    labels: dict[str | None, int]
    unreadable: int

    @property
    def images(self) -> int:
        """How many are usable."""
        return sum(self.sides.values())

    def of_side(self, side: str | None) -> pa.Table:
        """The usable images of one side of the split, in memory; all of them for None."""
        if side is None:
            return self.usable.table()
        return pa.concat_tables(part.filter(pc.field("split") == side) for part in self.usable)

    def require_rows(self, rows: int, side: str | None) -> None:
        """Compares the rows of features that were read with the images that have some.

        Raises:
            RuntimeError: an image was lost or counted twice.
        """
        wanted = self.images if side is None else self.sides.get(side, 0)
        if rows != wanted or self.images != self.counts.rows:
            raise RuntimeError(
                f"wanted features of {wanted:,} images ({self.counts}), there are {rows:,} rows: "
                "run again with overwrite, and please report this"
            )


def extract_features(work: Work) -> Extracted:
    """Makes the features of new images, and drops those of images that are gone.

    Raises:
        InputError: too many images of earlier runs are gone, or too many were rejected; what was
            extracted stays committed.
    """
    with work.stages("extract"):
        work.store.sweep()
        compact(work.spark, work.store)
        known = known_parts(work.spark, work.store, work.found.images.bounds)
        # Of a photograph with boxes there are several rows, which come and go together.
        images = photographs_in(known) if work.graph.detector else known
        if not work.config.allow_removed:
            require_most(images, work.found.images, work.config)
        missing, rejected = _compared(work, images)
        fresh = _extracted(work, missing, known)
        listed = work.found.images
        rows = boxes_in(listed, known) if work.graph.detector else listed
        for there, found in zip(known, rows, strict=True):
            measure.drop(work.spark, work.store, anti_join(there, found))
            measure.relabel(work.spark, work.store, found, there)
        for number, part in enumerate(fresh.rejected):
            rejected.add_to(number, part)
        without = rejected.parts()
        _write_rejected(work, without)
        counts = Counts.of(work.listing.num_rows, fresh.extracted, without.num_rows)
        if error := _rejected_too_many(counts, work.config, work.outputs, without):
            work.outputs.publish(work.lock, "rejected")
            raise error
        described = _described(counts, work.listing, without)
        if not work.graph.detector:
            return described
        return _of_boxes(described, known_parts(work.spark, work.store, work.listing.bounds))


def _extracted(work: Work, missing: Parts, known: Parts) -> Extraction:
    """Extracts what is missing, with a progress bar."""
    with (
        tqdm(total=missing.num_rows, desc="images", unit=" images", file=work.progress) as bar,
        known_digests(work.store, known) as digests,
    ):
        return extract(
            *(work.spark, missing, digests, work.graph, work.store, work.config.chunk),
            progress=partial(_advance, bar),
            contents=work.source.contents,
        )


def _compared(work: Work, known: Parts) -> tuple[Parts, Spread]:
    """The images that are to be extracted, and those that were rejected before."""
    bounds = work.listing.bounds
    refused = Spread(REJECTED, bounds)
    refused.add(work.store.refused())
    missing, rejected = Spread(work.listing.schema, bounds), Spread(REJECTED, bounds)
    both = zip(work.listing, known, refused.parts(), strict=True)
    for number, (listed, there, without) in enumerate(both):
        own = semi_join(without, listed)
        rejected.add_to(number, own)
        missing.add_to(number, anti_join(anti_join(listed, there), own))
    return missing.parts(), rejected


def _write_rejected(work: Work, rejected: Parts) -> None:
    """Stages the table ``rejected``: a file for each part that has some, one at least."""
    for number, part in enumerate(rejected):
        if part.num_rows or not number:
            work.staged.write_table(part.select(REASONS), "rejected", number)


def _described(counts: Counts, listing: Parts, rejected: Parts) -> Extracted:
    """Counts the images that have features."""
    reads = [partial(_without, *both) for both in zip(listing.reads, rejected.reads, strict=True)]
    totals = Totals.of(read() for read in reads)
    unreadable = sum(
        pc.sum(pc.starts_with(part["error"], UNREADABLE)).as_py() or 0 for part in rejected
    )
    usable = Parts(listing.schema, listing.bounds, totals.rows, reads)
    return Extracted(counts, usable, totals.sides, totals.labels, unreadable)


def _of_boxes(extracted: Extracted, rows: Parts) -> Extracted:
    """What an extraction came to, with the boxes of the usable photographs in their place.

    Raises:
        RuntimeError: a photograph has no box.
    """
    boxes = boxes_in(extracted.usable, rows)
    if photographs_in(boxes).num_rows != extracted.images:
        raise RuntimeError(
            f"wanted boxes of {extracted.images:,} photographs ({extracted.counts}), some have "
            "none: run again with overwrite, and please report this"
        )
    totals = Totals.of(boxes)
    counts = replace(extracted.counts, boxes=boxes.num_rows)
    return Extracted(counts, boxes, totals.sides, totals.labels, extracted.unreadable)


def _without(listing: Read, rejected: Read) -> pa.Table:
    return anti_join(listing(), rejected())


def _advance(bar: tqdm, done: int) -> None:
    """Moves a progress bar on to ``done``."""
    bar.update(done - bar.n)


def _rejected_too_many(
    counts: Counts, config: RunConfig, outputs: Outputs, rejected: Parts
) -> InputError | None:
    """The error that ends a run that rejected too much; what was extracted stays committed."""
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
    """A reason for which images were rejected, and their number."""
    found: Counter[str] = Counter()
    for part in rejected:
        values, counts = pc.value_counts(part["error"]).flatten()
        found.update(dict(zip(values.to_pylist(), counts.to_pylist(), strict=True)))
    return found.most_common(1)[0]
