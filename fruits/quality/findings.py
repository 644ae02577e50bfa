"""What was found in a set of images: one schema for all kinds of findings, and their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import pyarrow as pa

KINDS = (
    "split duplicate",
    "duplicate",
    "near-duplicate",
    "label suspect",
    "outlier",
    "drift",
)
"""Kinds of findings, in the order in which to look at them."""

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
"""Of every file in ``quality/``."""


@dataclass(frozen=True)
class Finding:
    """One thing to look at.

    Attributes:
        kind: one of :data:`KINDS`.
        path: of the image; None where the finding is about many images.
        label: of the image, or of the images; None where there is none.
        split: the side of the split that it is on; None where there is none.
        other: path of the image that it is like; None where there is none.
        other_label: its label; where an image is taken for another label, that one.
        other_split: the side of the split that the other image, or the other images, are on.
        score: how serious it is, the larger the more; its unit depends on the kind.
        reason: one plain sentence.
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


def file_name(kind: str) -> str:
    """The name of the file of one kind."""
    return kind.replace(" ", "_").replace("-", "_") + ".parquet"


def table_of(findings: Iterable[Finding]) -> pa.Table:
    """The findings as a table of :data:`SCHEMA`, in the same order."""
    return pa.Table.from_pylist([asdict(one) for one in findings], SCHEMA)


def by_kind(findings: Iterable[Finding]) -> dict[str, pa.Table]:
    """A table for each of :data:`KINDS`, also where nothing was found; the order is kept."""
    sorted_out: dict[str, list[Finding]] = {kind: [] for kind in KINDS}
    for one in findings:
        sorted_out[one.kind].append(one)
    return {kind: table_of(own) for kind, own in sorted_out.items()}


def counts_of(tables: Mapping[str, pa.Table]) -> dict[str, int]:
    """How many findings there are of each kind."""
    return {kind: int(table.num_rows) for kind, table in tables.items()}
