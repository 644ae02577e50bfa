"""The photographs of the page: by label, and those that deserve a look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits.classify.review import Confusion
from fruits.report.material import Material
from fruits.report.thumbnails import data_uri

SHOWN = 48
"""Photographs of a section, or pairs of them; the tables have all."""

SAMPLED_LABELS, SAMPLED_IMAGES = 200, 900
"""Labels with photographs in the section of samples, and photographs of all of them."""


@dataclass(frozen=True)
class Photo:
    """A photograph with what is said of it.

    Attributes:
        path: of the image.
        label: that it has.
        notes: lines below it.
        picture: address of its thumbnail, None where there is none.
        split: its side.
    """

    path: str
    label: str
    notes: tuple[str, ...] = ()
    picture: str | None = None
    split: str = ""

    @property
    def name(self) -> str:
        """Of the file."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Section:
    """Photographs, or pairs of them.

    Attributes:
        id: of the heading.
        title: of the section.
        name: the same in a word or two.
        about: one or two sentences on what to look for.
        groups: photographs that belong together: one, or a pair.
        lines: what is not about a photograph: label, sides of the split, and the finding.
        total: how many there are, shown or not.
        table: where all of them are, below the output.
        skipped: what was not looked for, and why.
    """

    id: str
    title: str
    name: str
    about: str
    groups: list[tuple[Photo, ...]] = field(default_factory=list)
    lines: list[tuple[str, str, str]] = field(default_factory=list)
    total: int = 0
    table: str = ""
    skipped: str = ""


KINDS = {
    "label_suspect": (
        "Labels that may be wrong",
        "Wrong labels",
        "The classifier, fitted without these photographs, gives another label to them. Some have "
        "a wrong label, others are hard.",
    ),
    "outlier": (
        "Outliers",
        "Outliers",
        "Photographs that are unlike the others of their label, or unlike all others.",
    ),
    "split_duplicate": (
        "Test images that are also in training",
        "Leaks",
        "The same photograph is on both sides of the split: the figures of the test side are too "
        "high by what these give away.",
    ),
    "duplicate": ("Duplicates", "Duplicates", "Files with the same bytes."),
    "near_duplicate": (
        "Near-duplicates",
        "Near-duplicates",
        "Photographs that are nearly the same, such as neighbouring frames of a film.",
    ),
    "drift": ("Drift", "Drift", "How the images of the two sides, or of two runs, differ."),
}
"""Of findings: the title of their section, its name in a word or two, and what it shows."""


def quality_sections(material: Material) -> list[Section]:
    """A section for each table in ``quality/``; those without rows say so."""
    known = [name for name in KINDS if name in material.quality]
    return [_quality(material, name) for name in known]


def _quality(material: Material, name: str) -> Section:
    title, short, about = KINDS[name]
    rows = material.quality[name]
    first = rows.slice(0, SHOWN).to_pylist()
    return Section(
        name.replace("_", "-"),
        title,
        short,
        about,
        [_group(material, row) for row in first if row["path"]],
        [_line(row) for row in first if not row["path"]],
        rows.num_rows,
        f"quality/{name}.parquet",
        _skipped(material, name),
    )


def _skipped(material: Material, name: str) -> str:
    """What run.json says of a kind of findings that was not looked for."""
    skipped: Mapping[str, str] = (material.run.get("quality") or {}).get("skipped") or {}
    return next((why for kind, why in skipped.items() if re.sub(r"\W", "_", kind) == name), "")


def _line(row: Mapping[str, Any]) -> tuple[str, str, str]:
    sides = " and ".join(side for side in (row["split"], row["other_split"]) if side)
    return row["label"] or "all labels", sides, row["reason"] or ""


def _group(material: Material, row: Mapping[str, Any]) -> tuple[Photo, ...]:
    first = _photo(material, row["path"], row["label"], row["split"], row["reason"] or "")
    if not row["other"]:
        return (first,)
    return first, _photo(material, row["other"], row["other_label"], row["other_split"])


def _photo(
    material: Material, path: str, label: str | None, split: str | None = None, *notes: str
) -> Photo:
    thumbnail = material.thumbnails.get(path)
    picture = data_uri(thumbnail) if thumbnail else None
    return Photo(path, label or "no label", tuple(filter(None, notes)), picture, split or "")


def confused(material: Material) -> list[tuple[int, Photo, Photo | None]]:
    """The worst confusions: how many images, one that is wrong, and one of the other label."""
    return [
        (
            one.images,
            _photo(material, one.wrong, one.label, None, f"taken for {one.predicted}"),
            _photo(material, one.example, one.predicted, None, "recognised")
            if one.example
            else None,
        )
        for one in material.confusions
    ]


def unknown(material: Material) -> Section:
    """The images that are least like the training images."""
    images = material.images
    rows = images.filter(pc.fill_null(images["unknown"], False))
    rows = rows.sort_by([("distance", "descending"), ("path", "ascending")])
    groups: list[tuple[Photo, ...]] = [
        (
            _photo(
                *(material, row["path"], row["label"], row["split"]),
                f"distance {row['distance']:.1f}",
                f"would be {row['predicted']} ({row['confidence']:.0%})",
            ),
        )
        for row in rows.slice(0, SHOWN).to_pylist()
    ]
    return Section(
        "unknown",
        "Unknown photographs",
        "Unknown",
        "Farther from the mean of every label than 99 of 100 training images that were held out: "
        "the most distant first.",
        groups,
        total=rows.num_rows,
        table="predictions (unknown = true)",
    )


def samples(material: Material) -> tuple[list[tuple[str, int, list[Photo]]], int]:
    """Some photographs of each label: the label, its images on the map, and photographs.

    Returns:
        A row for each label, those that are alike next to each other, and how many labels have
        none here.
    """
    images = material.images
    codes = images["label"].combine_chunks().fill_null("").dictionary_encode()
    labels, places = codes.dictionary.to_pylist(), np.asarray(codes.indices)
    wanted = _in_order(labels, material.order)
    each = int(np.clip(SAMPLED_IMAGES // max(1, min(len(wanted), SAMPLED_LABELS)), 3, 12))
    by_label = np.split(
        np.argsort(places, kind="stable"), np.cumsum(np.bincount(places, minlength=len(labels)))
    )
    rows = []
    for label in wanted[:SAMPLED_LABELS]:
        own = by_label[labels.index(label)]
        some = own[np.unique(np.linspace(0, len(own) - 1, each).astype(int))]
        found = images.take(pa.array(some)).to_pylist()
        photos = [_photo(material, row["path"], row["label"], row["split"]) for row in found]
        rows.append((label or "no label", len(own), photos))
    return rows, max(0, len(wanted) - SAMPLED_LABELS)


def _in_order(labels: Sequence[str], order: Sequence[str]) -> list[str]:
    left = set(labels)
    first = [label for label in dict.fromkeys(order) if label in left]
    return [*first, *sorted(left.difference(first))]


def shown_paths(material: Material) -> list[str]:
    """Paths of photographs in sections but the samples: their thumbnails are wanted first."""
    return paths_of(material.confusions, material.quality.values())


def paths_of(confusions: Iterable[Confusion], quality: Iterable[pa.Table]) -> list[str]:
    """Paths of the photographs that are shown of confusions and of tables of findings."""
    tables = [rows.slice(0, SHOWN) for rows in quality]
    columns = [rows[name].to_pylist() for rows in tables for name in ("path", "other")]
    pairs = [[one.wrong, one.example] for one in confusions]
    return list(dict.fromkeys(path for paths in (*pairs, *columns) for path in paths if path))
