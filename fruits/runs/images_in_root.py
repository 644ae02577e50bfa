"""Finds images directly in the folder of images, whose label is the name of that folder."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from fruits.runs.config import RunConfig
from fruits.sources.open_source import places_of
from fruits.sources.parts import Parts
from fruits.sources.text import storable
from fruits.storage.location import Location


def loose_images(config: RunConfig, images: Parts, labels: pa.Table) -> dict[str, int]:
    """The label of the images directly in the folder of images, and their number.

    A photograph that was put beside the folders of the labels is one more label, which its owner
    may not expect.

    Args:
        config: The options.
        images: The images, with the column ``path``.
        labels: The labels of the images, in the column ``label``.

    Returns:
        One label, or none if no image, or each image, has the name of the folder as its label.
    """
    places = places_of(config.images)
    if config.naming.label != "parent" or len(places) > 1:
        return {}
    folder = storable(Location.of(places[0]).uri.rstrip("/"))
    label = config.naming.label_of(f"{folder}/1.jpg")
    known = labels["label"].drop_null()
    if label is None or len(known) == 1 or pc.index(known, label).as_py() < 0:
        return {}
    count = sum(_directly_in(folder, part["path"]) for part in images)
    return {label: count} if count else {}


def _directly_in(folder: str, paths: pa.ChunkedArray) -> int:
    folders = pc.replace_substring_regex(paths, "/[^/]*$", "")
    return pc.sum(pc.equal(folders, folder)).as_py() or 0
