"""Finds images with the same picture but other bytes: saved again, resized, or converted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from fruits.quality.copies import Image, copy_finding, images_by_content
from fruits.quality.findings import Finding
from fruits.quality.signature import Signatures
from fruits.quality.similar import Pairs, similar_pairs

Partners = dict[Image, list[tuple[float, Image]]]


def near_duplicates(
    images: pa.Table,
    thumbnails: Iterable[pa.RecordBatch],
    trained: pa.Table | None = None,
) -> tuple[list[Finding], int]:
    """Finds images that look the same as another image, except the ones to keep.

    In the order of their paths, an image is kept unless it looks the same as a kept image on its
    side. So some frames are kept of a film whose neighbouring frames look the same.

    Args:
        images: A table with the columns :data:`fruits.quality.copies.COLUMNS`.
        thumbnails: The sha256 and thumbnail of all these images.
        trained: The training images of the model, if `images` are others.

    Returns:
        Findings of the kinds ``near-duplicate`` and ``split duplicate``; and the number of
        contents without a thumbnail, which were not compared.
    """
    digests = images["sha256"].combine_chunks()
    wanted = digests
    if trained is not None:
        wanted = pa.concat_arrays([digests, trained["sha256"].combine_chunks()])
    signatures = Signatures.of(thumbnails, wanted)
    pairs = similar_pairs(signatures.luma, signatures.chroma)
    partners = _partners(images, trained, signatures, pairs)
    missing = len(wanted.unique()) - len(signatures.sha256)
    return list(_findings(partners)), missing


def _partners(
    images: pa.Table, trained: pa.Table | None, signatures: Signatures, pairs: Pairs
) -> Partners:
    """The similar images of each image and their difference.

    Of images with equal contents on one side of the split, only the first one counts.
    """
    places = np.unique(np.concatenate([pairs.one, pairs.other]))
    contents = signatures.sha256.take(pa.array(places)).to_pylist()
    groups = images_by_content(images, trained, contents)
    of_place = dict(zip(places.tolist(), map(_one_of_each_side, groups), strict=True))
    found: Partners = {}
    columns = (pairs.one.tolist(), pairs.other.tolist(), pairs.difference.tolist())
    for one, other, difference in zip(*columns, strict=True):
        for image in of_place[one]:
            for partner in of_place[other]:
                found.setdefault(image, []).append((difference, partner))
                found.setdefault(partner, []).append((difference, image))
    return found


def _one_of_each_side(images: list[Image]) -> list[Image]:
    return list({(one.split, one.trained): one for one in reversed(images)}.values())


def _findings(partners: Partners) -> Iterator[Finding]:
    kept: set[Image] = set()
    for image in sorted(partners, key=lambda one: one.order):
        if image.trained:
            continue
        leaks = [one for one in partners[image] if image.leaks_from(one[1])]
        own = [one for one in partners[image] if one[1] in kept and not image.leaks_from(one[1])]
        own = [one for one in own if one[1].split == image.split]
        if not own:
            kept.add(image)
        for found in filter(None, (leaks, own)):
            nearest = min(found, key=lambda one: (one[0], one[1].order))
            yield _finding(image, *nearest, len(found) - 1)


def _finding(image: Image, difference: float, other: Image, more: int) -> Finding:
    what = f"the same picture as the other image: they differ by {difference:.1f} of 255 levels"
    return copy_finding(image, other, 1 - difference / 255, what, "near-duplicate", more)
