"""The pictures of the documents, from the results of the demo.

After ``make demo``, in the project folder, with Chromium installed:

    PYTHONPATH=tests/cluster:tests .venv/bin/python docs/figures/make.py data/demo/output
"""

import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as pads
from browser import Page, chromium
from containers import wait_for
from matplotlib.figure import Figure
from PIL import Image

from fruits import plots
from fruits.runs import publish
from fruits.runs.outputs import Outputs

FIGURES = Path(__file__).parent
HEIGHT = 560  # pixels, of the picture of the README
LABEL = "Strawberry 1"  # what the lasso is drawn around


def main(output: str) -> None:
    """Makes demo.png and report.png again.

    Args:
        output: of the demo; a folder.
    """
    demo(Outputs.of(output)).save(FIGURES / "demo.png", optimize=True)
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder)) as page:
        report(page, Path(output) / "report.html")


def demo(outputs: Outputs) -> Image.Image:
    """Two photographs of each label, next to all of them by their first two components."""
    explained = json.loads((Path(outputs.root.path) / "run.json").read_text())["explained_variance"]
    parts = [
        drawn(plots.image_grid(*photographs(outputs))),
        drawn(plots.scatter(*publish.pc1_pc2(outputs.published("pca")), explained)),
    ]
    both = Image.new("RGB", (sum(part.width for part in parts) + 20, HEIGHT), "white")
    both.paste(parts[0], (0, 0))
    both.paste(parts[1], (parts[0].width + 20, 0))
    return both


def photographs(outputs: Outputs) -> tuple[list[Any], list[str]]:
    """Two training photographs of each label, and their labels."""
    table = outputs.published("features").to_table(
        columns=["path", "label"], filter=pads.field("split") == "train"
    )
    rows = table.sort_by("path").to_pylist()
    labels = sorted({row["label"] for row in rows})
    found = []
    for label in labels:
        own = [row["path"].removeprefix("file:") for row in rows if row["label"] == label]
        found += [np.asarray(Image.open(path)) for path in (own[0], own[len(own) // 2])]
    return found, [label for label in labels for _ in range(2)]


def drawn(figure: Figure) -> Image.Image:
    """A figure as an image of the common height."""
    file = io.BytesIO()
    figure.savefig(file, dpi=200)
    image = Image.open(file).convert("RGB")
    return image.resize((image.width * HEIGHT // image.height, HEIGHT), Image.Resampling.LANCZOS)


def report(page: Page, document: Path) -> None:
    """The map of a report, with a selected label and the mouse on one of its points."""
    size = {"width": 1180, "height": 1250, "deviceScaleFactor": 1, "mobile": False}
    page.call("Emulation.setDeviceMetricsOverride", **size)
    page.open(document.resolve().as_uri())
    wait_for(lambda: page.ask("document.documentElement.dataset.map") == "ready", 60)
    time.sleep(1)  # of the drawing
    page.ask("document.getElementById('map-figure').closest('section').scrollIntoView()")
    places = places_of(page, LABEL)
    left, right = min(x for x, _ in places) - 12, max(x for x, _ in places) + 12
    top, bottom = min(y for _, y in places) - 12, max(y for _, y in places) + 12
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    mouse(page, "mousePressed", *corners[0], button="left", buttons=1, clickCount=1)
    for corner in corners[1:]:
        mouse(page, "mouseMoved", *corner, button="left", buttons=1)
    mouse(page, "mouseReleased", *corners[-1], button="left", clickCount=1)
    wait_for(lambda: "selected" in page.ask("document.getElementById('chosen-title').textContent"))
    mouse(page, "mouseMoved", *max(places))  # what it shows is on the right of the point
    time.sleep(1)  # until the thumbnails are shown
    page.picture(FIGURES / "report.png")


def places_of(page: Page, label: str) -> list[tuple[float, float]]:
    """Where the points of a label are in the window."""
    found = page.ask(
        "(() => { const name = " + json.dumps(label) + ";"
        "const button = [...document.querySelectorAll('#map-legend button')]"
        ".find(b => b.textContent.trim().startsWith(name));"
        "const dot = button.querySelector('.dot'), mark = dot.classList[1];"
        "const colour = getComputedStyle(dot).backgroundColor;"
        "const data = Bokeh.documents[0].get_model_by_name('images').data;"
        "const probe = document.createElement('i'); document.body.append(probe);"
        "const shown = c => { probe.style.color = c; return getComputedStyle(probe).color; };"
        "const box = document.getElementById('map-figure').getBoundingClientRect();"
        "const frame = [...Bokeh.index.roots][0].frame;"
        "const all = [...data.colour.keys()]"
        ".filter(n => data.mark[n] == mark && shown(data.colour[n]) == colour);"
        "return JSON.stringify(all.map(n => [box.x + frame.x_scale.compute(data.x[n]),"
        "box.y + frame.y_scale.compute(data.y[n])])); })()"
    )
    return [(x, y) for x, y in json.loads(found)]


def mouse(page: Page, kind: str, x: float, y: float, **more: Any) -> None:
    """One event of the mouse."""
    page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)
    time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1])
