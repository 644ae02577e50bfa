"""Finds members of an archive with the same name, and images that are in several sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits.errors import InputError
from fruits.sources.listing import ROWS
from fruits.sources.members import REFUSED, Member
from fruits.sources.spread import gather
from fruits.sources.text import storable

_SAID = ("label", "split", "group")

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
        for place in np.flatnonzero(~is_last(paths)).tolist():
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


def without_repeats(images: pa.Table) -> tuple[pa.Table, int]:
    """The images without repeated paths, and the number of removed rows.

    Of the rows with a path, a refused one is kept, because rows of one source contradict each
    other, whatever the other sources say. Otherwise, that of the latest version of the file is
    kept: it may have been replaced after an inventory was made.

    Raises:
        InputError: two rows have different labels, splits or groups for the same image.
    """
    counts = images.group_by("path").aggregate([([], "count_all")])
    repeated = counts.filter(pc.greater(counts["count_all"], 1))["path"]
    if not len(repeated):
        return images, 0
    keep = np.ones(images.num_rows, bool)
    # The number of the kept row with each path, what the row says, and its rank.
    kept: dict[str, tuple[int, list[str | None], tuple[Any, ...]]] = {}
    place = images.schema.get_field_index("modified")
    rows = images.set_column(place, "modified", images["modified"].cast(pa.int64()))
    for number in pc.indices_nonzero(pc.is_in(images["path"], repeated)).to_pylist():
        (row,) = rows.slice(number, 1).to_pylist()
        path, said = row["path"], [row[name] for name in _SAID]
        rank = (_is_refused(row), row["modified"], row["length"])
        last = kept.setdefault(path, (number, said, rank))
        if last[1] != said:
            raise _different(path, last[1], said)
        if last[0] != number:
            first = last[2] >= rank
            keep[number if first else last[0]] = False
            kept[path] = last if first else (number, said, rank)
    return images.filter(pa.array(keep)), len(keep) - int(keep.sum())


def _different(path: str, *said: list[str | None]) -> InputError:
    columns = zip(_SAID, *said, strict=True)
    names = " and ".join(f"{name}s" for name, one, other in columns if one != other)
    return InputError(
        f"images: wanted sources that agree; {path} is in two of them, with different {names}: "
        "remove it from one of them"
    )


def _is_refused(row: dict[str, Any]) -> bool:
    return bool(row["at"] and row["at"]["kind"] == REFUSED)


def is_last(paths: pa.Array) -> NDArray[np.bool_]:
    """Whether each of some sorted texts differs from the next one."""
    last = np.ones(len(paths), bool)
    if len(paths):
        last[:-1] = pc.not_equal(paths[1:], paths[:-1]).to_numpy(zero_copy_only=False)
    return last
