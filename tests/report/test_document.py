"""The text of the page: its contents, escaped texts, and its size."""

import itertools
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from drawn import drawn, names, plain_folder, run_json
from unpacked import map_of, thumbnails_of

from fruits.images.thumbnail import thumbnail
from fruits.report.charts import calibration, scree
from fruits.report.data import IMAGES, ReportData
from fruits.report.document import LARGEST, render


class Outline(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def report() -> ReportData:
    return drawn(names(12), 20)


@pytest.fixture(scope="module")
def page(report: ReportData) -> str:
    return render(report).decode()


def test_the_counts_of_the_page_add_up(page: str) -> None:
    summed = re.search(r'<p class="sum".*?</p>', page, re.S)
    assert summed
    found, *parts = (int(n.replace(",", "")) for n in re.findall(r"<strong>([\d,]+)", summed[0]))
    assert (found, parts) == (243, [240, 0, 3])
    assert found == sum(parts)
    reasons = re.findall(r'<th scope="row">([^<]+)</th><td class="n">(\d+)</td></tr>', page)
    assert ("truncated: the JPEG ends before its pixels", "2") in reasons
    assert ("empty file", "1") in reasons
    assert {(".txt", "2"), ("hidden (name starts with a dot)", "1")} <= set(reasons)


def test_each_accuracy_has_its_scheme_and_says_why_they_differ(
    page: str, report: ReportData
) -> None:
    for one in report.run["evaluation"]:
        assert f'<p class="value">{one["accuracy"]:.1%}</p>' in page
        assert f"accuracy on 240 images, {one['scheme']}</h3>" in page
    assert "Whole groups" in page
    assert "higher than the accuracy for new objects" in page


def test_the_map_has_every_image_with_its_thumbnail(page: str, report: ReportData) -> None:
    data, images = map_of(page), report.images
    folders, files = data["folders"], data["files"]
    paths = [folders[f] + name for f, name in zip(data["folder"].tolist(), files, strict=True)]
    assert paths == images["path"].to_pylist()
    for name in ("label", "predicted"):
        assert [data["labels"][n] for n in data[name]] == images[name].to_pylist()
    assert [data["splits"][n] for n in data["split"]] == images["split"].to_pylist()
    np.testing.assert_allclose(data["confidence"], images["confidence"].to_numpy(), rtol=1e-6)
    first = report.quality["label suspect"]["path"].to_pylist()
    assert data["findings"][0] == "Labels that may be wrong"
    assert [path for path, n in zip(paths, data["finding"], strict=True) if n == 0] == first
    for number, plane in enumerate(report.planes):
        assert data[f"plane{number}"].reshape(-1, 2).tolist() == plane.points.tolist()
    assert thumbnails_of(page) == [report.thumbnails[path] for path in paths]
    assert '<span id="with-thumbnails">240 of 240</span>' in page


def test_the_page_refers_to_no_other_address(page: str) -> None:
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


def test_the_page_is_accessible_by_screen_reader_and_keyboard(page: str) -> None:
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


def test_notes_below_photographs_are_sentences(page: str, report: ReportData) -> None:
    pair = report.confusions[0]
    of = f"<strong>{pair.images}</strong> of {pair.label} predicted as {pair.predicted}</p>"
    assert of in page
    outliers = page[page.index('<h2 id="outlier"') :].partition("</section>")[0]
    assert "<span>drawn number 0</span><span>split: train</span>" in outliers
    assert "3 components explain 87.5% of the variance; the first alone explains 50.0%." in page


def test_labels_and_paths_are_escaped_everywhere() -> None:
    evil = ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(2)>", "]]>&amp;{{ 7 * 7 }}"]
    report = drawn(evil, 8, folder="file:/<b>'\"</script><script>alert(3)</script>")
    page = render(report).decode()
    for text in ("<script>alert", "<img src=x", "<b>'", "</script><script>alert"):
        assert text not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert sorted(map_of(page)["labels"]) == sorted(evil)


def test_a_folder_of_images_whose_name_is_not_utf_8_is_escaped(report: ReportData) -> None:
    parameters = {**report.run["parameters"], "images": "/photos \udcff"}
    page = render(replace(report, run={**report.run, "parameters": parameters})).decode()
    assert "<code>/photos \\udcff</code>" in page


def large_pictures(count: int) -> list[bytes]:
    """Thumbnails with more bytes than those of photographs."""
    rng = np.random.default_rng(0)
    return [thumbnail(rng.integers(0, 256, (224, 224, 3), np.uint8), b"") for _ in range(count)]


def test_ninety_thousand_images_stay_below_the_limit() -> None:
    report = drawn(names(131), 687)
    few = large_pictures(50)
    thumbnails = {path: few[n % 50] for n, path in enumerate(report.thumbnails)}
    page = render(replace(report, thumbnails=thumbnails))
    assert 20_000_000 < len(page) <= LARGEST
    text = page.decode()
    data = map_of(text)
    assert data["count"] == 131 * 687
    with_thumbnail = np.diff(data["offsets"].astype(np.int64)) > 0
    by_label = Counter(data["label"][with_thumbnail].tolist())
    assert len(by_label) == 131
    # Those in the sections have precedence; the others are sampled evenly by label.
    assert max(by_label.values()) - min(by_label.values()) < 60
    assert f"{int(with_thumbnail.sum()):,} of 89,997</span>" in text


def test_the_page_says_that_only_some_of_a_thousand_labels_are_shown() -> None:
    page = render(drawn([f"label {n}" for n in range(1000)], 3)).decode()
    assert "The 150 labels with the most wrong images are shown; 850 are left out." in page
    assert "The first 200 labels are shown; 800 more are on the map." in page
    assert len(page) < LARGEST
    assert len(map_of(page)["labels"]) == 1000


def test_a_page_about_a_sample_says_what_its_numbers_count(report: ReportData, page: str) -> None:
    sample = render(replace(report, total=5_000)).decode()
    for text, times in (
        ("The map shows 240 of 5,000 images</strong>, about the same number of each label.", 1),
        ('<span class="count">20 on the map</span>', 12),
        ("Only images on the map are counted.", 1),
    ):
        assert sample.count(text) == times
        assert text not in page


def test_a_run_without_classifier_labels_and_thumbnails_has_a_page() -> None:
    whole = drawn(names(3), 10)
    missing = ["label", "split", "predicted", "confidence", "unknown", "distance"]
    columns = [whole.images["path"], *(pa.nulls(30, IMAGES.field(name).type) for name in missing)]
    run = run_json({"found": 30, "extracted": 30, "reused": 0, "rejected": 0})
    run["classifier"] = {"skipped": "the option classifier is none"}
    bare = ReportData(
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


def test_the_name_of_a_folder_is_no_label_of_a_model_that_does_not_know_it() -> None:
    report = plain_folder(names(3), 10)
    page = render(report).decode()
    assert "no image has a label that the model knows" in page
    data = map_of(page)
    assert not data["labelled"]
    assert data["labels"] == names(3)
    assert (data["label"] == 0xFFFFFFFF).all()
    assert "kphotos" not in page
    assert '<h2 id="samples">Photographs by predicted label</h2>' in page
    found = re.findall(r'<h3>([^<]+) <span class="count">(\d+)</span></h3>', page)
    assert dict(found) == {
        name: str(count) for name, count in Counter(report.images["predicted"].to_pylist()).items()
    }


def test_a_label_that_the_model_knows_keeps_all_labels_of_a_prediction() -> None:
    plain = plain_folder(names(3), 10)
    evaluation = [{**drawn(names(3), 10).run["evaluation"][1], "scheme": "images given"}]
    page = render(replace(plain, run={**plain.run, "evaluation": evaluation})).decode()
    assert map_of(page)["labels"] == [*names(3), "kphotos"]
    assert '<h2 id="samples">Photographs by label</h2>' in page


def test_no_images_at_all_have_a_page() -> None:
    run = run_json({"found": 2, "extracted": 0, "reused": 0, "rejected": 2})
    run["classifier"] = {"skipped": "no label has two images"}
    run["split"] = {"images": {}, "fitted_to": "all"}
    empty = ReportData(run, drawn(names(2), 2).written, IMAGES.empty_table(), 0)
    page = render(empty).decode()
    assert "<strong>2</strong> found" in page
    assert "map-data" not in page
    assert len(page) < 50_000


def test_empty_tables_say_that_nothing_was_found(report: ReportData) -> None:
    quality = {name: rows.slice(0, 0) for name, rows in report.quality.items()}
    page = render(replace(report, quality=quality)).decode()
    assert page.count("<p>None was found.</p>") == len(quality) == 5


def test_findings_without_a_photograph_are_a_table(report: ReportData) -> None:
    rows = report.quality["outlier"].slice(0, 2).to_pylist()
    drift = [row | {"kind": "drift", "path": None, "other_split": "test"} for row in rows]
    table = pa.Table.from_pylist(drift, report.quality["outlier"].schema)
    page = render(replace(report, quality={"drift": table})).decode()
    assert '<a href="#drift">Drift</a>' in page
    assert "<td>train</td><td>test</td><td>drawn number 0</td>" in page


def test_the_findings_are_counted_at_the_top_each_with_a_link_and_photographs(
    page: str, report: ReportData
) -> None:
    tiles = page[page.index('<ul class="tiles">') :]
    tiles = tiles[: tiles.index("</ul>")]
    assert page.index('<ul class="tiles">') < page.index('id="figures"')
    links = [str(one["href"])[1:] for one in Outline(tiles).all("a")]
    assert {kind.replace(" ", "-") for kind in report.quality} == set(links) - {"unknown"}
    counts = [int(n) for n in re.findall(r'<span class="value">(\d+)</span>', tiles)]
    assert counts[: len(report.quality)] == [t.num_rows for t in report.quality.values()]
    assert tiles.count("<img") == 3 * len(links)


def test_findings_come_before_the_samples_of_labels(page: str) -> None:
    ids = re.findall(r'<h2 id="([\w-]+)"', page)
    after = ids[ids.index("confusion") + 1 :]
    assert after[:2] == ["label-suspect", "outlier"]
    assert after[-3:] == ["samples", "variance", "time"]


def test_a_pair_says_once_why_it_is_listed(page: str) -> None:
    part = page[page.index('id="near-duplicate"') :]
    part = part[: part.index("</section>")]
    assert part.count('class="twins"') == 4
    assert [part.count(f"drawn number {n}<") for n in (0, 2, 4, 6)] == [1, 1, 1, 1]


def test_unknown_photographs_are_not_shown_again_where_they_are_outliers(
    report: ReportData,
) -> None:
    images = report.images
    unknown = images.filter(images["unknown"])["path"].to_pylist()
    assert len(unknown) > 1
    row = report.quality["outlier"].slice(0, 1).to_pylist()[0]
    outliers = pa.Table.from_pylist(
        [row | {"path": path} for path in unknown[1:]], report.quality["outlier"].schema
    )
    page = render(replace(report, quality={"outlier": outliers})).decode()
    assert (
        f"Of those on the map, the predictions also report {len(unknown) - 1} as unknown." in page
    )
    assert 'Unknown photographs <span class="count">1</span>' in page
    left = page[page.index('<h2 id="unknown"') : page.index('<h2 id="samples"')]
    assert left.count("<figure") == 1
    assert f'title="{unknown[0]}"' in left


def test_what_was_not_looked_for_keeps_its_capital_letters(report: ReportData) -> None:
    run = {**report.run, "quality": {"skipped": {"outlier": "no LDA of Fig 1 was fitted"}}}
    assert "<p>No LDA of Fig 1 was fitted.</p>" in render(replace(report, run=run)).decode()


def test_a_check_that_was_not_made_is_not_said_to_have_found_nothing(report: ReportData) -> None:
    quality = report.quality | {"outlier": report.quality["outlier"].slice(0, 0)}
    found = {"outlier": None, "skipped": {"outlier": "not looked for without a classifier"}}
    run = {**report.run, "quality": found}
    page = render(replace(report, run=run, quality=quality)).decode()
    assert '<h2 id="outlier">Outliers</h2>' in page
    assert "<p>Not looked for without a classifier.</p>" in page
    assert "None was found" not in page
    tiles = page[page.index('<ul class="tiles">') :].partition("</ul>")[0]
    assert "Outliers" not in tiles
    assert "Near-duplicates" in tiles


def test_limits_of_the_search_for_copies_are_also_those_of_copies_on_two_sides(
    report: ReportData,
) -> None:
    skipped = {"duplicate": "3 more are not listed", "near-duplicate": "not looked for in 2 images"}
    run = {**report.run, "quality": {"skipped": skipped}}
    page = render(replace(report, run=run)).decode()
    assert "<p>3 more are not listed; not looked for in 2 images.</p>" in page


def test_without_a_threshold_there_is_no_share_of_unknown_images(
    report: ReportData, page: str
) -> None:
    classifier = {**report.run["classifier"], "unknown_above": None}
    without = render(replace(report, run={**report.run, "classifier": classifier})).decode()
    assert "99 of 100 held-out training images (" in page
    assert "99 of 100 held-out training images (" not in without


def test_groups_are_named_only_below_an_evaluation_that_held_them_out(report: ReportData) -> None:
    text = "Groups that were left out together: 4 groups."
    assert text in render(report).decode()
    given = [{**report.run["evaluation"][1], "scheme": "images given"}]
    assert text not in render(replace(report, run={**report.run, "evaluation": given})).decode()


def test_the_page_says_what_an_evaluation_does_not_list(report: ReportData, page: str) -> None:
    first = report.run["evaluation"][0]
    few = {
        **first,
        "confusion": [row for row in first["confusion"] if row[0] == row[1]],
        "left_out": {"labels": 70, "confusion": 1234},
    }
    cut = render(replace(report, run={**report.run, "evaluation": [few]}, confusions=[])).decode()
    assert "1,234 pairs of true and predicted label are not listed." in cut
    assert "12 labels with the most images; 70 more are not listed" in cut
    assert "No image has a wrong prediction." not in cut
    assert "pairs of true and predicted label are not listed" not in page
    right = {**few, "accuracy": 1.0}
    run = {**report.run, "evaluation": [right]}
    assert (
        "No image has a wrong prediction."
        in render(replace(report, run=run, confusions=[])).decode()
    )


def test_the_sides_of_the_split_are_a_sentence(report: ReportData) -> None:
    def page(**images: int) -> str:
        split = {"images": images, "fitted_to": "train"}
        return render(replace(report, run={**report.run, "split": split})).decode()

    text = "1,200 images are in train and 1 in test"
    fitted = "The model was fitted to the training images."
    assert f" {text}. {fitted}" in page(test=1, train=1200)
    assert f" {text}; 2 are in neither. {fitted}" in page(none=2, test=1, train=1200)
    text = "1 image is in train, 2 in test and 3 in validation"
    assert f" {text}; 1 is in none of them." in page(none=1, test=2, train=1, validation=3)


def test_links_at_the_top_have_the_words_of_the_headings(report: ReportData, page: str) -> None:
    empty = render(replace(report, quality=dict(report.quality))).decode()
    for one in (page, empty):
        links = re.findall(r'<li><a href="#([\w-]+)">([^<]+)</a></li>', one)
        assert len(links) > 8
        for name, text in links:
            heading = re.search(rf'<h2 id="{name}">([^<]+?)\s*<', one)
            assert heading
            assert heading[1] == text


@pytest.mark.parametrize(
    ("components", "ticks"),
    [
        (1, ["0", "1"]),
        (5, ["0", "1", "2", "3", "4", "5"]),
        (133, ["0", "50", "100"]),
        (1280, ["0", "500", "1,000"]),
    ],
)
def test_the_axis_of_components_has_round_numbers(components: int, ticks: list[str]) -> None:
    chart = scree([1 / components] * components)
    assert chart
    assert [text for _, text in chart.x_ticks] == ticks
    width = chart.right - chart.left
    shares = [(x - chart.left) / width for x, _ in chart.x_ticks]
    numbers = [int(text.replace(",", "")) / components for text in ticks]
    assert shares == pytest.approx(numbers, abs=1e-3)


def test_a_point_of_the_calibration_is_as_large_as_its_number_of_images(
    report: ReportData, page: str
) -> None:
    bins = [
        {"images": images, "confidence": share, "accuracy": share}
        for images, share in ((100, 0.9), (25, 0.5), (1, 0.1))
    ]
    chart = calibration([{**report.run["evaluation"][0], "bins": bins}])
    assert chart
    largest, quarter, smallest = (radius for _, _, radius, _ in chart.lines[1].dots)
    assert (quarter / largest) ** 2 == pytest.approx(1 / 4)
    assert 1 <= smallest < quarter / 2
    assert "The larger a point, the more images" in page


def test_charts_name_both_axes(page: str) -> None:
    for name in (
        "components",
        "share of the variance",
        "confidence",
        "share of correct predictions",
    ):
        assert f">{name}</text>" in page


def test_the_page_says_which_predictions_are_of_images_that_the_classifier_knows(
    report: ReportData,
) -> None:
    drift = report.quality["outlier"].slice(0, 1)
    report = replace(report, quality=report.quality | {"drift": drift})
    parameters = {**report.run["parameters"], "model": "data/other"}
    other = render(replace(report, run={**report.run, "parameters": parameters})).decode()
    for note in (
        "the final classifier, which was fitted to them",
        "The model was fitted to the training images.",
        "measured by a classifier that was trained without it",
        "The final classifier also reports these as unknown",
    ):
        assert note in render(report).decode()
        assert note not in other
    for note in (
        "The distances are those of the classifier of the model.",
        "The classifier of the model also reports these as unknown",
        "The images of this run are compared with the training images of the model.",
    ):
        assert note in other


def without_split(report: ReportData) -> ReportData:
    split = {"images": {"none": 240}, "fitted_to": "all"}
    evaluation = report.run["evaluation"][:1]
    return replace(report, run={**report.run, "split": split, "evaluation": evaluation})


def test_without_a_split_no_side_is_named_and_all_points_are_training_images(
    report: ReportData,
) -> None:
    page = render(without_split(report)).decode()
    assert "are in train" not in page
    assert "come from the final classifier, which was fitted to them" in page


@pytest.mark.parametrize(
    ("groups_by", "text", "promised"),
    [
        ({"film": 12}, "such as all photographs of one object", True),
        ({"block": 12}, "predicted. The groups are only blocks of neighbouring files", False),
        ({"block": 1, "film": 11}, "For 1 label, the groups are only blocks", False),
        ({"block": 2, "film": 10}, "For 2 labels, the groups are only blocks", False),
    ],
)
def test_blocks_of_file_names_promise_nothing_about_new_objects(
    report: ReportData, groups_by: dict[str, int], text: str, promised: bool
) -> None:
    classifier = {**report.run["classifier"], "groups_by": groups_by}
    page = render(replace(report, run={**report.run, "classifier": classifier})).decode()
    assert text in page
    assert ("expect this accuracy for new objects" in page) is promised
    assert ("Set --group" in page) is not promised


def test_images_without_a_group_promise_nothing_about_new_objects(report: ReportData) -> None:
    about = {**report.run["classifier"], "groups_by": {"expression": 12}, "ungrouped": 7}
    page = render(replace(report, run={**report.run, "classifier": about})).decode()
    assert "7 training images without a group are treated as separate groups" in page
    assert "expect this accuracy for new objects" not in page


def measured(report: ReportData, **figures: object) -> str:
    """The page of a prediction with the model of another run."""
    evaluation = {**report.run["evaluation"][0], "scheme": "images given", **figures}
    return render(replace(report, run={**report.run, "evaluation": [evaluation]})).decode()


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ({"identical": 0}, "All labelled images of this run.</p>"),
        ({}, "<p>Measured on the images given. Rows are"),
        ({"scheme": "split: validation"}, "<p>The validation images of the data set. If they show"),
        ({"scheme": "split: validation"}, "<p>Measured on the validation images. Rows are"),
        (
            {"scheme": "grouped cross-validation"},
            "<p>Measured by grouped cross-validation. Rows are",
        ),
        ({"identical": 1}, "1 of these images is also in the training, byte for byte"),
        ({"identical": 7}, "7 of these images are also in the training, byte for byte"),
        ({"unseen_labels": {"Fig": 1}}, "1 image with labels that have no training images is"),
        ({"unseen_labels": {"Fig": 1, "Kiwi": 2}}, "3 images with labels that have no training"),
    ],
)
def test_figures_say_how_they_were_measured_and_how_many_images_the_model_knows(
    report: ReportData, figures: dict[str, object], text: str
) -> None:
    page = measured(report, **figures)
    assert text in page
    assert "trained on other images" not in page


def test_a_single_component_is_not_called_components(report: ReportData) -> None:
    page = render(replace(report, run={**report.run, "explained_variance": [0.8]})).decode()
    assert "1 component explains 80.0% of the variance. The classifier" in page
    assert "1 components" not in page
