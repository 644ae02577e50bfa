"""Commits features chunk by chunk, under the lock of their output.

Tasks write their rows into ``features/_staged``; a commit moves the files of successful tasks from
there. Parquet files of rows, thumbnails or rejects that no manifest names were left behind by an
interrupted run.

A run may be suspended between any two steps, and continue after another run has taken over its
lock. So files are never changed, and each manifest gets the next number and is only written if that
number is free. A run that finds rows without a manifest takes the next number before it deletes
them: a manifest that is still on its way is then refused.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fruits.errors import OutputError
from fruits.features.own_files import ROWS_FILE, STAGED_FILE, delete_own
from fruits.features.rejects import REJECTED_FOLDER, Rejects, join_rejects, write_rejects
from fruits.features.table import (
    CHUNKS_FOLDER,
    THUMBNAILS_FOLDER,
    Chunk,
    FeatureTable,
    chunk_number,
)
from fruits.storage.files import create, delete, delete_files, move, paths_in
from fruits.storage.location import Location
from fruits.storage.lock import Lock

STAGED = "_staged"
# Files of rows, also while :func:`fruits.storage.files.replace` writes them.
_OURS = re.compile(rf"{ROWS_FILE}|_[0-9a-f]{{32}}\.{ROWS_FILE}\.tmp")


@dataclass(frozen=True)
class _Leftovers:
    """The paths of files that do not count, in the order in which they are deleted.

    Attributes:
        rows: Rows and rejects that were never committed or were replaced.
        thumbnails: The thumbnails of such rows, and of rows that were staged.
        moments: The moments of replaced chunks.
        manifests: Their manifests, which another manifest hides until then.
    """

    rows: list[str]
    thumbnails: list[str]
    moments: list[str]
    manifests: list[str]


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
            OutputError: a committed file is missing, a manifest is damaged, or another run took the
                lock; then nothing is deleted.
        """
        for chunk in self.chunks():
            if chunk.rejected.inline is not None:
                self.replace_chunks([chunk], chunk.files, [], self._moments(chunk))
        while (found := self._leftovers()).rows and not self._create(self._next()):
            del self._committed  # The interrupted run has committed the rows meanwhile.
        self._delete(found)
        self._delete_staged()

    def clear(self) -> None:
        """Drops all chunks, also damaged ones, and all files that were never committed.

        Raises:
            OutputError: another run took the lock.
        """
        created = False
        while not created:
            number = max(map(chunk_number, self.manifests()), default=-1) + 1
            self._committed = {}
            empty = Chunk(number, [], Rejects(self.root), replaces=tuple(range(number)))
            created = self._create(empty)
        self.delete_replaced()
        self._delete_staged()

    def delete_replaced(self) -> None:
        """Deletes the files of chunks that this run has replaced.

        No row may be staged that is to be committed later.

        Raises:
            OutputError: a committed file is missing, or another run took the lock.
        """
        self._delete(self._leftovers())

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
        """Commits a new chunk, or one that replaces another and has more rows.

        Args:
            files: the names of files in :attr:`staged`, in the order of their rows.
            rejected: the rejected images, a table of :data:`fruits.features.rows.REJECTED`.
            ran: what computed the features, from :func:`fruits.networks.runtime.what_ran`.
            chunk: a chunk that this run made and has not measured yet, which the new chunk
                replaces: it also has its rows and rejects. None for none.

        Returns:
            The committed chunk.
        """
        self._move(files)
        fresh = write_rejects(self.root, rejected)
        had = chunk or self._next()
        written = self._write(
            self._next(
                files=had.files + files,
                rejected=Rejects(self.root, had.rejected.files + fresh.files),
                ran={*had.ran, *ran},
                replaces=(*had.replaces, had.number) if chunk else (),
            )
        )
        if chunk:
            delete(self.side_file(chunk.number, "json"))
        return written

    def replace_chunks(
        self,
        chunks: Sequence[Chunk],
        files: list[str],
        staged: Sequence[str],
        moments: Iterable[Location] = (),
    ) -> Chunk:
        """Commits one chunk that replaces several chunks and has their rejects.

        Args:
            chunks: the chunks to replace.
            files: the names of the files of the new chunk.
            staged: the names of those files that are in :attr:`staged`; the others are already
                committed.
            moments: the moments of the new chunk, in files that may be missing: a name up to the
                first dot, followed by the same suffix as in :meth:`side_file`. They are moved.

        Returns:
            The committed chunk.
        """
        self._move(staged)
        written = self._write(
            self._next(
                files=files,
                rejected=join_rejects(self.root, [chunk.rejected for chunk in chunks]),
                ran={ran for chunk in chunks for ran in chunk.ran},
                replaces=sorted({n for chunk in chunks for n in (*chunk.replaces, chunk.number)}),
            )
        )
        for place in moments:
            if place.filesystem.exists(place.path):
                target = self.side_file(written.number, place.name.partition(".")[2])
                place.filesystem.mv(place.path, target.path)
        return written

    def _move(self, names: Sequence[str]) -> None:
        """Moves staged files to the committed ones."""
        self.lock.require()
        try:
            move([self.root / STAGED / name for name in names], self.root)
        except FileNotFoundError:
            self.lock.require()  # Another run has deleted them.
            raise

    def _next(
        self,
        files: Sequence[str] = (),
        rejected: Rejects | None = None,
        ran: Iterable[str] = (),
        replaces: Iterable[int] = (),
    ) -> Chunk:
        """A new chunk with the next number; it has no rows by default."""
        number = next(reversed(self._committed), -1) + 1
        rejected = rejected or Rejects(self.root)
        return Chunk(number, [*files], rejected, tuple(sorted(ran)), tuple(replaces))

    def _write(self, chunk: Chunk) -> Chunk:
        """Writes the manifest of a chunk, which commits it.

        Raises:
            OutputError: another run took the lock, or has committed a chunk with the same number.
        """
        if not self._create(chunk):
            raise OutputError(
                f"output: another run has written {self.side_file(chunk.number, 'json')} since "
                "this run found it free, because this run was suspended for a while; what it "
                "committed is kept: run again when the other one has ended"
            )
        return chunk

    def _create(self, chunk: Chunk) -> bool:
        """Writes the manifest of a chunk; False if there is another one with its number."""
        committed = self._committed  # Read first, so that the new manifest is not read as well.
        place, content = self.side_file(chunk.number, "json"), _to_json(chunk)
        self.lock.require()
        # This process may have been suspended since. If the response of a store was lost, the
        # content is there already.
        if not create(place, content) and place.filesystem.cat_file(place.path) != content:
            return False
        for number in chunk.replaces:
            committed.pop(number, None)
        committed[chunk.number] = chunk
        return True

    def _leftovers(self) -> _Leftovers:
        """The files that were never committed or were replaced."""
        chunks = self.chunks()
        committed = {name for chunk in chunks for name in chunk.all_files}
        replaced = {number for chunk in chunks for number in chunk.replaces}
        rows = _files_in(self.root)
        rejected = {
            f"{REJECTED_FOLDER}/{name}": path
            for name, path in _files_in(self.root / REJECTED_FOLDER).items()
        }
        self.require_files({*rows, *rejected})
        thumbnails = _files_in(self.root / THUMBNAILS_FOLDER)

        def unknown(files: dict[str, str]) -> list[str]:
            return [
                path
                for name, path in files.items()
                if name not in committed and _OURS.fullmatch(name.rpartition("/")[2])
            ]

        kept = _files_in(self.root / CHUNKS_FOLDER)
        outdated = [path for name, path in kept.items() if _number(name) in replaced]
        return _Leftovers(
            rows=unknown(rows | rejected),
            thumbnails=unknown(thumbnails),
            moments=[path for path in outdated if not path.endswith(".json")],
            manifests=[path for path in outdated if path.endswith(".json")],
        )

    def _delete(self, found: _Leftovers) -> None:
        """Deletes files that were found under the lock; no later commit can name them."""
        self.lock.require()
        for paths in (found.rows, found.thumbnails, found.moments, found.manifests):
            delete_files(self.root, paths)

    def _delete_staged(self) -> None:
        self.lock.require()
        delete_own(self.root / STAGED, STAGED_FILE)

    def _moments(self, chunk: Chunk) -> list[Location]:
        """The stored moments of a chunk."""
        names = _files_in(self.root / CHUNKS_FOLDER)
        own = [name for name in names if _number(name) == chunk.number]
        return [self.root / CHUNKS_FOLDER / name for name in own if name.endswith(".moments")]


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
