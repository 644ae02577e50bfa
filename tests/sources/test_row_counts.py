"""Counts of rows by the values of columns, against those of Python."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from fruits.sources import row_counts
from fruits.sources.row_counts import RowCounts


def counted(*parts: pa.Table) -> Counter[tuple[str | None, str | None]]:
    counts = RowCounts("split", "label")
    for part in parts:
        counts.add(part)
    rows = counts.table().to_pylist()
    found = Counter({(row["split"], row["label"]): row["images"] for row in rows})
    assert len(found) == len(rows)
    return found


def test_rows_of_all_parts_are_counted_by_value_and_null_is_a_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_counts, "_WAITING", 20)
    random = np.random.default_rng(0)
    labels = [*(f"label {number}" for number in range(300)), None]
    parts = [
        pa.table(
            {
                "path": pa.array(range(50)),
                "label": pa.array([labels[n] for n in random.integers(301, size=50)], pa.string()),
                "split": pa.array([["train", None][n] for n in random.integers(2, size=50)]),
            }
        )
        for _ in range(30)
    ]
    whole = pa.concat_tables(parts).to_pydict()
    expected = Counter(zip(whole["split"], whole["label"], strict=True))
    assert any(label is None for _, label in expected)
    assert counted(*parts) == expected


def test_no_rows_have_no_counts() -> None:
    table = RowCounts("label").table()
    assert table.num_rows == 0
    assert table.schema.names == ["label", "images"]
