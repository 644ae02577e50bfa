"""The protocol of all sources of images.

An item is one image: a row of :data:`fruits.sources.listing.LISTING`. Its key is the unique `path`.
Label, split and group are derived from the key by rules (:mod:`fruits.sources.naming`), so a source
does not need to provide them.
"""

from typing import Protocol

from fruits.sources.listing import Listing


class Lister(Protocol):
    """Lists the images of a source."""

    def items(self) -> Listing:
        """Lists every image, and counts the skipped files.

        Files are sorted by key, and members of an archive are in the order of the archive: a task
        gets consecutive rows, and reads them with few requests.

        Raises:
            InputError: there are no images, or a part of the source cannot be listed.
            StorageError: the store cannot be used.
        """
