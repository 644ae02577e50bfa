"""Creates the report: one HTML file that loads nothing else."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import pyarrow.compute as pc
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from fruits.classify.evaluate import Evaluation
from fruits.classify.unevaluated import knows_no_label
from fruits.report import charts, facts, sections
from fruits.report.data import ReportData
from fruits.report.figure import map_figure
from fruits.report.map_data import MapData
from fruits.report.matrix import matrix
from fruits.report.thumbnails import data_uri, evenly_by_label, pack
from fruits.wording import counted

LARGEST = 25_000_000
"""The maximum bytes of the page, which e-mail and browsers accept."""

THUMBNAILS = 18_000_000
"""The maximum bytes of the page for thumbnails of the map; base64 needs 4 bytes for 3."""

_FOLDER = "page"


def render(report: ReportData) -> bytes:
    """Creates the page.

    Args:
        report: The data of the report.

    Returns:
        HTML in UTF-8, at most :data:`LARGEST` bytes for a map of 100,000 images.
    """
    if knows_no_label(report.run):
        report = report.without_labels()
    # Random, so that no label can contain a mark.
    marks = {name: secrets.token_hex(16) for name in ("data", "pictures", "count")}
    context = _context(report, marks)
    page = template().render(context)
    # The name of a folder of images may have surrogates, which cannot be encoded.
    page = page.encode("utf-8", "backslashreplace").decode()
    # Thumbnails get the remaining bytes, minus 50 kB for their description.
    room = min(THUMBNAILS, LARGEST - 50_000 - len(page.encode()))
    return _with_map(page, marks, report, room).encode()


@cache
def template() -> Template:
    """The template of the page, compiled once; a run does it earlier, in the background."""
    environment = Environment(
        loader=PackageLoader("fruits.report", _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    environment.filters["counted"] = counted
    return environment.get_template("page.html")


def _with_map(page: str, marks: Mapping[str, str], report: ReportData, room: int) -> str:
    """Replaces the marks by the data of the map."""
    if not report.images.num_rows:
        return page
    paths = report.images["path"].to_pylist()
    order = evenly_by_label(report.images["label"]).tolist()
    # Their thumbnails come first.
    first = set(sections.paths_of(report.confusions, report.quality.values()))
    order.sort(key=lambda place: paths[place] not in first)
    data = MapData.of(report, _root(report))
    bare = data.packed(pack(paths, (), {}, 0))
    room = min(room, LARGEST - 100_000 - len(page.encode()) - len(bare) - 4 * len(paths))
    packed = pack(paths, order, report.thumbnails, max(0, room) // 4 * 3)
    pictures = data_uri(packed.bodies).partition(",")[2]
    texts = {
        "data": data.packed(packed),
        "pictures": pictures,
        "count": f"{packed.count:,} of {len(paths):,}",
    }
    for name, text in texts.items():
        page = page.replace(marks[name], text, 1)
    return page


def _context(report: ReportData, marks: Mapping[str, str]) -> dict[str, Any]:
    run = report.run
    evaluation = (run["evaluation"] or [None])[0]
    figure = map_figure() if report.images.num_rows else None
    samples_by = sections.sampled_by(report)
    sampled, unsampled = sections.samples(report, samples_by)
    return {
        "report": report,
        "root": _root(report),
        "run": run,
        "facts": facts,
        "evaluation": evaluation,
        "left_out": evaluation.get("left_out", {}) if evaluation else {},
        "figure": figure and {"library": Markup(figure.library), "item": Markup(figure.item)},
        "marks": marks,
        "matrix": matrix(evaluation, report.order) if evaluation else None,
        "evaluations": [Evaluation.from_json(one) for one in run["evaluation"]],
        "confused": sections.confused(report),
        "sampled": sampled,
        "sampled_by": "predicted label" if samples_by == "predicted" else "label",
        "unsampled": unsampled,
        "sections": [*sections.quality_sections(report), sections.unknown(report)],
        "scree": charts.scree(run["explained_variance"]),
        "calibration": charts.calibration(run["evaluation"]),
        "seconds": _seconds(run),
        "static_map": data_uri(report.static_map, "png") if report.static_map else None,
        "style": Markup(_read("style.css")),
        "script": Markup(_read("map.js")),
    }


def _root(report: ReportData) -> str:
    """The folder above all images, with its last slash; "" if they have no folder in common."""
    ends = pc.min_max(report.images["path"]).as_py()
    if not ends["min"]:
        return ""
    # All other paths are between these two, so they have the same beginning.
    shared = itertools.takewhile(lambda two: two[0] == two[1], zip(*ends.values(), strict=False))
    above, slash, _ = "".join(letter for letter, _ in shared).rpartition("/")
    return above + slash


def _seconds(run: Any) -> list[tuple[str, float, float]]:
    """The stages with their seconds and their share of the total."""
    seconds = {name: n for name, n in run["seconds"].items() if name != "total"}
    total = sum(seconds.values()) or 1.0
    return [(name, value, value / total) for name, value in seconds.items()]


def _read(name: str) -> str:
    return (files("fruits.report") / _FOLDER / name).read_text(encoding="utf-8")
