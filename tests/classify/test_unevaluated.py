from typing import Any

import pytest

from fruits.classify.unevaluated import not_evaluated

GROUPED, TEST = {"scheme": "grouped cross-validation"}, {"scheme": "split: test"}


def report(sides: dict[str, int], evaluation: list[Any], model: str | None = None) -> Any:
    fitted_to = "train" if 0 < sides.get("train", 0) < sum(sides.values()) else "all"
    return {
        "parameters": {"model": model},
        "split": {"images": sides, "labelled": dict(sides), "fitted_to": fitted_to},
        "evaluation": evaluation,
        "classifier": {"kind": "lda"},
    }


@pytest.mark.parametrize(
    ("sides", "evaluation", "model"),
    [
        ({"train": 90, "test": 10}, [GROUPED, TEST], None),
        ({"none": 90}, [GROUPED], None),
        ({"none": 10, "test": 10}, [{"scheme": "images given"}, TEST], "out"),
    ],
)
def test_complete_evaluations_need_no_reason(
    sides: dict[str, int], evaluation: list[Any], model: str | None
) -> None:
    assert not_evaluated(report(sides, evaluation, model)) == []


@pytest.mark.parametrize(
    ("aside", "line"),
    [
        (1, "1 labelled image is in no part of the split: predicted, but used neither for training "
         "nor for evaluation; put it into a folder train, or set split to none"),
        (1500, "1,500 labelled images are in no part of the split: predicted, but used neither for "
         "training nor for evaluation; put them into a folder train, or set split to none"),
    ],
)  # fmt: skip
def test_labelled_images_on_no_side_of_the_split_are_counted(aside: int, line: str) -> None:
    sides = {"train": 90, "test": 10, "none": aside}
    assert not_evaluated(report(sides, [GROUPED, TEST])) == [line]
    given = [{"scheme": "images given"}, TEST]
    assert not_evaluated(report(sides, given, "out")) == []
    assert not_evaluated(report({"none": aside}, [GROUPED])) == []


def test_images_without_a_label_are_counted() -> None:
    content = report({"train": 90, "test": 10, "none": 7}, [GROUPED, TEST])
    content["split"]["labelled"] = {"train": 89, "test": 10}
    (found,) = not_evaluated(content)
    assert found == (
        "8 images have no label: predicted, but used neither for training nor for evaluation"
    )
    content["parameters"]["model"] = "out"
    content["evaluation"] = [TEST]
    content["split"]["labelled"] = {"train": 90, "test": 10, "none": 6}
    assert not_evaluated(content) == ["1 image has no label: predicted, but not evaluated"]
    # Earlier versions do not say how many have a label.
    del content["split"]["labelled"]
    assert not_evaluated(content) == []


def test_images_whose_label_is_the_folder_of_images_are_counted() -> None:
    content = report({"none": 90}, [GROUPED])
    for count, are in ((1, "1 image is"), (1200, "1,200 images are")):
        content["classifier"]["loose"] = {"photos": count}
        line = f"{are} directly in the folder of images, so the label is 'photos'"
        assert not_evaluated(content) == [line]


def test_a_side_without_a_known_label_is_named() -> None:
    sides = {"train": 90, "test": 1000, "validation": 10}
    line = (
        "split: test (1,000 images) was not evaluated: no image has a label of the training images"
    )
    (found,) = not_evaluated(report({"train": 90, "test": 1}, [GROUPED]))
    assert found.startswith("split: test (1 image) was not evaluated: no image has a label")
    for model in (None, "out"):
        done = [GROUPED, {"scheme": "split: validation"}]
        (found,) = not_evaluated(report(sides, done, model))
        assert found.startswith(line)


def test_without_a_cross_validation_the_confidence_is_not_calibrated() -> None:
    (found,) = not_evaluated(report({"train": 90, "test": 10}, [TEST]))
    assert found.startswith(
        "the classifier was not evaluated by grouped cross-validation: no label"
    )
    assert found.endswith("so its confidence is not calibrated, and no image is unknown")


def test_a_model_that_was_also_fitted_to_the_held_out_sides_is_reported() -> None:
    (found,) = not_evaluated(report({"none": 90, "test": 10, "validation": 2}, [GROUPED]))
    assert found.startswith("no image is in train, so the model was fitted to all")
    assert "including those of test and validation: name the folder" in found


def test_the_remedy_names_no_other_images_if_there_are_none() -> None:
    (found,) = not_evaluated(report({"test": 90, "validation": 10}, [GROUPED]))
    assert "including those of test and validation: name one of these folders train" in found


def test_a_model_that_was_fitted_to_test_images_is_reported() -> None:
    (found,) = not_evaluated(report({"test": 90}, [GROUPED]))
    assert found == (
        "all images are in test, so the model was fitted to them: add images in a "
        "folder train, or set split to none"
    )
    assert not_evaluated(report({"test": 90}, [TEST], "out")) == []


def test_an_empty_test_side_is_reported() -> None:
    (found,) = not_evaluated(report({"train": 90}, [GROUPED]))
    assert found == (
        "all images are in train, so there is no evaluation on a split: add images "
        "in a folder test, or set split to none"
    )
    assert not_evaluated(report({"train": 90}, [{"scheme": "split: train"}], "out")) == []


@pytest.mark.parametrize("classifier", [None, {}, {"skipped": "there is one label"}])
def test_a_run_without_a_classifier_misses_no_evaluation(classifier: Any) -> None:
    assert not_evaluated(report({"none": 90}, []) | {"classifier": classifier}) == []


def test_a_model_that_knows_no_label_is_reported_once() -> None:
    (found,) = not_evaluated(report({"none": 90, "test": 10}, [], "out"))
    assert found.endswith("no image has a label that the model knows")
