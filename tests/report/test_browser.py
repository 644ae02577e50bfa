"""The page in a real browser without a network: what is visible, and how the mouse works."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from browser import Page, chromium
from containers import wait_for
from drawn import drawn, names, plain_folder

from fruits.report.data import IMAGES
from fruits.report.document import render

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("chromium") or shutil.which("chromium-browser")), reason="needs Chromium"
    ),
]

EVIL = ["<script>window.broken = 1</script>", "\"'><img src=x onerror='window.broken = 2'>", "Fig"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("browser")) as page:
        for domain in ("Network", "Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        nothing = {"latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        page.call("Network.emulateNetworkConditions", offline=True, **nothing)
        yield page


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(render(drawn(names(4), 30)))
    return path


def show(page: Page, path: Path) -> None:
    page.open(path.as_uri())
    wait_for(lambda: page.ask("document.documentElement.dataset.map") == "ready", 60)
    time.sleep(0.5)  # of the drawing


def point(page: Page, number: int) -> tuple[float, float]:
    """The position of an image in the window."""
    page.ask("document.getElementById('map-figure').scrollIntoView({block: 'center'})")
    found = page.ask(
        "(() => { const view = Object.values(Bokeh.index.get_by_id ? {} : Bokeh.index)[0]"
        " ?? [...Bokeh.index.roots][0];"
        "const box = document.getElementById('map-figure').getBoundingClientRect();"
        "const data = Bokeh.documents[0].get_model_by_name('images').data;"
        "const frame = view.frame;"
        f"return JSON.stringify([box.x + frame.x_scale.compute(data.x[{number}]),"
        f" box.y + frame.y_scale.compute(data.y[{number}])]); }})()"
    )
    x, y = json.loads(found)
    return float(x), float(y)


def mouse(page: Page, kind: str, x: float, y: float, **more: Any) -> None:
    page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)
    time.sleep(0.05)


def drag(page: Page, corners: list[tuple[float, float]]) -> None:
    """Moves the mouse from corner to corner with the left button pressed."""
    held = {"button": "left", "buttons": 1, "clickCount": 1}
    mouse(page, "mouseMoved", *corners[0])
    mouse(page, "mousePressed", *corners[0], **held)
    for corner in corners[1:]:
        mouse(page, "mouseMoved", *corner, **held)
    mouse(page, "mouseReleased", *corners[-1], button="left", clickCount=1)


def text(page: Page, name: str) -> str:
    return str(page.ask(f"document.getElementById('{name}').textContent"))


def count(page: Page, selector: str) -> int:
    return int(page.ask(f"document.querySelectorAll({json.dumps(selector)}).length"))


def figure_box(page: Page) -> tuple[float, float, float, float]:
    page.ask("document.getElementById('map-figure').scrollIntoView({block: 'center'})")
    box = page.ask(
        "(() => { const b = document.getElementById('map-figure').getBoundingClientRect();"
        "return JSON.stringify([b.x, b.y, b.right, b.bottom]); })()"
    )
    left, top, right, bottom = json.loads(box)
    return left, top, right, bottom


@pytest.mark.parametrize("width", [390, 800, 1110, 1300])
def test_a_link_at_the_top_leads_to_a_heading_that_is_not_covered(
    page: Page, place: Path, width: int
) -> None:
    metrics = {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": False}
    page.call("Emulation.setDeviceMetricsOverride", **metrics)
    try:
        show(page, place)
        page.ask("location.hash = 'near-duplicate'")
        heights = page.ask(
            "(() => { const range = document.createRange();"
            "range.selectNodeContents(document.getElementById('near-duplicate'));"
            "return [document.querySelector('nav').getBoundingClientRect().bottom,"
            "range.getBoundingClientRect().top]; })()"
        )
        assert heights[0] <= heights[1] < 300
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")


def test_the_page_opens_from_a_file_without_any_request(page: Page, place: Path) -> None:
    show(page, place)
    asked = page.ask("JSON.stringify(performance.getEntriesByType('resource').map(e => e.name))")
    assert [one for one in json.loads(asked) if not one.startswith(("data:", "blob:"))] == []
    assert text(page, "map-error") == ""
    assert count(page, "#map-legend button") == 4
    broken = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).length"
    assert page.ask(broken) == 0


def test_the_lasso_lists_the_photographs_and_copies_their_paths(page: Page, place: Path) -> None:
    show(page, place)
    left, top, right, bottom = figure_box(page)
    edge = 70
    corners = [(left + edge, top + edge), (right - 10, top + edge), (right - 10, bottom - edge)]
    drag(page, [*corners, (left + edge, bottom - edge), (left + edge, top + edge)])
    wait_for(lambda: text(page, "chosen-title").endswith("selected"), 10)
    chosen = int(text(page, "chosen-title").split()[0])
    assert 90 < chosen <= 120
    assert count(page, "#chosen .card") == chosen
    assert count(page, "#chosen img[src^='blob:']") == chosen
    page.ask("navigator.clipboard.writeText = async (t) => { window.copied = t; }")
    page.ask("document.getElementById('copy').click()")
    wait_for(lambda: text(page, "copied") == f"{chosen} paths copied", 5)
    lines = str(page.ask("window.copied")).splitlines()
    assert len(set(lines)) == chosen
    assert all(line.startswith("file:/data/") for line in lines)


def test_hover_shows_the_photograph_and_a_click_its_neighbours(page: Page, place: Path) -> None:
    show(page, place)
    x, y = point(page, 7)
    mouse(page, "mouseMoved", x - 30, y)
    mouse(page, "mouseMoved", x, y)
    wait_for(lambda: page.ask("!document.getElementById('tip').hidden"), 10)
    assert count(page, "#tip img") == 1
    assert "sure" in text(page, "tip")
    for kind in ("mousePressed", "mouseReleased"):
        mouse(page, kind, x, y, button="left", clickCount=1)
    wait_for(lambda: page.ask("!document.getElementById('near-box').hidden"), 10)
    assert count(page, "#near .card") == 9
    assert text(page, "near-path").startswith("file:/data/")


def test_planes_colours_and_search_work_by_keyboard(page: Page, place: Path) -> None:
    show(page, place)
    first = page.ask("Bokeh.documents[0].get_model_by_name('images').data.x[0]")
    page.ask(
        "(() => { const s = document.getElementById('plane'); s.value = '0';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    assert page.ask("Bokeh.documents[0].get_model_by_name('images').data.x[0]") != first
    legends = {
        "split": 2,
        "finding": 2,
        "predicted": 4,
        "right": 2,
        "confidence": 10,
        "distance": 10,
    }
    for colour, entries in legends.items():
        page.ask(
            "(() => { const s = document.getElementById('colour');"
            f"s.value = '{colour}'; s.dispatchEvent(new Event('change')); }})()"
        )
        assert count(page, "#map-legend button") == entries
    page.ask("document.getElementById('search').focus()")
    page.call("Input.insertText", text="fig 1")
    for kind in ("keyDown", "keyUp"):
        page.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    wait_for(lambda: text(page, "chosen-title") == "“fig 1”: 30 selected", 10)
    page.ask("document.getElementById('clear').click()")
    wait_for(lambda: text(page, "chosen-title") == "Nothing is selected", 10)
    page.ask("[...document.querySelectorAll('#map-legend button')].pop().click()")
    wait_for(lambda: re.search(r"and more: \d+ selected$", text(page, "chosen-title")), 10)


def colour_by(page: Page, name: str) -> None:
    page.ask(
        "(() => { const s = document.getElementById('colour');"
        f"s.value = '{name}'; s.dispatchEvent(new Event('change')); }})()"
    )


def drawn_points(page: Page, *columns: str) -> list[tuple[str, ...]]:
    """The drawn points, in the order of drawing."""
    found = page.ask(
        "(() => { const d = Bokeh.documents[0].get_model_by_name('images').data;"
        f"return JSON.stringify({json.dumps(columns)}.map(c => [...d[c]])); }})()"
    )
    return list(zip(*json.loads(found), strict=True))


def test_labels_of_one_group_differ_in_colour_or_shape_also_in_the_legend(
    page: Page, tmp_path: Path
) -> None:
    labels = [f"Apple {n}" for n in range(14)] + [f"Pear {n}" for n in range(4)]
    path = tmp_path / "apples.html"
    path.write_bytes(render(drawn(labels, 4)))
    show(page, path)
    assert len(set(drawn_points(page, "colour", "mark"))) == 18
    legend = page.ask(
        "JSON.stringify([...document.querySelectorAll('#map-legend .dot')]"
        ".map(d => d.className + d.style.background))"
    )
    assert len(set(json.loads(legend))) == 18


def test_rare_findings_are_drawn_last_and_far_images_above_near_ones(
    page: Page, place: Path
) -> None:
    show(page, place)
    colour_by(page, "finding")
    colours = [colour for (colour,) in drawn_points(page, "colour")]
    nothing = max(set(colours), key=colours.count)
    found = sum(colour != nothing for colour in colours)
    assert 0 < found < 30
    assert set(colours[:-found]) == {nothing}
    assert nothing not in colours[-found:]
    sizes = [float(size) for (size,) in drawn_points(page, "size")]
    assert max(sizes[:-found]) < min(sizes[-found:])
    colour_by(page, "distance")
    last = page.ask("[...document.querySelectorAll('#map-legend button')].pop().textContent")
    assert str(last).endswith(" and more")
    far = page.ask("[...document.querySelectorAll('#map-legend .dot')].pop().style.background")
    red, green, blue = (int(part) for part in str(far)[4:-1].split(","))
    assert drawn_points(page, "colour")[-1] == (f"#{red:02x}{green:02x}{blue:02x}",)


def test_the_neighbours_of_a_listed_photograph_come_into_view(page: Page, place: Path) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.call("Emulation.setDeviceMetricsOverride", **metrics)
    try:
        show(page, place)
        page.ask("document.querySelector('#map-legend button').click()")
        wait_for(lambda: count(page, "#chosen .photo") == 30, 10)
        page.ask("[...document.querySelectorAll('#chosen .photo')].pop().scrollIntoView()")
        page.ask("[...document.querySelectorAll('#chosen .photo')].pop().click()")
        title = "document.getElementById('near-title').getBoundingClientRect()"
        wait_for(lambda: page.ask(f"{title}.top >= 0 && {title}.bottom <= innerHeight"), 10)
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")


def test_a_selection_stays_when_colours_change(page: Page, place: Path) -> None:
    show(page, place)
    page.ask("document.querySelector('#map-legend button').click()")
    wait_for(lambda: text(page, "chosen-title").endswith("30 selected"), 10)
    before = text(page, "chosen-title"), text(page, "chosen")
    for name in ("finding", "distance", "label"):
        colour_by(page, name)
        assert (text(page, "chosen-title"), text(page, "chosen").count("Apple 1")) == (
            before[0],
            before[1].count("Apple 1"),
        )


def listed(page: Page) -> list[tuple[bool, bool]]:
    """For each listed photograph, whether it has a thumbnail, and whether it is wrong."""
    found = page.ask(
        "JSON.stringify([...document.querySelectorAll('#chosen .card')]"
        ".map(c => [Boolean(c.querySelector('img')), c.classList.contains('wrong')]))"
    )
    return [(picture, wrong) for picture, wrong in json.loads(found)]


def test_a_long_list_says_how_many_are_shown_and_starts_with_the_wrong_ones(
    page: Page, tmp_path: Path
) -> None:
    report = drawn(names(2), 100)
    some = dict(list(report.thumbnails.items())[:170])
    path = tmp_path / "long.html"
    path.write_bytes(render(replace(report, thumbnails=some)))
    show(page, path)
    page.ask("fruitsMap.chosen([...Array(200).keys()])")
    wrong = sum(
        label != predicted
        for label, predicted in zip(
            *(report.images[name].to_pylist() for name in ("label", "predicted")), strict=True
        )
    )
    assert text(page, "chosen-note") == (
        f"120 of 200 are shown; {wrong} with a label that the classifier does not agree with"
    )
    found = listed(page)
    assert len(found) == 120
    assert all(picture for picture, _ in found)
    marks = [is_wrong for _, is_wrong in found]
    assert marks == sorted(marks, reverse=True)
    assert 0 < sum(marks) <= wrong


def test_without_a_classifier_a_long_list_says_only_how_many_are_shown(
    page: Page, tmp_path: Path
) -> None:
    report = drawn(names(2), 100)
    images = report.images
    for name in ("predicted", "confidence", "unknown", "distance"):
        place = images.schema.get_field_index(name)
        images = images.set_column(
            place, IMAGES.field(name), pa.nulls(200, IMAGES.field(name).type)
        )
    run = {**report.run, "evaluation": [], "classifier": {"skipped": "one label"}}
    path = tmp_path / "bare.html"
    path.write_bytes(render(replace(report, images=images, run=run, confusions=[])))
    show(page, path)
    page.ask("fruitsMap.chosen([...Array(200).keys()])")
    assert text(page, "chosen-note") == "120 of 200 are shown"


def test_predictions_of_a_plain_folder_are_neither_right_nor_wrong(
    page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "plain.html"
    path.write_bytes(render(plain_folder(names(4), 30)))
    show(page, path)
    colours = "[...document.getElementById('colour').options].map(o => o.value).join()"
    assert page.ask(colours) == "split,predicted,confidence,distance"
    assert page.ask("document.getElementById('colour').value") == "predicted"
    assert count(page, "#map-legend button") == 4
    page.ask("document.querySelector('#map-legend button').click()")
    wait_for(lambda: text(page, "chosen-title").endswith("selected"), 10)
    assert text(page, "chosen-note") == ""
    cards = int(text(page, "chosen-title").split()[-2])
    assert count(page, "#chosen .card") == cards
    assert count(page, "#chosen .card.wrong") == 0
    first = "document.querySelector('#chosen .card figcaption').textContent"
    assert re.match(r"predicted as Apple 1, \d+% sure", str(page.ask(first)))
    page.ask("document.getElementById('clear').click()")
    page.ask(
        "(() => { document.getElementById('search').value = 'apple 1';"
        "document.getElementById('find').requestSubmit(); })()"
    )
    wait_for(lambda: text(page, "chosen-title") == f"“apple 1”: {cards} selected", 10)


def test_a_search_without_results_says_so(page: Page, place: Path) -> None:
    show(page, place)
    page.ask(
        "(() => { document.getElementById('search').value = 'nowhere';"
        "document.getElementById('find').requestSubmit(); })()"
    )
    wait_for(lambda: text(page, "chosen-title") == "“nowhere”: none found", 10)


def test_labels_that_are_html_stay_text(page: Page, tmp_path: Path) -> None:
    report = drawn(EVIL, 12, folder="file:/<img src=x onerror='window.broken = 3'>")
    path = tmp_path / "evil.html"
    path.write_bytes(render(report))
    show(page, path)
    page.ask("document.querySelectorAll('#map-legend button').forEach(b => b.click())")
    page.ask("[...Array(36).keys()].forEach(i => fruitsMap.near(i))")
    x, y = point(page, 3)
    mouse(page, "mouseMoved", x - 20, y)
    mouse(page, "mouseMoved", x, y)
    wait_for(lambda: count(page, "#tip strong") == 1, 10)
    assert page.ask("window.broken") is None
    assert count(page, "main script, main img[onerror]") == 0
    assert text(page, "tip").startswith(tuple(EVIL))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_phones_and_desktops_in_light_and_dark_mode(
    page: Page, place: Path, width: int, scheme: str
) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.call("Emulation.setEmulatedMedia", features=features)
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    page.call("Emulation.setDeviceMetricsOverride", **metrics)
    try:
        show(page, place)
        assert page.ask("document.documentElement.scrollWidth <= window.innerWidth")
        paper = page.ask("Bokeh.documents[0].get_model_by_name('map').background_fill_color")
        assert paper == {"light": "#ffffff", "dark": "#15181b"}[scheme]
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")
        page.call("Emulation.setEmulatedMedia", features=[])


def test_controls_are_not_printed(page: Page, place: Path) -> None:
    show(page, place)
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        for selector in ("nav", ".screen"):
            assert (
                page.ask(f"getComputedStyle(document.querySelector('{selector}')).display")
                == "none"
            )
    finally:
        page.call("Emulation.setEmulatedMedia", media="")
