"""Lists the images of a source as one table in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from fruits.sources.folder import list_folder
from fruits.sources.naming import Naming
from fruits.sources.open_source import open_source
from fruits.sources.parts import Found


@dataclass(frozen=True)
class Listing:
    """A listing like :class:`fruits.sources.parts.Found`, with the images as a table."""

    images: pa.Table
    passed_over: dict[str, int]
    linked: list[str]

    @classmethod
    def of(cls, found: Found) -> Listing:
        return cls(found.images.table(), found.passed_over, found.linked)


def find_images(folder: str, naming: Naming | None = None) -> Listing:
    """Lists the images of a folder."""
    return Listing.of(list_folder(folder, naming or Naming()))


def list_images(images: str | Sequence[str], naming: Naming | None = None) -> Listing:
    """Lists the images of a source of any kind."""
    return Listing.of(open_source(images, naming).found())
