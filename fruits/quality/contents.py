"""Selects images of a long table for a comparison: those with copies, and a sample of all.

The digests are read in batches and stay in memory as numbers of 8 bytes. The selection depends only
on the digests, not on the order or the names of the images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fruits.features.digest_keys import Keys, is_in, sorted_keys, unique_keys


@dataclass(frozen=True, eq=False)
class Contents:
    """The contents of n images, some of which are equal.

    Attributes:
        keys: The sorted keys of the digests, (n,) uint64, from
            :func:`fruits.features.digest_keys.sorted_keys`.
    """

    keys: Keys

    @classmethod
    def of(cls, digests: Iterable[pa.Array | pa.ChunkedArray]) -> Contents:
        """The contents in columns of digests, which are read one after the other."""
        return cls(sorted_keys(digests))

    def repeated(self, most: int) -> tuple[Keys, int]:
        """The contents that several images have.

        If there are too many, those with the fewest copies are chosen, and then by digest.

        Args:
            most: The maximum number of images with these contents.

        Returns:
            The keys of the contents, and the number of copies that are left out.
        """
        values = np.unique(self.keys[1:][self.keys[1:] == self.keys[:-1]])
        first = np.searchsorted(self.keys, values, "left")
        counts = np.searchsorted(self.keys, values, "right") - first
        order = np.argsort(counts, kind="stable")
        kept = np.zeros(len(values), bool)
        kept[order[np.cumsum(counts[order]) <= most]] = True
        return values[kept], int((counts[~kept] - 1).sum())

    def shared_with(self, others: Contents) -> Contents:
        """The contents of those images that have one of the contents of others."""
        if not len(others.keys):
            return others
        places = np.searchsorted(others.keys, self.keys)
        return Contents(self.keys[others.keys.take(places, mode="clip") == self.keys])

    def sample(self, most: int) -> tuple[Keys, int]:
        """An even sample of the contents.

        Args:
            most: The maximum number of contents.

        Returns:
            The keys of the sample, and the number of contents that are left out.
        """
        different = int(np.count_nonzero(self.keys[1:] != self.keys[:-1])) + min(1, len(self.keys))
        # Digests are uniformly distributed, so the smallest ones are an even sample. With few
        # copies, they are among the first keys; the different ones of all would be a second array.
        end, some = most, unique_keys(self.keys[:most])
        while len(some) < min(most, different):
            end *= 2
            some = unique_keys(self.keys[:end])
        return some[:most].copy(), max(0, different - most)


def rows_of(batches: Iterable[pa.RecordBatch], keys: Keys, schema: pa.Schema) -> pa.Table:
    """The rows whose contents have one of some keys, ordered by path.

    Args:
        batches: Rows with the columns of the schema, including ``path`` and ``sha256``.
        keys: The sorted keys.
        schema: The schema of the result.
    """
    found = []
    for batch in batches:
        wanted = is_in(keys, batch["sha256"])
        if wanted.any():
            found.append(batch.filter(pa.array(wanted)))
    return pa.Table.from_batches(found, schema).sort_by("path").combine_chunks()
