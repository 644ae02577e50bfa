"""Finds the members of an archive that have the same name, however many members there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.sources.members import ROWS, Member
from fruits.sources.spread import gather
from fruits.sources.text import storable

_NAMES = pa.schema([("path", pa.string()), ("row", pa.int64())])


def repeats(names: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yields the names that occur again later, in no particular order.

    Yields:
        The number of the name, and how often it has occurred up to there.
    """

    def tables() -> Iterator[pa.Table]:
        rest, done = iter(names), 0
        while some := [storable(name) for name in islice(rest, ROWS)]:
            rows = np.arange(done, done + len(some))
            yield pa.table({"path": some, "row": rows}, schema=_NAMES)
            done += len(some)

    for part in gather(tables(), _NAMES, sort=True):
        paths, rows = part["path"].combine_chunks(), part["row"].to_numpy()
        count = 0
        for place in np.flatnonzero(_is_like_next(paths)).tolist():
            again = count and paths[place] == paths[place - 1]
            count = count + 1 if again else 1
            yield int(rows[place]), count


def renamed(members: Iterable[Member], repeated: Mapping[int, int]) -> Iterator[Member]:
    """Makes the names of members different: of several with one name, the last one is kept.

    This is the one that remains when the archive is extracted. The others are listed with a reason.

    Args:
        members: the members.
        repeated: the result of :func:`repeats` for their names.
    """
    for number, one in enumerate(members):
        if count := repeated.get(number):
            reason = one.reason or "a later member of the archive has the same name"
            one = one._replace(name=f"{one.name}#{count}", reason=reason)
        yield one


def _is_like_next(paths: pa.Array) -> NDArray[np.bool_]:
    """Whether each of some sorted texts equals the next one."""
    if len(paths) < 2:
        return np.zeros(len(paths), bool)
    same: NDArray[np.bool_] = pc.equal(paths[:-1], paths[1:]).to_numpy(zero_copy_only=False)
    return same
