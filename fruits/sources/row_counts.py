"""Counts rows by the values of some columns, in a table that is read part by part.

The counts are an Arrow table: with a million labels, a dictionary needs five times the memory.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

COUNT = "images"
"""The column with the number of rows."""

_WAITING = 100_000
"""The minimum number of counts of parts that are added up together."""


class RowCounts:
    """The number of rows for each combination of values of some columns."""

    def __init__(self, *columns: str) -> None:
        """Starts without rows.

        Args:
            columns: The names of columns of text.
        """
        self._columns = list(columns)
        fields = [*((name, pa.string()) for name in columns), (COUNT, pa.int64())]
        self._sums = pa.schema(fields).empty_table()
        self._waiting: list[pa.Table] = []

    def add(self, rows: pa.Table) -> None:
        """Counts further rows, which have at least these columns."""
        groups = rows.select(self._columns).group_by(self._columns, use_threads=False)
        counts = groups.aggregate([([], "count_all")])
        self._waiting.append(counts.rename_columns([*self._columns, COUNT]))
        # Not after each part, so the time does not grow with the product of parts and values.
        waiting = sum(one.num_rows for one in self._waiting)
        if waiting > max(_WAITING, self._sums.num_rows):
            self._add_up()

    def table(self) -> pa.Table:
        """The columns and :data:`COUNT`, int64. Null is a value like any other."""
        self._add_up()
        return self._sums

    def _add_up(self) -> None:
        both = pa.concat_tables([self._sums, *self._waiting])
        self._waiting.clear()
        groups = both.group_by(self._columns, use_threads=False)
        sums = groups.aggregate([(COUNT, "sum")])
        self._sums = sums.rename_columns([*self._columns, COUNT]).combine_chunks()


def value_counts(column: pa.ChunkedArray) -> dict[Any, int]:
    """The number of rows with each value of a column; None is null."""
    values, counts = column.value_counts().flatten()
    return dict(zip(values.to_pylist(), counts.to_pylist(), strict=True))
