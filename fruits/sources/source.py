"""What every source of images offers, wherever their bytes are.

An item is one image: a row of :data:`fruits.sources.listing.LISTING`. Its key is `path`, which no
other item of the source has; `label` and, where the rules for names say so, split and group follow
from the key (:mod:`fruits.sources.naming`), so that a source need not know of them.
"""

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa

from fruits.sources.listing import Listing


class Lister(Protocol):
    """Knows what images there are in one place."""

    def items(self) -> Listing:
        """Every image, and how many files were passed over.

        Files come in the order of their keys, members of an archive in the order in which they lie
        in it: a task gets rows that follow each other, and reads them by few requests.

        Raises:
            InputError: there is no image, or some part of the source cannot be listed.
            StorageError: the store cannot be used.
        """


class Source(Lister, Protocol):
    """A source of images. It is sent to workers, so it must be picklable, and small."""

    def contents(self, items: pa.Table) -> Iterator[bytes | OSError]:
        """The contents of some items, in their order, several reads ahead.

        Args:
            items: rows of what :meth:`items` returned, with `path` and `length`.

        Yields:
            The bytes, or the error that kept them from being read.

        Raises:
            StorageError: the store cannot be used, whatever the item.
        """
