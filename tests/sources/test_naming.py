import doctest
from itertools import product

import pyarrow as pa
import pytest

from fruits.errors import ConfigError
from fruits.sources import naming
from fruits.sources.naming import Naming, film_of, folder_of, split_of

PATHS = [
    "file:/data/Training/Apple Golden 2/r_12_100.jpg",
    "file:/data/Test/Apple Golden 2/12_100.jpg",
    "s3a://fruit/VALID/Cherry/x/IMG_1.png",
    "file:/data/Fig/training.jpg",
    "loose.jpg",
    "file:/top.jpg",
]


def test_the_examples_are_right() -> None:
    assert doctest.testmod(naming).attempted > 0
    assert doctest.testmod(naming).failed == 0


@pytest.mark.parametrize(
    ("path", "side"),
    [
        ("file:/data/Training/Apple/1.jpg", "train"),
        ("file:/data/train/Apple/1.jpg", "train"),
        ("s3a://bucket/TEST/Apple/1.jpg", "test"),
        ("/data/testing/a/b/c/1.jpg", "test"),
        ("/data/Val/Apple/1.jpg", "validation"),
        ("/data/valid/1.jpg", "validation"),
        ("/data/validation/1.jpg", "validation"),
        ("/home/test/fruit/train/Apple/1.jpg", "train"),
        ("/data/tests/Apple/1.jpg", None),
        ("/data/my test/Apple/1.jpg", None),
        ("/data/Apple/test", None),
        ("test", None),
    ],
)
def test_a_folder_names_the_side_of_the_split(path: str, side: str | None) -> None:
    assert split_of(path) == side
    assert Naming().split_of(path) == side
    assert Naming(split="none").split_of(path) is None


@pytest.mark.parametrize(
    ("rule", "labels"),
    [
        ("parent", ["Apple Golden 2", "Apple Golden 2", "x", "Fig", None, None]),
        ("grandparent", ["Training", "Test", "Cherry", "data", None, None]),
        (r"/(?P<label>[^/ ]+)[^/]*/[^/]+$", ["Apple", "Apple", "x", "Fig", None, None]),
        (r"(?P<label>\d*)_\d+\.jpg", ["12", "12", None, None, None, None]),
    ],
)
def test_the_label_is_a_folder_or_what_an_expression_finds(
    rule: str, labels: list[str | None]
) -> None:
    assert [Naming(label=rule).label_of(path) for path in PATHS] == labels


def test_a_group_is_what_an_expression_finds() -> None:
    rules = Naming(group=r"(?P<group>Apple|Cherry)")

    assert rules.groups(pa.array(PATHS)).to_pylist() == ["Apple", "Apple", "Cherry", *[None] * 3]
    assert Naming().group_of(PATHS[0]) is None


@pytest.mark.parametrize(
    ("name", "film"),
    [
        ("r_12_100.jpg", "r"),
        ("12_100.jpg", ""),
        ("r2_12_100.jpg", "r2"),
        ("IMG_20240131.jpg", "IMG"),
        ("apple12_100.jpg", "apple"),
        ("apple12.jpg", "apple"),
        ("été-3.jpg", "été"),
        ("_5.jpg", ""),
    ],
)
def test_a_film_is_the_folder_and_the_leading_letters(name: str, film: str) -> None:
    assert film_of(f"s3a://b/Fig/{name}") == f"s3a://b/Fig/{film}"
    assert film_of(name) == film
    assert folder_of(f"s3a://b/Fig/{name}") == "s3a://b/Fig"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("label", "split"),
    list(product(["parent", "grandparent", r"(?P<label>[a-z]+)\.jpg"], ["auto", "none"])),
)
def test_columns_say_what_single_paths_do(label: str, split: str, chunked: bool) -> None:
    rules = Naming(label=label, split=split, group="(?P<group>a)")
    paths = pa.chunked_array([PATHS[:2], PATHS[2:]]) if chunked else pa.array(PATHS)

    for column, single in (
        (rules.labels, rules.label_of),
        (rules.splits, rules.split_of),
        (rules.groups, rules.group_of),
    ):
        result = column(paths)
        assert result.type == pa.string()
        assert result.to_pylist() == [single(path) for path in PATHS]
        assert column(paths.slice(0, 0)).to_pylist() == []


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"label": "mother"},
            r"label: wanted parent, grandparent, column:NAME, or a regular .* got 'mother'",
        ),
        ({"label": "(?P<label>["}, r"label: wanted .* got '\(\?P<label>\[': unterminated"),
        ({"label": "(?P<name>x)"}, r"label: wanted .* with a group \(\?P<label>\.\.\.\)"),
        ({"group": "x"}, r"group: wanted a regular expression with a group"),
        ({"split": "random"}, "split: wanted auto or none; got 'random'"),
    ],
)
def test_other_rules_are_refused_in_one_line(rules: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Naming(**rules)
    assert "\n" not in str(caught.value)
