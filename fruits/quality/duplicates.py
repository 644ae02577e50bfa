"""Finds images with the same bytes, by their SHA-256."""

from __future__ import annotations

import pyarrow as pa

from fruits.features.digest_keys import Keys
from fruits.quality.contents import Contents
from fruits.quality.copies import Image, copy_finding, images_by_content
from fruits.quality.findings import Finding


def duplicates(images: pa.Table, trained: pa.Table | None = None) -> list[Finding]:
    """Finds images with the same bytes as another image, except the one to keep.

    On each side of the split, the first image by path is kept, and every other one is a
    ``duplicate``. An image that is also on an earlier side (train, validation, test) is a ``split
    duplicate``. An image may be both.

    Args:
        images: A table with the columns :data:`fruits.quality.copies.COLUMNS`.
        trained: The training images of the model, with the same columns, if `images` are others.

    Returns:
        Findings of these two kinds.
    """
    found: list[Finding] = []
    for group in images_by_content(images, trained, _repeated(images, trained)):
        own = [one for one in group if not one.trained]
        first: dict[str | None, Image] = {}
        for image in own:
            if (kept := first.setdefault(image.split, image)) is not image:
                found.append(_same(image, kept))
            if image.follows(group[0]):
                found.append(_same(image, group[0]))
    return found


def _same(image: Image, other: Image) -> Finding:
    return copy_finding(image, other, 1.0, "the same bytes as the other image", "duplicate")


def _repeated(images: pa.Table, trained: pa.Table | None) -> Keys:
    """The contents that several images have."""
    tables = [images] if trained is None else [images, trained]
    contents = Contents.of(table["sha256"] for table in tables)
    return contents.repeated(len(contents.keys))[0]
