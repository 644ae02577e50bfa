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
from fruits.quality.signature import Signatures
from fruits.quality.similar import Ints, similar_pairs

Partners = dict[Image, list[tuple[float, Image]]]


@dataclass(frozen=True, eq=False)
class SimilarContents:
    """Contents that show the same picture as another content.

    Attributes:
        keys: The sorted keys of the n contents, (n,) uint64.
        one: The indices of the first contents of the pairs, (p,) int64.
        other: The indices of the second contents, (p,) int64. Each pair is listed once.
        difference: The differences of the pairs, (p,) float64, see
            :class:`fruits.quality.similar.Pairs`.
        missing: The number of wanted contents without a thumbnail, which were not compared.
    """

    keys: Keys
    one: Ints
    other: Ints
    difference: NDArray[np.float64]
    missing: int


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
    )


def near_duplicates(
    found: SimilarContents, images: pa.Table, trained: pa.Table | None = None
) -> list[Finding]:
    """Finds images that look the same as another image, except the ones to keep.

    In the order of their paths, an image is kept unless it looks the same as a kept image on its
    side. So some frames are kept of a film whose neighbouring frames look the same.

    Args:
        found: The contents that show the same picture as another one.
        images: The images with these contents, a table with the columns
            :data:`fruits.quality.copies.COLUMNS`; others are ignored.
        trained: The training images of the model, if `images` are others.

    Returns:
        Findings of the kinds ``near-duplicate`` and ``split duplicate``.
    """
    return list(_findings(_partners(found, images, trained)))


def _partners(found: SimilarContents, images: pa.Table, trained: pa.Table | None) -> Partners:
    """The similar images of each image and their difference.

    Of images with equal contents on one side of the split, only the first one counts.
    """
    groups = [_one_of_each_side(own) for own in images_by_content(images, trained, found.keys)]
    partners: Partners = {}
    columns = (found.one.tolist(), found.other.tolist(), found.difference.tolist())
    for one, other, difference in zip(*columns, strict=True):
        for image in groups[one]:
            for partner in groups[other]:
                partners.setdefault(image, []).append((difference, partner))
                partners.setdefault(partner, []).append((difference, image))
    return partners


def _one_of_each_side(images: list[Image]) -> list[Image]:
    return list({(one.split, one.trained): one for one in reversed(images)}.values())


def _findings(partners: Partners) -> Iterator[Finding]:
    kept: set[Image] = set()
    for image in sorted(partners, key=lambda one: one.order):
        if image.trained:
            continue
        leaks = [one for one in partners[image] if image.follows(one[1])]
        own = [one for one in partners[image] if one[1] in kept and not image.follows(one[1])]
        own = [one for one in own if one[1].split == image.split]
        if not own:
            kept.add(image)
        for found in filter(None, (leaks, own)):
            nearest = min(found, key=lambda one: (one[1].side > 0, one[0], one[1].order))
            yield _finding(image, *nearest, len(found) - 1)


def _finding(image: Image, difference: float, other: Image, more: int) -> Finding:
    what = f"the same picture as the other image: they differ by {difference:.1f} of 255 levels"
    return copy_finding(image, other, 1 - difference / 255, what, "near-duplicate", more)
