"""The page as text: what it says, what it escapes, how large it is."""

import itertools
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from drawn import drawn, names, run_json
from unpacked import map_of, thumbnails_of

from fruits.report.document import LARGEST, render
from fruits.report.material import IMAGES, Material
from fruits.sources.thumbnail import thumbnail


class Outline(HTMLParser):
    """Elements of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def material() -> Material:
    return drawn(names(12), 20)


@pytest.fixture(scope="module")
def page(material: Material) -> str:
    return render(material).decode()


def test_the_counts_of_the_page_add_up(page: str) -> None:
    summed = re.search(r'<p class="sum".*?</p>', page, re.S)
    assert summed
    found, *parts = (int(n.replace(",", "")) for n in re.findall(r"<strong>([\d,]+)", summed[0]))
    assert (found, parts) == (243, [240, 0, 3])
    assert found == sum(parts)
    reasons = re.findall(r'<th scope="row">([^<]+)</th><td class="n">(\d+)</td></tr>', page)
    assert ("truncated: the JPEG ends before its pixels", "2") in reasons
    assert ("empty file", "1") in reasons
    assert {(".txt", "2"), ("hidden", "1")} <= set(reasons)


def test_each_accuracy_has_its_scheme_and_says_why_they_differ(
    page: str, material: Material
) -> None:
    for one in material.run["evaluation"]:
        assert f'<p class="value">{one["accuracy"]:.1%}</p>' in page
        assert f"right of 240 images, {one['scheme']}</h3>" in page
    assert "Whole groups" in page
    assert "easier question" in page


def test_the_map_has_every_image_with_its_thumbnail(page: str, material: Material) -> None:
    data, images = map_of(page), material.images
    folders, files = data["folders"], data["files"]
    paths = [folders[f] + name for f, name in zip(data["folder"].tolist(), files, strict=True)]
    assert paths == images["path"].to_pylist()
    for name in ("label", "predicted"):
        assert [data["labels"][n] for n in data[name]] == images[name].to_pylist()
    assert [data["splits"][n] for n in data["split"]] == images["split"].to_pylist()
    np.testing.assert_allclose(data["confidence"], images["confidence"].to_numpy(), rtol=1e-6)
    first = material.quality["label_suspect"]["path"].to_pylist()
    assert data["findings"][0] == "Labels that may be wrong"
    assert [path for path, n in zip(paths, data["finding"], strict=True) if n == 0] == first
    for number, plane in enumerate(material.planes):
        assert data[f"plane{number}"].reshape(-1, 2).tolist() == plane.points.tolist()
    assert thumbnails_of(page) == [material.thumbnails[path] for path in paths]
    assert '<span id="with-thumbnails">240 of 240</span>' in page


def test_nothing_in_the_page_has_the_address_of_another_place(page: str) -> None:
    outline = Outline(page)
    addresses = [
        value
        for _, attributes in outline.found
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "poster", "data")
    ]
    assert addresses
    assert {str(one)[:5].partition(":")[0] for one in addresses if str(one)[0] != "#"} == {"data"}
    assert "default-src 'none'" in page
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_it_can_be_used_without_eyes_and_without_a_mouse(page: str) -> None:
    outline = Outline(page)
    assert all(one.get("alt") is not None for one in outline.all("img"))
    assert page.count("<caption>") == len(outline.all("table"))
    assert all(one.get("scope") in ("col", "row") for one in outline.all("th"))
    ids = Counter(one["id"] for _, one in outline.found if one.get("id"))
    assert max(ids.values()) == 1
    targets = [str(one["href"])[1:] for one in outline.all("a")]
    assert len(targets) > 10
    assert set(targets) <= set(ids)
    levels = [int(tag[1]) for tag, _ in outline.found if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(one.get("aria-label") for one in outline.all("svg"))


def test_labels_and_paths_are_escaped_everywhere() -> None:
    evil = ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(2)>", "]]>&amp;{{ 7 * 7 }}"]
    material = drawn(evil, 8, folder="file:/<b>'\"</script><script>alert(3)</script>")
    page = render(material).decode()
    for text in ("<script>alert", "<img src=x", "<b>'", "</script><script>alert"):
        assert text not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert sorted(map_of(page)["labels"]) == sorted(evil)


def large_pictures(count: int) -> list[bytes]:
    """Thumbnails with more bytes than those of photographs."""
    rng = np.random.default_rng(0)
    return [thumbnail(rng.integers(0, 256, (224, 224, 3), np.uint8), b"") for _ in range(count)]


def test_ninety_thousand_images_stay_below_the_limit() -> None:
    material = drawn(names(131), 687)
    few = large_pictures(50)
    thumbnails = {path: few[n % 50] for n, path in enumerate(material.thumbnails)}
    page = render(replace(material, thumbnails=thumbnails))
    assert 20_000_000 < len(page) <= LARGEST
    text = page.decode()
    data = map_of(text)
    assert data["count"] == 131 * 687
    with_thumbnail = np.diff(data["offsets"].astype(np.int64)) > 0
    by_label = Counter(data["label"][with_thumbnail].tolist())
    assert len(by_label) == 131
    # Those of the sections come first, the others evenly by label.
    assert max(by_label.values()) - min(by_label.values()) < 60
    assert f"{int(with_thumbnail.sum()):,} of 89,997</span>" in text


def test_a_thousand_labels_are_shown_in_part_and_the_page_says_so() -> None:
    page = render(drawn([f"label {n}" for n in range(1000)], 3)).decode()
    assert "The 150 labels with the most wrong images are shown; 850 are left out." in page
    assert "The first 200 labels are shown; 800 more are on the map." in page
    assert len(page) < LARGEST
    assert len(map_of(page)["labels"]) == 1000


def test_a_map_of_some_images_says_of_how_many() -> None:
    material = replace(drawn(names(3), 10), total=5_000)
    assert "The map shows 30 of 5,000 images" in render(material).decode()


def test_a_run_without_classifier_labels_and_thumbnails_has_a_page() -> None:
    whole = drawn(names(3), 10)
    missing = ["label", "split", "predicted", "confidence", "unknown", "distance"]
    columns = [whole.images["path"], *(pa.nulls(30, IMAGES.field(name).type) for name in missing)]
    run = run_json({"found": 30, "extracted": 30, "reused": 0, "rejected": 0})
    run["classifier"] = {"skipped": "the option classifier is none"}
    bare = Material(
        run=run,
        written=whole.written,
        images=pa.table(columns, schema=IMAGES),
        total=30,
        planes=whole.planes[:1],
        vectors=whole.vectors,
    )
    page = render(bare).decode()
    assert "No classifier: the option classifier is none." in page
    assert "0 of 30</span>" in page
    data = map_of(page)
    assert not data["classifier"]
    assert data["labels"] == []
    assert thumbnails_of(page) == [b""] * 30


def test_no_images_at_all_have_a_page() -> None:
    run = run_json({"found": 2, "extracted": 0, "reused": 0, "rejected": 2})
    del run["classifier"], run["evaluation"], run["split"]
    empty = Material(run, drawn(names(2), 2).written, IMAGES.empty_table(), 0)
    page = render(empty).decode()
    assert "<strong>2</strong> found" in page
    assert "map-data" not in page
    assert len(page) < 50_000


def test_empty_tables_say_that_nothing_was_found(material: Material) -> None:
    quality = {name: rows.slice(0, 0) for name, rows in material.quality.items()}
    page = render(replace(material, quality=quality)).decode()
    assert page.count("<p>None was found.</p>") == len(quality) == 5


def test_findings_without_a_photograph_are_a_table(material: Material) -> None:
    rows = material.quality["outlier"].slice(0, 2).to_pylist()
    drift = [row | {"kind": "drift", "path": None, "other_split": "test"} for row in rows]
    table = pa.Table.from_pylist(drift, material.quality["outlier"].schema)
    page = render(replace(material, quality={"drift": table})).decode()
    assert '<a href="#drift">Drift</a>' in page
    assert "<td>train and test</td><td>drawn number 0</td>" in page
