"""The first step of a run: the features of all images, and what became of each image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from fruits.errors import InputError
from fruits.features.table import UNREADABLE
from fruits.runs.checks import require_most
from fruits.runs.config import RunConfig
from fruits.runs.outputs import Outputs
from fruits.runs.summary import Counts
from fruits.runs.work import Work
from fruits.sources.boxes import photographs, photographs_of, with_boxes
from fruits.sources.listing import anti_join, semi_join
from fruits.spark import measure
from fruits.spark.compact import compact
from fruits.spark.extract import extract

REASONS = ["path", "label", "error"]


@dataclass(frozen=True)
class Extracted:
    """What the extraction came to.

    Attributes:
        counts: of the images.
        usable: those that have features, a table of :data:`fruits.sources.listing.LISTING`; where
            there is a detector, their boxes.
        unreadable: how many could not be read, which the next run tries again.
    """

    counts: Counts
    usable: pa.Table
    unreadable: int

    def of_side(self, side: str | None) -> pa.Table:
        """The usable images of one side of the split; all of them for None."""
        return self.usable if side is None else self.usable.filter(pc.field("split") == side)

    def require_rows(self, rows: int, side: str | None) -> None:
        """Compares the rows of features that were read with the images that have some.

        Raises:
            RuntimeError: an image was lost or counted twice.
        """
        wanted = self.of_side(side).num_rows
        images = pc.count_distinct(photographs(self.usable["path"])).as_py()
        if rows != wanted or images != self.counts.extracted + self.counts.reused:
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
        known = measure.known(work.spark, work.store)
        # Of a photograph with boxes there are several rows, which come and go together.
        images = photographs_of(known) if work.graph.detector else known
        found = with_boxes(work.found.images, known) if work.graph.detector else work.found.images
        refused = semi_join(work.store.refused(), work.listing)
        if not work.config.allow_removed:
            require_most(images, work.found.images, work.config)
        missing = anti_join(anti_join(work.listing, images), refused)
        with tqdm(total=missing.num_rows, desc="images", unit=" images", file=work.progress) as bar:
            fresh = extract(
                *(work.spark, missing, known, work.graph, work.store, work.config.chunk),
                progress=partial(_advance, bar),
                contents=work.source.contents,
            )
        measure.drop(work.spark, work.store, anti_join(known, found))
        measure.relabel(work.spark, work.store, found, known)
        rejected = pa.concat_tables([refused, fresh.rejected])
        work.staged.write_table(rejected.select(REASONS), "rejected")
        usable = anti_join(work.listing, rejected)
        if work.graph.detector:
            usable = with_boxes(usable, measure.known(work.spark, work.store))
        counts = Counts.of(
            *(work.listing.num_rows, fresh.extracted, rejected.num_rows),
            boxes=usable.num_rows if work.graph.detector else None,
        )
        if error := _rejected_too_many(counts, work.config, work.outputs):
            work.outputs.publish(work.lock, "rejected")
            raise error
    unreadable = pc.sum(pc.starts_with(rejected["error"], UNREADABLE)).as_py() or 0
    return Extracted(counts, usable, unreadable)


def _advance(bar: tqdm, done: int) -> None:
    """Moves a progress bar on to ``done``."""
    bar.update(done - bar.n)


def _rejected_too_many(counts: Counts, config: RunConfig, outputs: Outputs) -> InputError | None:
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
