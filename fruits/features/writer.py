"""Commits features, chunk by chunk, under the lock of their output.

Tasks write their rows into ``features/_staged``, from where a commit moves those of tasks that
succeeded; Parquet files that no manifest names were left behind by an interrupted run, and so were
thumbnails of such files.
"""

import json
import re
from collections.abc import Iterable

import pyarrow as pa

from fruits.features.rows import REJECTED
from fruits.features.table import THUMBNAILS_FOLDER, Chunk, FeatureTable, chunk_number
from fruits.storage.files import delete_folder, move, paths_in, replace
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

    def sweep(self) -> None:
        """Deletes what a broken run left behind: files of chunks that were never committed.

        Raises:
            OutputError: a committed file is missing, or a manifest damaged; nothing is deleted.
        """
        for path in self._leftovers():
            self.root.filesystem.rm_file(path)
        delete_folder(self.root / STAGED)

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
            number = max((chunk_number(name) for name in self.manifests()), default=-1) + 1
        chunk = Chunk(number, files, rejected, tuple(sorted(ran)))
        replace(self.side_file(number, "json"), _to_json(chunk))
        return chunk

    def _leftovers(self) -> list[str]:
        """Paths of rows that were never committed, and of their thumbnails."""
        committed = {name for chunk in self.chunks() for name in chunk.files}
        rows = _files_in(self.root)
        self.require_files({*rows})
        thumbnails = _files_in(self.root / THUMBNAILS_FOLDER)
        return [
            path
            for name, path in (*rows.items(), *thumbnails.items())
            if name not in committed and (_ROWS.fullmatch(name) or _PARTIAL.fullmatch(name))
        ]


def _files_in(folder: Location) -> dict[str, str]:
    """Paths of what is in a folder, by name."""
    return {path.rpartition("/")[2]: path for path in paths_in(folder)}


def _to_json(chunk: Chunk) -> bytes:
    rejected = chunk.rejected.set_column(
        REJECTED.get_field_index("modified"),
        "modified",
        chunk.rejected["modified"].cast(pa.int64()),
    )
    content = {"number": chunk.number, "files": chunk.files, "ran": chunk.ran}
    content["rejected"] = rejected.to_pylist()
    return json.dumps(content, ensure_ascii=False, indent=1).encode()
