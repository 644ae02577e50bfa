"""Findings about a set of images: one schema for all kinds, and their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

KINDS = (
    "split duplicate",
    "duplicate",
    "near-duplicate",
    "label suspect",
    "outlier",
    "drift",
)
"""The kinds of findings, in the order of their importance."""

MOST_LISTED = 100_000
"""The maximum number of findings of one kind; each needs 1.5 kB of memory. The most serious ones
are listed, but of duplicates the contents with the fewest copies."""

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("path", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("other", pa.string()),
        ("other_label", pa.string()),
        ("other_split", pa.string()),
        ("score", pa.float64()),
        ("reason", pa.string()),
    ]
)
"""The schema of every file in ``quality/``."""


@dataclass(frozen=True)
class Finding:
    """A possible problem of an image, or of several images.

    Attributes:
        kind: One of :data:`KINDS`.
        path: The path of the image; None if the finding is about many images.
        label: The label of the image or images; None if there is none.
        split: The side of the split of the image or images; None if there is none.
        other: The path of the similar image; None if there is none.
        other_label: The label of the other image, or the label that was predicted instead.
        other_split: The side of the split of the other image or images.
        score: How serious the finding is: larger is more serious. The unit depends on the kind.
        reason: One plain sentence.
    """

    kind: str
    path: str | None
    label: str | None
    split: str | None
    other: str | None
    other_label: str | None
    other_split: str | None
    score: float
    reason: str


def file_of(kind: str) -> str:
    """The file of one kind, below the output."""
    return f"quality/{kind.replace(' ', '_').replace('-', '_')}.parquet"


def table_of(findings: Iterable[Finding]) -> pa.Table:
    """The findings as a table of :data:`SCHEMA`, in the same order."""
    return pa.Table.from_pylist([vars(one) for one in findings], SCHEMA)


def by_kind(findings: Iterable[Finding]) -> tuple[dict[str, pa.Table], dict[str, int]]:
    """Divides findings by kind.

    Returns:
        A table for each of :data:`KINDS`, which may be empty, with the first :data:`MOST_LISTED`
        findings in the given order; and the number of further findings, by kind.
    """
    grouped: dict[str, list[Finding]] = {kind: [] for kind in KINDS}
    for one in findings:
        grouped[one.kind].append(one)
    tables = {kind: table_of(own[:MOST_LISTED]) for kind, own in grouped.items()}
    more = {kind: len(own) - tables[kind].num_rows for kind, own in grouped.items()}
    return tables, {kind: count for kind, count in more.items() if count}


def counts_of(tables: Mapping[str, pa.Table]) -> dict[str, int]:
    """The number of findings of each kind."""
    return {kind: int(table.num_rows) for kind, table in tables.items()}
