"""Tables and figures about a finished run and its classifier, for notebooks.

Each function returns an object that a cell displays, or a line that says why there is none.
"""

from __future__ import annotations

import heapq
import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pandas as pd
import pyarrow.compute as pc
from matplotlib.figure import Figure

from fruits import plots
from fruits.classify.evaluate import labels_by_similarity
from fruits.classify.unevaluated import not_evaluated, uses_model
from fruits.features.rows import scan
from fruits.quality.findings import file_of
from fruits.runs.confusions import worst_confusions
from fruits.runs.finished import Run
from fruits.runs.output_record import PAGE

if TYPE_CHECKING:
    from IPython.display import DisplayObject


class Note(str):
    """A text that a notebook shows without quotes, instead of a figure."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def enter_project() -> str:
    """Changes the current folder to the project folder, in which relative paths start.

    JupyterLab starts a notebook in the notebook's folder, papermill in its current folder. The
    project folder is the checkout around it; in the image, which has none, the folder above
    ``notebooks`` and ``notebooks/runs``. Elsewhere, the current folder stays.

    Returns:
        The folder in which the notebook was started.
    """
    start = Path.cwd()
    around = [one for one in (start, *start.parents) if _is_checkout(one)]
    copies = start.parent if start.match("notebooks/runs") else start
    os.chdir([*around, copies.parent if copies.name == "notebooks" else start][0])
    return str(start)


def page(run: Run, start: str = ".") -> DisplayObject | Note:
    """A link to the report of a run, and the report itself below it.

    Args:
        run: A finished run.
        start: The folder of the notebook, to which the browser resolves links.
    """
    from IPython.display import HTML

    root = run.outputs.root
    if not root.is_local:
        return Note(f"The report is {run.outputs.uri(PAGE)}.")
    file = (root / PAGE).path
    place = quote(os.path.relpath(file, os.path.abspath(start)))
    return HTML(  # type: ignore[no-untyped-call]
        f'<a href="{place}" target="_blank">Open the report in a tab of its own</a> '
        f"(<code>{escape(file)}</code>)"
        f'<iframe src="{place}" title="Report" width="100%" height="640"></iframe>'
    )


def evaluations(run: Run) -> pd.DataFrame | Note:
    """The figures of all evaluations: a column for each scheme."""
    if not run.evaluations:
        return _nothing(run)
    return pd.DataFrame({one.scheme: one.shown() for one in run.evaluations})


def labels(run: Run, count: int = 10) -> pd.DataFrame | Note:
    """The labels with the lowest F1, by the first evaluation, among those that it lists.

    It lists all labels, or the 10,000 with the most images.
    """
    if not run.evaluations:
        return _nothing(run)
    rows = sorted(run.evaluations[0].labels, key=lambda one: (one.f1, one.label))[:count]
    table = pd.DataFrame([vars(one) for one in rows]).set_index("label")
    return table.round({"precision": 3, "recall": 3, "f1": 3})


def confusion(run: Run) -> Figure | Note:
    """The confusion matrix of the first evaluation, with similar labels next to each other."""
    if run.classified is None or not run.evaluations:
        return _nothing(run)
    order = labels_by_similarity(run.classified.classifier)
    return plots.confusion(run.evaluations[0], order)


def calibration(run: Run) -> Figure | Note:
    """How often each scheme's labels are right, by confidence."""
    return plots.calibration(run.evaluations) if run.evaluations else _nothing(run)


def confused_pairs(run: Run, count: int = 9) -> Figure | Note:
    """The worst confusions of the first evaluation as photographs, side by side."""
    if run.classified is None or not run.evaluations:
        return _nothing(run)
    evaluation = run.evaluations[0]
    worst = worst_confusions(
        evaluation, run.classified, lambda: run.outputs.published("predictions"), count
    )
    found = [one for one in worst if one.example]
    pictures = run.pictures_of(path for one in found for path in (one.wrong, str(one.example)))
    shown = [one for one in found if one.wrong in pictures and one.example in pictures]
    if not evaluation.wrong_images:
        return Note(f"No image has a wrong prediction ({evaluation.scheme}).")
    if not shown:
        return Note(
            "No wrong prediction can be shown: its image is missing, or no image of the predicted "
            f"label was recognised ({evaluation.scheme})."
        )
    return plots.pairs(
        [(pictures[one.wrong], pictures[str(one.example)]) for one in shown],
        [(one.label, one.predicted, one.images) for one in shown],
        evaluation.scheme,
    )


def suspects(run: Run, count: int = 10) -> Figure | Note:
    """Images whose label may be wrong: the first ones of ``quality/label_suspect.parquet``."""
    if run.classified is None:
        return _nothing(run)
    found = run.outputs.published(file_of("label suspect")).to_table().slice(0, count)
    pictures = run.pictures_of(found["path"].to_pylist())
    shown = [row for row in found.to_pylist() if row["path"] in pictures]
    if not shown:
        skipped = run.report["quality"].get("skipped", {}).get("label suspect")
        why = f" ({skipped})" if skipped else ""
        return Note(f"No label is improbable, or its image is missing{why}.")
    return plots.suspects(
        [pictures[row["path"]] for row in shown],
        [row["label"] for row in shown],
        [1 - row["score"] for row in shown],
        [row["other_label"] for row in shown],
    )


def unknown(run: Run, count: int = 12) -> Figure | Note:
    """The unknown images with the largest distance to all labels."""
    if run.classified is None:
        return _nothing(run)
    columns = ["path", "label", "distance"]
    batches = scan(run.outputs.published("predictions"), columns, pc.field("unknown"))
    rows = (row for batch in batches for row in batch.to_pylist())
    farthest = heapq.nsmallest(count, rows, key=lambda row: (-row["distance"], row["path"]))
    pictures = run.pictures_of(row["path"] for row in farthest)
    if not pictures:
        if uses_model(run.report):
            return Note("No image is unknown.")
        fitted = "which was fitted to the training images"
        return Note(f"By the final classifier, {fitted}, no image is unknown.")
    texts = [
        f"{row['label'] or 'no label'}, distance {row['distance']:.0f}"
        for row in farthest
        if row["path"] in pictures
    ]
    return plots.image_grid(list(pictures.values()), texts)


def seconds(run: Run) -> Figure:
    """The seconds of each stage of the run."""
    return plots.stage_seconds(run.report["seconds"])


def _is_checkout(folder: Path) -> bool:
    # Other projects have a pyproject.toml, too.
    return (folder / "pyproject.toml").is_file() and (folder / "fruits/runs").is_dir()


def _nothing(run: Run) -> Note:
    """The reason why there is nothing to show."""
    reason = run.report["classifier"].get("skipped")
    if reason:
        return Note(f"No classifier: {reason}.")
    return Note(" ".join(f"{one[0].upper()}{one[1:]}." for one in not_evaluated(run.report)))
