"""Commits features chunk by chunk, under the lock of their output.

Tasks write their rows into ``features/_staged``; a commit moves the files of successful tasks from
there. Parquet files of rows, thumbnails or rejects that no manifest names were left behind by an
interrupted run.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace as with_changes
from typing import Any

import pyarrow as pa

from fruits.errors import OutputError
from fruits.features.own_files import ROWS_FILE, STAGED_FILE, delete_own
from fruits.features.rejects import REJECTED_FOLDER, Rejects, join_rejects, write_rejects
from fruits.features.table import FOLDER, THUMBNAILS_FOLDER, Chunk, FeatureTable
from fruits.storage.files import create, delete_files, move, paths_in, replace
from fruits.storage.location import Location
from fruits.storage.lock import Lock

STAGED = "_staged"
# Files of rows, also while :func:`fruits.storage.files.replace` writes them.
_OURS = re.compile(rf"{ROWS_FILE}|_[0-9a-f]{{32}}\.{ROWS_FILE}\.tmp")


class FeatureWriter(FeatureTable):
    """The features in an output folder, for the run that may change them.

    Args:
        place: the folder ``features``.
        lock: the lock of the output; nothing is committed without it.
    """

    def __init__(self, place: Location, lock: Lock) -> None:
        super().__init__(place)
        self.lock = lock

    def sweep(self) -> None:
        """Deletes files that an interrupted run left behind, which were never committed.

        Rejects that an earlier version stored in manifests are moved into files.

        Raises:
            OutputError: a committed file is missing, or a manifest is damaged; then nothing is
                deleted.
        """
        for paths in self._leftovers():
            delete_files(self.root, paths)
        delete_own(self.root / STAGED, STAGED_FILE)
        for chunk in self.chunks():
            if chunk.rejected.inline is not None:
                self._write(with_changes(chunk, rejected=join_rejects(self.root, [chunk.rejected])))

    @property
    def staged(self) -> Location:
        """The folder into which tasks write files of rows with :func:`write_rows`."""
        return self.root / STAGED

    def commit(
        self,
        files: list[str],
        rejected: pa.Table,
        ran: Iterable[str] = (),
        chunk: Chunk | None = None,
    ) -> Chunk:
        """Commits a new chunk, or adds to a chunk.

        Args:
            files: the names of files in :attr:`staged`, in the order of their rows.
            rejected: the rejected images, a table of :data:`fruits.features.rows.REJECTED`.
            ran: what computed the features, from :func:`fruits.networks.runtime.what_ran`.
            chunk: a chunk that this run made and has not measured yet, to which the files are
                added; None for a new chunk.

        Returns:
            The committed chunk.
        """
        self.lock.require()
        move([self.root / STAGED / name for name in files], self.root)
        fresh = write_rejects(self.root, rejected)
        had = chunk or Chunk(self._next_number(), [], Rejects(self.root))
        without = Rejects(self.root, had.rejected.files + fresh.files)
        ran = tuple(sorted({*had.ran, *ran}))
        return self._write(Chunk(had.number, had.files + files, without, ran))

    def replace_chunks(
        self, chunks: Sequence[Chunk], files: list[str], staged: Sequence[str]
    ) -> Chunk:
        """Commits one chunk that replaces several chunks and has their rows.

        Args:
            chunks: the chunks to replace.
            files: the names of the files of the new chunk.
            staged: the names of those files that are in :attr:`staged`; the others are already
                committed.

        Returns:
            The committed chunk.
        """
        self.lock.require()
        move([self.root / STAGED / name for name in staged], self.root)
        rejected = join_rejects(self.root, [chunk.rejected for chunk in chunks])
        ran = sorted({ran for chunk in chunks for ran in chunk.ran})
        replaces = tuple(chunk.number for chunk in chunks)
        return self._write(Chunk(self._next_number(), files, rejected, tuple(ran), replaces))

    def _next_number(self) -> int:
        """The number of a new chunk."""
        return next(reversed(self._committed), -1) + 1

    def _write(self, chunk: Chunk) -> Chunk:
        """Writes the manifest of a chunk, which commits it.

        Raises:
            OutputError: another run took the lock, or has committed a chunk with the same number.
        """
        committed = self._committed  # Read first, so that the new manifest is not read as well.
        place, content = self.side_file(chunk.number, "json"), _to_json(chunk)
        self.lock.require()
        if chunk.number in committed:
            replace(place, content)
        # This process may have been suspended since. If the response of a store was lost, the
        # content is there already.
        elif not create(place, content) and place.filesystem.cat_file(place.path) != content:
            raise OutputError(
                f"output: another run has written {place} since this run found it free, because "
                "this run was suspended for a while; what it committed is kept: run again when "
                "the other one has ended"
            )
        for number in chunk.replaces:
            del committed[number]
        committed[chunk.number] = chunk
        return chunk

    def _leftovers(self) -> tuple[list[str], list[str], list[str]]:
        """The paths of files that were never committed or were replaced, in the order to delete.

        First rows, thumbnails and rejects; then what belongs to replaced chunks; then their
        manifests: the new manifest hides them until then.
        """
        chunks = self.chunks()
        committed = {name for chunk in chunks for name in chunk.all_files}
        numbers = {chunk.number for chunk in chunks}
        replaced = {number for chunk in chunks for number in chunk.replaces}
        rows = _files_in(self.root)
        rejected = {
            f"{REJECTED_FOLDER}/{name}": path
            for name, path in _files_in(self.root / REJECTED_FOLDER).items()
        }
        self.require_files({*rows, *rejected})
        thumbnails = _files_in(self.root / THUMBNAILS_FOLDER)
        unknown = [
            path
            for name, path in (*rows.items(), *thumbnails.items(), *rejected.items())
            if name not in committed and _OURS.fullmatch(name.rpartition("/")[2])
        ]
        kept = _files_in(self.root / FOLDER)
        outdated = [path for name, path in kept.items() if _number(name) in replaced - numbers]
        manifests = [path for path in outdated if path.endswith(".json")]
        others = [path for path in outdated if not path.endswith(".json")]
        return unknown, others, manifests


def _files_in(folder: Location) -> dict[str, str]:
    """The paths of the files in a folder, by name."""
    return {path.rpartition("/")[2]: path for path in paths_in(folder)}


def _number(name: str) -> int | None:
    """The number of the chunk to which a file in the folder of manifests belongs."""
    start = name.partition(".")[0]
    return int(start) if start.isdecimal() else None


def _to_json(chunk: Chunk) -> bytes:
    content: dict[str, Any] = {"number": chunk.number, "files": chunk.files, "ran": chunk.ran}
    if chunk.replaces:
        content["replaces"] = chunk.replaces
    content["rejected"] = chunk.rejected.to_json()
    return json.dumps(content, ensure_ascii=False, indent=1).encode()
