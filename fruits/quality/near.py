"""Images that show the same picture with other bytes: saved again, resized, of another format."""

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
    """The images that look like another one: all but the one that stays.

    An image stays unless it looks like one on its side that stays, in the order of their paths: so
    of a film whose neighbouring frames look the same, some frames stay.

    Args:
        images: a table with the columns :data:`fruits.quality.copies.COLUMNS`.
        thumbnails: of both, with the columns sha256 and thumbnail.
        trained: images that a model was trained on, where `images` are others.

    Returns:
        Findings of the kinds ``near-duplicate`` and ``split duplicate``; and how many contents
        have no thumbnail, so that they were not compared.
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
    """Of each image its look-alikes and how they differ; of equal ones on one side the first."""
    places = np.unique(np.concatenate([pairs.one, pairs.other]))
    contents = signatures.sha256.take(pa.array(places)).to_pylist()
    groups = images_by_content(images, trained, contents)
    of_place = dict(zip(places.tolist(), map(_one_of_each_side, groups), strict=True))
    found: Partners = {}
    columns = (pairs.one.tolist(), pairs.other.tolist(), pairs.difference.tolist())
    for one, other, difference in zip(*columns, strict=True):
        for image in of_place[one]:
            for twin in of_place[other]:
                found.setdefault(image, []).append((difference, twin))
                found.setdefault(twin, []).append((difference, image))
    return found


def _one_of_each_side(images: list[Image]) -> list[Image]:
    return list({(one.split, one.trained): one for one in reversed(images)}.values())


def _findings(partners: Partners) -> Iterator[Finding]:
    stays: set[Image] = set()
    for image in sorted(partners, key=lambda one: one.order):
        if image.trained:
            continue
        leaks = [one for one in partners[image] if image.leaks_from(one[1])]
        own = [one for one in partners[image] if one[1] in stays and not image.leaks_from(one[1])]
        own = [one for one in own if one[1].split == image.split]
        if not own:
            stays.add(image)
        for like in filter(None, (leaks, own)):
            yield _finding(image, *min(like, key=lambda one: (one[0], one[1].order)), len(like) - 1)


def _finding(image: Image, difference: float, other: Image, more: int) -> Finding:
    what = f"the same picture as the other image: they differ by {difference:.1f} of 255 levels"
    return copy_finding(image, other, 1 - difference / 255, what, "near-duplicate", more)
