"""The page: everything in one HTML file that asks for nothing else."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import pyarrow.compute as pc
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fruits.report import charts, facts, sections
from fruits.report.figure import map_figure
from fruits.report.map_data import map_data
from fruits.report.material import Material
from fruits.report.matrix import matrix, worst
from fruits.report.thumbnails import data_uri, evenly_by_label, pack

LARGEST = 25_000_000
"""Bytes of the page: mail and browsers still take it."""

THUMBNAILS = 18_000_000
"""Bytes of the page for the thumbnails of the map, at most; four characters hold three bytes."""

_FOLDER = "page"


def render(material: Material) -> bytes:
    """Makes the page.

    Args:
        material: what it shows.

    Returns:
        HTML in UTF-8, of :data:`LARGEST` bytes at most for a map of 100,000 images.
    """
    environment = Environment(
        loader=PackageLoader("fruits.report", _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    # Nobody knows them before, so no label can be one.
    marks = {name: secrets.token_hex(16) for name in ("data", "pictures", "count")}
    context = _context(material, marks)
    page = environment.get_template("page.html").render(context)
    # The thumbnails get what is left: 50 kB for the description of those that are there.
    room = min(THUMBNAILS, LARGEST - 50_000 - len(page.encode()))
    return _with_map(page, marks, material, room).encode()


def _with_map(page: str, marks: Mapping[str, str], material: Material, room: int) -> str:
    """Puts the data of the map into the places of the marks."""
    if not material.images.num_rows:
        return page
    paths = material.images["path"].to_pylist()
    order = evenly_by_label(material.images["label"]).tolist()
    first = set(sections.shown_paths(material))
    order.sort(key=lambda place: paths[place] not in first)
    bare = map_data(material, pack(paths, (), {}, 0), _root(material))
    room = min(room, LARGEST - 100_000 - len(page.encode()) - len(bare) - 4 * len(paths))
    packed = pack(paths, order, material.thumbnails, max(0, room) // 4 * 3)
    pictures = data_uri(packed.bodies).partition(",")[2]
    texts = {
        "data": map_data(material, packed, _root(material)),
        "pictures": pictures,
        "count": f"{packed.count:,} of {len(paths):,}",
    }
    for name, text in texts.items():
        page = page.replace(marks[name], text, 1)
    return page


def _context(material: Material, marks: Mapping[str, str]) -> dict[str, Any]:
    run = material.run
    evaluation = (run.get("evaluation") or [None])[0]
    figure = map_figure() if material.images.num_rows else None
    sampled, unsampled = sections.samples(material)
    return {
        "material": material,
        "root": _root(material),
        "run": run,
        "facts": facts,
        "evaluation": evaluation,
        "figure": figure and {"library": Markup(figure.library), "item": Markup(figure.item)},
        "marks": marks,
        "matrix": matrix(evaluation, material.order) if evaluation else None,
        "worst": worst(evaluation) if evaluation else [],
        "confused": sections.confused(material),
        "sampled": sampled,
        "unsampled": unsampled,
        "sections": [*sections.quality_sections(material), sections.unknown(material)],
        "scree": charts.scree(run.get("explained_variance") or []),
        "calibration": charts.calibration(run.get("evaluation") or []),
        "seconds": _seconds(run),
        "static_map": data_uri(material.static_map, "png") if material.static_map else None,
        "style": Markup(_read("style.css")),
        "script": Markup(_read("map.js")),
    }


def _root(material: Material) -> str:
    """The folder above all images, with its last slash; "" where they have none in common."""
    ends = pc.min_max(material.images["path"]).as_py()
    if not ends["min"]:
        return ""
    # All others are between these two, so they begin alike, too.
    shared = itertools.takewhile(lambda two: two[0] == two[1], zip(*ends.values(), strict=False))
    above, slash, _ = "".join(letter for letter, _ in shared).rpartition("/")
    return above + slash


def _seconds(run: Any) -> list[tuple[str, float, float]]:
    """Stages, their seconds, and their share of the total."""
    seconds = {name: value for name, value in (run.get("seconds") or {}).items() if name != "total"}
    total = sum(seconds.values()) or 1.0
    return [(name, value, value / total) for name, value in seconds.items()]


def _read(name: str) -> str:
    return (files("fruits.report") / _FOLDER / name).read_text(encoding="utf-8")
