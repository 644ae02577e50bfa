"""The protocol of all sources of images.

An item is one image: a row of :data:`fruits.sources.listing.LISTING`. Its key is the unique `path`.
Label, split and group are derived from the key by rules (:mod:`fruits.sources.naming`), so a source
does not need to provide them.
"""

from typing import Protocol

from fruits.sources.parts import Found


class Lister(Protocol):
    """Lists the images of a source."""

    def found(self) -> Found:
        """Lists every image in parts, and counts the skipped files.

        In a short listing, files are sorted by key, and members of an archive are in the order of
        the archive: a task gets consecutive rows, and reads them with few requests. A long listing
        is sorted by key, see :func:`fruits.sources.spread.gather`.

        Raises:
            InputError: there are no images, or a part of the source cannot be listed.
            StorageError: the store cannot be used.
        """
