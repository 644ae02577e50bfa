"""Collects files whose content already has features, until their rows are committed."""

import uuid

import pyarrow as pa
import pyarrow.compute as pc

from fruits.features.rows import write_rows
from fruits.features.writer import FeatureWriter
from fruits.sources.listing import LISTING
from fruits.storage.location import Location


class Copies:
    """Files that are copies of known contents, in staged Parquet files.

    The files have the columns of :data:`fruits.sources.listing.LISTING`, and ``content``, the
    SHA-256 of the content.

    Args:
        store: The features.

    Attributes:
        count: The number of copies.
        staged: The staged files.
    """

    def __init__(self, store: FeatureWriter) -> None:
        self.count = 0
        self.staged: list[Location] = []
        self._store = store

    def add(self, files: pa.Table, copies: dict[str, str]) -> None:
        """Adds copies.

        Args:
            files: The files of a chunk, a table of :data:`fruits.sources.listing.LISTING`.
            copies: The SHA-256 of files whose content has features, by path.
        """
        if not copies:
            return
        chosen = files.filter(pc.is_in(files["path"], pa.array(list(copies)))).select(LISTING.names)
        digests = pa.array([copies[path] for path in chosen["path"].to_pylist()])
        file = self._store.staged / f"{uuid.uuid4().hex}.parquet"
        write_rows(file, chosen.append_column("content", digests))
        self.staged.append(file)
        self.count += chosen.num_rows
