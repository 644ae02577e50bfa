"""Commits features, chunk by chunk, under the lock of their output.

Tasks write their rows into ``features/_staged``, from where a commit moves those of tasks that
succeeded; Parquet files that no manifest names were left behind by an interrupted run, and so were
thumbnails of such files.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from fruits.features.own_files import STAGED_FILE, delete_own
from fruits.features.rows import REJECTED
from fruits.features.table import FOLDER, THUMBNAILS_FOLDER, Chunk, FeatureTable, chunk_number
from fruits.storage.files import move, paths_in, replace
from fruits.storage.location import Location
from fruits.storage.lock import Lock

STAGED = "_staged"
# How tasks name their files of rows; others are not ours.
_ROWS = re.compile(r"[0-9a-f]{32}(-\d{9})?\.parquet")
# How :func:`fruits.storage.files.replace` names such a file before it is whole.
_PARTIAL = re.compile(rf"_[0-9a-f]{{32}}\.{_ROWS.pattern}\.tmp")


class FeatureWriter(FeatureTable):
    """The features below an output folder, for the run that may change them.

    Args:
        place: the folder ``features``.
        lock: of the output; nothing is committed without it.
    """

    def __init__(self, place: str | Location, lock: Lock) -> None:
        super().__init__(place)
        self.lock = lock
        self._last: int | None = None

    def sweep(self) -> None:
        """Deletes what a broken run left behind: files of chunks that were never committed.

        Raises:
            OutputError: a committed file is missing, or a manifest damaged; nothing is deleted.
        """
        for path in self._leftovers():
            self.root.filesystem.rm_file(path)
        delete_own(self.root / STAGED, STAGED_FILE)

    @property
    def staged(self) -> str:
        """The folder into which tasks write files of rows, by :func:`write_rows`."""
        return f"{self.uri}/{STAGED}"

    def commit(
        self,
        files: list[str],
        rejected: pa.Table,
        ran: Iterable[str] = (),
        chunk: Chunk | None = None,
    ) -> Chunk:
        """Makes a chunk, or adds to one.

        Args:
            files: names of those in :attr:`staged`, in the order of their rows.
            rejected: what yielded no features, a table of :data:`REJECTED`.
            ran: what computed the features, from :func:`fruits.networks.runtime.what_ran`.
            chunk: to which they are added, one that this run has made and not yet measured; None
                for a new one.

        Returns:
            The chunk that is now committed.
        """
        self.lock.require()
        move([self.root / STAGED / name for name in files], self.root)
        if chunk:
            number, files = chunk.number, chunk.files + files
            rejected = pa.concat_tables([chunk.rejected, rejected])
            ran = {*chunk.ran, *ran}
        else:
            number = self._next_number()
        chunk = Chunk(number, files, rejected, tuple(sorted(ran)))
        replace(self.side_file(number, "json"), _to_json(chunk))
        return chunk

    def replace_chunks(
        self, chunks: Sequence[Chunk], files: list[str], staged: Sequence[str]
    ) -> Chunk:
        """Commits one chunk with the rows of several, which count no longer from then on.

        Args:
            chunks: that are replaced.
            files: names of those of the new chunk.
            staged: those of them that are in :attr:`staged`; the others are committed already.

        Returns:
            The chunk that is now committed.
        """
        self.lock.require()
        move([self.root / STAGED / name for name in staged], self.root)
        rejected = pa.concat_tables([chunk.rejected for chunk in chunks])
        ran = sorted({ran for chunk in chunks for ran in chunk.ran})
        replaces = tuple(chunk.number for chunk in chunks)
        chunk = Chunk(self._next_number(), files, rejected, tuple(ran), replaces)
        replace(self.side_file(chunk.number, "json"), _to_json(chunk))
        return chunk

    def _next_number(self) -> int:
        """The number of a new chunk; the folder is listed for the first one only."""
        if self._last is None:
            self._last = max((chunk_number(name) for name in self.manifests()), default=-1)
        self._last += 1
        return self._last

    def _leftovers(self) -> list[str]:
        """Paths of rows that were never committed or were replaced, and of their thumbnails."""
        chunks = self.chunks()
        committed = {name for chunk in chunks for name in chunk.files}
        numbers = {chunk.number for chunk in chunks}
        replaced = {number for chunk in chunks for number in chunk.replaces}
        rows = _files_in(self.root)
        self.require_files({*rows})
        thumbnails = _files_in(self.root / THUMBNAILS_FOLDER)
        # The rows and moments of a replaced chunk go before its manifest, which hides them.
        kept = _files_in(self.root / FOLDER)
        outdated = [name for name in kept if _number(name) in replaced - numbers]
        return [
            *(
                path
                for name, path in (*rows.items(), *thumbnails.items())
                if name not in committed and (_ROWS.fullmatch(name) or _PARTIAL.fullmatch(name))
            ),
            *(kept[name] for name in sorted(outdated, key=lambda name: name.endswith(".json"))),
        ]


def _files_in(folder: Location) -> dict[str, str]:
    """Paths of what is in a folder, by name."""
    return {path.rpartition("/")[2]: path for path in paths_in(folder)}


def _number(name: str) -> int | None:
    """The number of the chunk to which something in the folder of manifests belongs."""
    start = name.partition(".")[0]
    return int(start) if start.isdecimal() else None


def _to_json(chunk: Chunk) -> bytes:
    rejected = chunk.rejected.set_column(
        REJECTED.get_field_index("modified"),
        "modified",
        chunk.rejected["modified"].cast(pa.int64()),
    )
    content: dict[str, Any] = {"number": chunk.number, "files": chunk.files, "ran": chunk.ran}
    if chunk.replaces:
        content["replaces"] = chunk.replaces
    content["rejected"] = rejected.to_pylist()
    return json.dumps(content, ensure_ascii=False, indent=1).encode()
