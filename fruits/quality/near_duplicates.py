"""Finds images with the same picture but other bytes: saved again, resized, or converted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fruits.features.digest_keys import Keys, merged_keys, unique_keys
from fruits.quality.copies import Image, copy_finding, images_by_content
from fruits.quality.findings import Finding
from fruits.quality.picture_pairs import PARTNERS, Ints, similar_pairs
from fruits.quality.signature import Signatures


@dataclass(frozen=True, eq=False)
class SimilarContents:
    """Contents that show the same picture as another content.

    Attributes:
        keys: The sorted keys of the n contents, (n,) uint64.
        one: The indices of the first contents of the pairs, (p,) int64.
        other: The indices of the second contents, (p,) int64. Each pair is listed once.
            See :func:`fruits.quality.picture_pairs.similar_pairs` for the pairs of very many
            contents.
        difference: The differences of the pairs, (p,) float64, see
            :class:`fruits.quality.picture_pairs.Pairs`.
        missing: The number of wanted contents without a thumbnail, which were not compared.
        crowded: The number of contents that may have more pairs, see
            :class:`fruits.quality.picture_pairs.Pairs`.
    """

    keys: Keys
    one: Ints
    other: Ints
    difference: NDArray[np.float64]
    missing: int
    crowded: int


def similar_contents(thumbnails: Iterable[pa.RecordBatch], wanted: Keys) -> SimilarContents:
    """Compares contents by their thumbnails.

    Args:
        thumbnails: The sha256 and thumbnail of all these contents; others are ignored.
        wanted: The sorted keys of the contents to compare.
    """
    signatures = Signatures.of(thumbnails, wanted)
    pairs = similar_pairs(signatures.luma, signatures.chroma)
    ones, others = signatures.keys[pairs.one], signatures.keys[pairs.other]
    keys = unique_keys(merged_keys([ones, others]))
    return SimilarContents(
        keys=keys,
        one=np.searchsorted(keys, ones),
        other=np.searchsorted(keys, others),
        difference=pairs.difference,
        missing=len(wanted) - len(signatures.keys),
        crowded=pairs.crowded,
    )


def near_duplicates(
    found: SimilarContents, images: pa.Table, trained: pa.Table | None = None
) -> list[Finding]:
    """Finds images that look the same as another image, except the ones to keep.

    In the order of their paths, an image is kept unless it looks the same as a kept image on its
    side. So some frames are kept of a film whose neighbouring frames look the same. Images with the
    most pairs come first if not all pairs are known.

    Args:
        found: The contents that show the same picture as another one.
        images: The images with these contents, a table with the columns
            :data:`fruits.quality.copies.COLUMNS`; others are ignored.
        trained: The training images of the model, if `images` are others.

    Returns:
        Findings of the kinds ``near-duplicate`` and ``split duplicate``.
    """
    return list(_findings(found, images, trained))


def _findings(
    found: SimilarContents, images: pa.Table, trained: pa.Table | None
) -> Iterator[Finding]:
    # Of images with equal contents on one side of the split, only the first one counts.
    groups = [_one_of_each_side(own) for own in images_by_content(images, trained, found.keys)]
    ones = np.concatenate([found.one, found.other])
    order = np.argsort(ones, kind="stable")
    starts = np.searchsorted(ones[order], np.arange(len(groups) + 1))
    columns = np.tile(found.difference, 2)[order], np.concatenate([found.other, found.one])[order]
    # A content with so many pairs is the partner of contents that have no room for further pairs.
    counts = np.diff(starts)
    first = np.where(counts > 2 * PARTNERS, -counts, 0).tolist()
    kept: set[Image] = set()
    for image, place in _in_order(groups, first):
        pairs = slice(starts[place], starts[place + 1])
        partners = [
            (difference, partner)
            for difference, content in zip(*(x[pairs].tolist() for x in columns), strict=True)
            for partner in groups[content]
        ]
        earlier = [one for one in partners if image.follows(one[1])]
        own = [one for one in partners if one[1] in kept and one[1].split == image.split]
        if not own:
            kept.add(image)
        for alike in filter(None, (earlier, own)):
            # A training image comes before a more similar image of the validation side.
            nearest = min(alike, key=lambda one: (one[1].side > 0, one[0], one[1].order))
            yield _finding(image, *nearest, len(alike) - 1)


def _in_order(groups: list[list[Image]], first: list[int]) -> list[tuple[Image, int]]:
    """The images of the run with the indices of their contents, in the order of the decisions."""
    own = [(one, place) for place, group in enumerate(groups) for one in group if not one.trained]
    return sorted(own, key=lambda one: (one[0].side, first[one[1]], one[0].path))


def _one_of_each_side(images: list[Image]) -> list[Image]:
    return list({(one.split, one.trained): one for one in reversed(images)}.values())


def _finding(image: Image, difference: float, other: Image, more: int) -> Finding:
    what = f"the same picture as the other image: they differ by {difference:.1f} of 255 levels"
    score = 1 - difference / 255
    return copy_finding(image, other, score, what, "near-duplicate", more)
