from pathlib import Path

import pytest
from cleanvision import Imagelab  # type: ignore[import-untyped]
from planted import encoded, images_of, picture

from fruits.quality.copies import most_serious_first
from fruits.quality.duplicates import duplicates


def files(*paths: str) -> dict[str, bytes]:
    """Contents by path; the seed of each content is after the last underscore."""
    return {path: path.rpartition("_")[2].encode() for path in paths}


def pairs(contents: dict[str, bytes], trained: dict[str, bytes] | None = None) -> set[object]:
    found = duplicates(images_of(contents), images_of(trained) if trained else None)
    return {(one.kind, one.path, one.other) for one in found}


def test_all_copies_on_a_side_but_the_first_are_duplicates() -> None:
    same = files("train/Fig/c_1", "train/Fig/a_1", "train/Fig/b_1", "train/Fig/d_2")
    assert pairs(same) == {
        ("duplicate", "train/Fig/b_1", "train/Fig/a_1"),
        ("duplicate", "train/Fig/c_1", "train/Fig/a_1"),
    }


def test_an_image_that_an_earlier_side_has_is_a_split_duplicate() -> None:
    same = files("test/Fig/a_1", "train/Fig/z_1", "validation/Fig/m_1", "test/Fig/b_2")
    assert pairs(same) == {
        ("split duplicate", "test/Fig/a_1", "train/Fig/z_1"),
        ("split duplicate", "validation/Fig/m_1", "train/Fig/z_1"),
    }


def test_a_test_image_that_is_also_a_validation_image_was_not_learned() -> None:
    same = files("test/Fig/a_1", "validation/Fig/m_1", "test/Fig/b_2", "train/Fig/z_2")
    leak, copy = most_serious_first(duplicates(images_of(same)))
    assert (copy.kind, copy.path, copy.other_split) == (
        *("split duplicate", "test/Fig/a_1"),
        "validation",
    )
    assert "which is a validation image, so two accuracies are measured with it" in copy.reason
    assert "which is a training image, so the accuracy on it is too high" in leak.reason


def test_copies_on_the_test_side_are_both() -> None:
    same = files("test/Fig/a_1", "test/Fig/b_1", "train/Fig/z_1")
    assert pairs(same) == {
        ("split duplicate", "test/Fig/a_1", "train/Fig/z_1"),
        ("split duplicate", "test/Fig/b_1", "train/Fig/z_1"),
        ("duplicate", "test/Fig/b_1", "test/Fig/a_1"),
    }


def test_images_without_a_split_are_compared_with_each_other_only() -> None:
    same = files("Fig/a_1", "Fig/b_1", "test/Fig/c_1")
    assert pairs(same) == {("duplicate", "Fig/b_1", "Fig/a_1")}


def test_training_images_of_the_model_are_found_among_new_images() -> None:
    assert pairs(files("Fig/a_1", "Fig/b_2"), files("train/Fig/x_1", "train/Fig/y_1")) == {
        ("split duplicate", "Fig/a_1", "train/Fig/x_1")
    }


def test_copies_with_another_label_are_the_most_serious() -> None:
    same = files("train/Fig/a_1", "train/Fig/b_1", "train/Lime/c_1")
    first, second = most_serious_first(duplicates(images_of(same)))
    assert (first.path, first.other_label) == ("train/Lime/c_1", "Fig")
    assert "the labels differ: Lime and Fig" in first.reason
    assert "differ" not in second.reason


def test_images_that_are_all_different_are_no_findings() -> None:
    assert pairs(files("train/Fig/a_1", "test/Fig/b_2")) == set()
    assert duplicates(images_of({})) == []


@pytest.mark.filterwarnings("ignore")
def test_duplicates_are_those_of_cleanvision(tmp_path: Path) -> None:
    contents = {f"train/Fig/{n:02}.jpg": encoded(picture(n % 9)) for n in range(14)}
    for path, content in contents.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    lab = Imagelab(data_path=str(tmp_path))
    lab.find_issues({"exact_duplicates": {}}, n_jobs=1, verbose=False)
    theirs = [sorted(map(str, own)) for own in lab.info["exact_duplicates"]["sets"]]

    found = duplicates(images_of({f"{tmp_path}/{path}": one for path, one in contents.items()}))

    ours: dict[str, list[str]] = {}
    for one in found:
        ours.setdefault(str(one.other), [str(one.other)]).append(str(one.path))
    assert sorted(map(sorted, ours.values())) == sorted(theirs)
    assert len(theirs) == 5
