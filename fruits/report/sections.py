"""The sections of the report with photographs: samples of labels, and findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits.classify.evaluate import in_order
from fruits.classify.review import Confusion
from fruits.classify.unevaluated import uses_model
from fruits.quality.findings import file_of
from fruits.report.data import ReportData
from fruits.report.thumbnails import data_uri

SHOWN = 48
"""The maximum number of photographs, or pairs, of a section; the tables have all of them."""

SAMPLED_LABELS, SAMPLED_IMAGES = 200, 900
"""The maximum number of labels and of photographs in the section of samples."""


@dataclass(frozen=True)
class Photo:
    """A photograph with its notes.

    Attributes:
        path: The path of the image.
        label: The label of the image.
        notes: The lines below the photograph.
        picture: The data URI of the thumbnail; None if there is none.
        split: The side of the split.
    """

    path: str
    label: str
    notes: tuple[str, ...] = ()
    picture: str | None = None
    split: str = ""

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Section:
    """A section with photographs or pairs of them.

    Attributes:
        id: The id of the heading.
        title: The title.
        about: One or two sentences on what the section shows.
        groups: The photographs, each alone or in a pair.
        lines: The findings without a photograph: label, images, other images, reason.
        total: The number of findings, including those that are not shown; None if they were not
            looked for.
        table: The path of the table with all findings, below the output.
        skipped: The checks that were not made, with the reason; a sentence without a full stop.
    """

    id: str
    title: str
    about: str
    groups: list[tuple[Photo, ...]] = field(default_factory=list)
    lines: list[tuple[str, str, str, str]] = field(default_factory=list)
    total: int | None = 0
    table: str = ""
    skipped: str = ""

    @property
    def faces(self) -> list[Photo]:
        """The first three photographs that can be shown, one of each pair."""
        return [group[0] for group in self.groups if group[0].picture][:3]


KINDS = {
    "label suspect": (
        "Labels that may be wrong",
        "For these photographs, the classifier is less sure of the given label than usual, and "
        "sure enough of another one. Some have a wrong label, others are hard to tell apart. The "
        "least probable labels come first.",
    ),
    "outlier": (
        "Outliers",
        "Photographs that are far from the mean of every label: they show something else, are "
        "damaged, or are rare views. The farthest come first.",
    ),
    "split duplicate": (
        "Photographs in two parts of the split",
        "The same photograph is in two parts of the split, such as train and test. If one of them "
        "is train, the accuracy on the other part is too high.",
    ),
    "duplicate": (
        "Duplicates",
        "Files with the same bytes in one part of the split; the second one of each pair is the "
        "one to keep. Those whose labels differ come first.",
    ),
    "near-duplicate": (
        "Near-duplicates",
        "The same picture in files with other bytes: saved again, in another size or format. "
        "Other views of the same object are not listed.",
    ),
    "drift": (
        "Drift",
        "How far two sets of images are from each other: 0 for equal sets, 1 if they are as far "
        "from each other as single images are from their mean.",
    ),
}
"""The title and the description of the section of each kind of findings."""


def quality_sections(report: ReportData) -> list[Section]:
    """A section for each table in ``quality/``, including empty tables."""
    return [_quality(report, kind) for kind in KINDS if kind in report.quality]


def _quality(report: ReportData, kind: str) -> Section:
    title, about = KINDS[kind]
    rows = report.quality[kind]
    first = rows.slice(0, SHOWN).to_pylist()
    was_made = report.run["quality"].get(kind, 0) is not None
    if kind == "drift" and uses_model(report.run):
        about += " The images of this run are compared with the training images of the model."
    if kind == "outlier":
        about += (
            " The distances are those of the classifier of the model."
            if uses_model(report.run)
            else " A training photograph is measured by a classifier that was trained without it."
        )
        if called := _outliers_called_unknown(report):
            about += f" Of those on the map, the predictions also report {called:,} as unknown."
    return Section(
        kind.replace(" ", "-"),
        title,
        about,
        [_group(report, row) for row in first if row["path"]],
        [_line(row) for row in first if not row["path"]],
        rows.num_rows if was_made else None,
        file_of(kind),
        _skipped(report, kind),
    )


def _skipped(report: ReportData, kind: str) -> str:
    """The reasons in run.json why findings of a kind may be missing; "" if none are."""
    skipped = report.run["quality"].get("skipped", {})
    # Copies in two parts of the split are found together with the others, within the same limits.
    kinds = (kind, "duplicate", "near-duplicate") if kind == "split duplicate" else (kind,)
    why = "; ".join(skipped[one] for one in kinds if one in skipped)
    return why[:1].upper() + why[1:]


def _line(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    images = row["split"] or "this run"
    return row["label"] or "all labels", images, row["other_split"] or "", row["reason"] or ""


def _group(report: ReportData, row: Mapping[str, Any]) -> tuple[Photo, ...]:
    first = _photo(report, row["path"], row["label"], row["split"], row["reason"] or "")
    if not row["other"]:
        return (first,)
    return first, _photo(report, row["other"], row["other_label"], row["other_split"])


def _photo(
    report: ReportData, path: str, label: str | None, split: str | None = None, *notes: str
) -> Photo:
    thumbnail = report.thumbnails.get(path)
    picture = data_uri(thumbnail) if thumbnail else None
    return Photo(path, label or "no label", tuple(filter(None, notes)), picture, split or "")


def confused(report: ReportData) -> list[tuple[int, Photo, Photo | None]]:
    """The worst confusions: the number of images, a wrong image, and one of the other label."""
    return [
        (
            one.images,
            _photo(report, one.wrong, one.label, None, f"predicted as {one.predicted}"),
            _photo(report, one.example, one.predicted, None, "recognised") if one.example else None,
        )
        for one in report.confusions
    ]


def unknown(report: ReportData) -> Section:
    """The section of unknown images that are not outliers, the most distant first."""
    rows = _called_unknown(report)
    rows = rows.filter(pc.invert(_are_outliers(report, rows)))
    rows = rows.sort_by([("distance", "descending"), ("path", "ascending")])
    groups: list[tuple[Photo, ...]] = [
        (
            _photo(
                report,
                row["path"],
                row["label"],
                row["split"],
                f"distance {row['distance']:.1f}",
                f"would be {row['predicted']} ({row['confidence']:.0%})",
            ),
        )
        for row in rows.slice(0, SHOWN).to_pylist()
    ]
    who = "The classifier of the model" if uses_model(report.run) else "The final classifier"
    about = (
        f"{who} also reports these as unknown, although they are not listed as outliers: they are "
        "farther from the mean of every label than 99 of 100 held-out training images. The most "
        "distant come first."
    )
    if report.images.num_rows < report.total:
        about += " Only images on the map are counted."
    return Section(
        "unknown",
        "Unknown photographs",
        about,
        groups,
        total=rows.num_rows,
        table="predictions (unknown = true)",
    )


def _called_unknown(report: ReportData) -> pa.Table:
    images = report.images
    return images.filter(pc.fill_null(images["unknown"], False))


def _are_outliers(report: ReportData, rows: pa.Table) -> pa.ChunkedArray:
    outliers = report.quality.get("outlier")
    known = outliers["path"].combine_chunks() if outliers else pa.array([], pa.string())
    return pc.is_in(rows["path"], known)


def _outliers_called_unknown(report: ReportData) -> int:
    found = pc.sum(_are_outliers(report, _called_unknown(report))).as_py()
    return int(found or 0)


def sampled_by(report: ReportData) -> str:
    """The column by which :func:`samples` groups images: label, or predicted without labels."""
    images = report.images
    has_labels, has_predictions = (
        images[name].null_count < images.num_rows for name in ("label", "predicted")
    )
    return "predicted" if has_predictions and not has_labels else "label"


def samples(report: ReportData, column: str) -> tuple[list[tuple[str, int, list[Photo]]], int]:
    """Some photographs of each label.

    Args:
        report: The data of the report.
        column: The column with the labels, see :func:`sampled_by`.

    Returns:
        The name, the number of images on the map, and photographs of each label, with similar
        labels next to each other; and the number of labels that are left out.
    """
    images = report.images
    codes = images[column].combine_chunks().fill_null("").dictionary_encode()
    labels, places = codes.dictionary.to_pylist(), np.asarray(codes.indices)
    wanted = in_order(labels, report.order)
    each = int(np.clip(SAMPLED_IMAGES // max(1, min(len(wanted), SAMPLED_LABELS)), 3, 12))
    by_label = np.argsort(places, kind="stable")
    counts = np.bincount(places, minlength=len(labels))
    ends = np.cumsum(counts)
    rows = []
    for label in wanted[:SAMPLED_LABELS]:
        number = labels.index(label)
        own = by_label[ends[number] - counts[number] : ends[number]]
        some = own[np.unique(np.linspace(0, len(own) - 1, each).astype(int))]
        found = images.take(pa.array(some)).to_pylist()
        photos = [_photo(report, row["path"], row["label"], row["split"]) for row in found]
        rows.append((label or "no label", len(own), photos))
    return rows, max(0, len(wanted) - SAMPLED_LABELS)


def paths_of(confusions: Iterable[Confusion], quality: Iterable[pa.Table]) -> list[str]:
    """The paths of the photographs that are shown for confusions and findings."""
    tables = [rows.slice(0, SHOWN) for rows in quality]
    columns = [rows[name].to_pylist() for rows in tables for name in ("path", "other")]
    pairs = [[one.wrong, one.example] for one in confusions]
    return list(dict.fromkeys(path for paths in (*pairs, *columns) for path in paths if path))
