import json
from pathlib import Path
from typing import Any

import pytest

from fruits.errors import ConfigError, OutputError
from fruits.features.rows import FEATURES, REJECTED, write_rows
from fruits.features.writer import FeatureWriter
from fruits.runs.outputs import Outputs
from fruits.runs.summary import interruption, summary_of
from fruits.storage.location import Location
from fruits.storage.lock import exclusive

REPORT: dict[str, Any] = {
    "parameters": {"model": None},
    "counts": {"found": 1200, "extracted": 1000, "reused": 190, "rejected": 10},
    "images_per_second": 50.0,
    "components": 2,
    "explained_variance": [0.9, 0.05],
    "seconds": {"total": 20.0},
}


def write(folder: Path, content: str) -> Outputs:
    (folder / "run.json").write_text(content)
    return Outputs.of(str(folder))


def test_the_summary_has_one_line_of_figures_and_the_paths_of_results(tmp_path: Path) -> None:
    figures, place = summary_of(write(tmp_path, json.dumps(REPORT))).splitlines()
    assert figures == (
        "1,200 images: 1,000 extracted (50 images/s), 190 reused, 10 rejected; "
        "2 components explain 95.0% of the variance; 20 s"
    )
    assert place.split() == ["run.json", f"file:{tmp_path}/run.json"]


def test_without_extracted_images_there_is_no_speed(tmp_path: Path) -> None:
    counts = {"found": 1200, "extracted": 0, "reused": 1190, "rejected": 10}
    report = REPORT | {"counts": counts, "images_per_second": 0.0}
    assert summary_of(write(tmp_path, json.dumps(report))).startswith(
        "1,200 images: 0 extracted, 1,190 reused, 10 rejected; 2 components"
    )


def test_findings_are_counted_by_kind_and_skipped_checks_are_named(tmp_path: Path) -> None:
    found = {"duplicate": 1, "near-duplicate": 0, "outlier": 2000, "drift": 2}
    skipped = {"near-duplicate": "not looked for among 3 images without a thumbnail"}
    report = REPORT | {"quality": found | {"skipped": skipped}}
    lines = summary_of(write(tmp_path, json.dumps(report))).splitlines()
    assert lines[1:3] == [
        "  findings: 1 duplicate, 2,000 outliers, 2 drift",
        "  near-duplicate: not looked for among 3 images without a thumbnail",
    ]
    report = REPORT | {"quality": dict.fromkeys(found, 0)}
    lines = summary_of(write(tmp_path, json.dumps(report))).splitlines()
    assert lines[1] == "  findings: none"


EVALUATION: dict[str, Any] = {
    "scheme": "grouped cross-validation",
    "images": 1200,
    "accuracy": 0.9,
    "balanced_accuracy": 0.85,
    "top5": 0.99,
    "log_loss": 0.25,
    "prior_log_loss": 0.7,
    "unknown": 0.034,
    "calibration_error": 0.1,
    "most_frequent": 0.5,
    "nearest_mean": 0.75,
    "identical": None,
    "unseen_labels": {},
}


def test_each_evaluation_is_a_line_with_its_figures_and_its_groups(tmp_path: Path) -> None:
    about = {"training_images": 1200, "groups": "7 groups; 2 labels grouped by folder"}
    none = {"log_loss": None, "nearest_mean": None, "identical": 0}
    test = EVALUATION | {"scheme": "split: test"} | none
    report = REPORT | {"classifier": about, "evaluation": [EVALUATION, test]}
    lines = summary_of(write(tmp_path, json.dumps(report))).splitlines()
    assert lines[1:3] == [
        "  accuracy 90.0% on 1,200 images, grouped cross-validation (most frequent label: 50.0%, "
        "nearest mean: 75.0%); mean over the labels 85.0%, top 5 99.0%, log loss 0.250 "
        "(label frequencies: 0.700), calibration error 0.100; 7 groups; 2 labels grouped by folder",
        "  accuracy 90.0% on 1,200 images, split: test (most frequent label: 50.0%); mean over the "
        "labels 85.0%, top 5 99.0%, calibration error 0.100",
    ]


def test_the_share_of_unknown_images_is_a_figure_if_there_is_a_threshold(tmp_path: Path) -> None:
    about = {"training_images": 1200, "unknown_above": 9.5}
    report = REPORT | {"classifier": about, "evaluation": [EVALUATION]}
    line = summary_of(write(tmp_path, json.dumps(report))).splitlines()[1]
    assert line.endswith(", calibration error 0.100, unknown 3.4%")


def test_a_log_loss_like_that_of_the_label_frequencies_is_a_line(tmp_path: Path) -> None:
    bad = EVALUATION | {"scheme": "split: test", "log_loss": 0.7}
    old = {name: value for name, value in bad.items() if name != "prior_log_loss"}
    report = REPORT | {"classifier": {}, "evaluation": [EVALUATION, bad, old]}
    lines = summary_of(write(tmp_path, json.dumps(report))).splitlines()
    (warning,) = [line for line in lines if "do not rely on the probabilities" in line]
    assert warning.startswith("  the log loss (split: test) is not smaller than that of always ")


def test_a_missing_evaluation_is_a_line_with_its_reason(tmp_path: Path) -> None:
    split = {"images": {"train": 1000, "test": 190}, "fitted_to": "train"}
    report = REPORT | {"classifier": {"labels": 2}, "split": split, "evaluation": [EVALUATION]}
    lines = summary_of(write(tmp_path, json.dumps(report))).splitlines()
    assert lines[2].startswith("  split: test (190 images) was not evaluated: no image has a label")


def test_images_without_a_group_are_counted(tmp_path: Path) -> None:
    about = {"training_images": 1200, "ungrouped": 1100}
    report = REPORT | {"classifier": about, "evaluation": [EVALUATION]}
    lines = summary_of(write(tmp_path, json.dumps(report))).splitlines()
    assert lines[2].startswith("  1,100 of 1,200 training images have no group; each such image")


def test_one_image_is_no_plural(tmp_path: Path) -> None:
    about = {"training_images": 9, "ungrouped": 1}
    counts = {"found": 1, "extracted": 1, "reused": 0, "rejected": 0, "boxes": 1}
    one = EVALUATION | {"images": 1, "identical": 1}
    report = REPORT | {"counts": counts, "classifier": about, "evaluation": [one]}
    first, *lines = summary_of(write(tmp_path, json.dumps(report))).splitlines()
    assert first.startswith("1 image: 1 extracted")
    assert "; 1 box; " in first
    assert lines[0].startswith("  accuracy 90.0% on 1 image, grouped cross-validation")
    assert "; 1 is equal to training images" in lines[0]
    assert lines[1].startswith("  1 of 9 training images has no group; each")


def test_a_regression_that_did_not_converge_is_a_line(tmp_path: Path) -> None:
    report = REPORT | {"classifier": {"unconverged": 2}, "evaluation": [EVALUATION]}
    lines = summary_of(write(tmp_path, json.dumps(report))).splitlines()
    assert lines[2].startswith("  the softmax regression did not converge in 2 of its fits: ")
    converged = REPORT | {"classifier": {"unconverged": 0}, "evaluation": [EVALUATION]}
    assert "converge" not in summary_of(write(tmp_path, json.dumps(converged)))


def test_the_last_line_is_the_address_of_the_report(tmp_path: Path) -> None:
    folder = tmp_path / "out of 2026"
    folder.mkdir()
    (folder / "report.html").write_text("a page")
    last = summary_of(write(folder, json.dumps(REPORT))).splitlines()[-1]
    assert last == f"  report      {(folder / 'report.html').as_uri()}"
    assert "%20" in last


def test_ignored_files_are_printed_without_control_characters(tmp_path: Path) -> None:
    passed_over = {".txt": 1, ".a\x1b[31m": 3}
    report = REPORT | {"counts": REPORT["counts"] | {"passed_over": passed_over}}
    figures = summary_of(write(tmp_path, json.dumps(report))).splitlines()[0]
    assert figures.isprintable()
    assert figures.endswith("; other files, skipped: 3 .a?[31m, 1 .txt")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '"\\u001b[31m"', '{"counts": 7}', json.dumps(REPORT | {"seconds": {}})],
)
def test_a_damaged_report_is_one_line_that_names_the_file(tmp_path: Path, content: str) -> None:
    with pytest.raises(OutputError, match=r"run.json is damaged .*run again") as caught:
        summary_of(write(tmp_path, content))
    assert str(caught.value).isprintable()


def test_a_figure_that_is_no_number_is_a_damaged_report(tmp_path: Path) -> None:
    report = REPORT | {"images_per_second": "\x1b[2J"}
    with pytest.raises(OutputError, match=r"run\.json is damaged") as caught:
        summary_of(write(tmp_path, json.dumps(report)))
    assert str(caught.value).isprintable()


def test_no_report_is_no_finished_run(tmp_path: Path) -> None:
    there_is_none = "wanted the output of a finished run; .*run.json does not exist: give another"
    with pytest.raises(ConfigError, match=there_is_none):
        summary_of(Outputs.of(str(tmp_path)))


def test_nothing_in_a_report_controls_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b]0;title\x07\u202e\ud800\nline"
    evaluation = EVALUATION | {"scheme": evil, "identical": 1, "unseen_labels": {evil: 2}}
    report = REPORT | {
        "ran": [evil, "b"],
        "finished": evil,
        "checked": evil,
        "classifier": {"kind": evil},
        "evaluation": [evaluation],
        "quality": {"skipped": {evil: evil}, evil: 3},
    }
    for one in (report, REPORT | {"classifier": {"skipped": evil}}):
        shown = summary_of(write(tmp_path, json.dumps(one)))
        assert all(line.isprintable() for line in shown.split("\n"))
        assert "line" in shown


def test_an_interrupted_run_says_how_to_keep_what_is_committed(tmp_path: Path) -> None:
    assert interruption(str(tmp_path)) == (
        "interrupted; no image was committed yet: the same command begins again"
    )
    with exclusive(f"{tmp_path}/_lock") as lock:
        writer = FeatureWriter(Location.of(f"{tmp_path}/features"), lock)
        write_rows(writer.staged / "a.parquet", FEATURES.empty_table())
        writer.commit(["a.parquet"], REJECTED.empty_table(), ["stub"])
    committed = f"interrupted; the features of 0 images are committed in {tmp_path}: "
    assert interruption(str(tmp_path)) == f"{committed}the same command continues from there"
    assert interruption(str(tmp_path), overwrite=True) == (
        f"{committed}leave out overwrite to continue from there; with it, they are deleted first"
    )
    for manifest in writer.manifests():
        Path(manifest).write_text("{")
    assert interruption(str(tmp_path)) == (
        f"interrupted; the features that were committed in {tmp_path} are kept: "
        "the same command continues from there"
    )
