from itertools import product

import pyarrow as pa
import pytest

from fruits.errors import ConfigError
from fruits.sources.naming import Naming, split_of

PATHS = [
    "file:/data/Training/Apple Golden 2/r_12_100.jpg",
    "file:/data/Test/Apple Golden 2/12_100.jpg",
    "s3a://fruit/VALID/Cherry/x/IMG_1.png",
    "file:/data/Fig/training.jpg",
    "loose.jpg",
    "file:/top.jpg",
]


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
        ("s3a://test/Apple/1.jpg", None),
        ("s3a://test/train/Apple/1.jpg", "train"),
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
        ("grandparent", [None, None, "Cherry", "data", None, None]),
        (r"/(?P<label>[^/ ]+)[^/]*/[^/]+$", ["Apple", "Apple", "x", "Fig", None, None]),
        (r"(?P<label>\d*)_\d+\.jpg", ["12", "12", None, None, None, None]),
    ],
)
def test_the_label_is_a_folder_or_the_match_of_an_expression(
    rule: str, labels: list[str | None]
) -> None:
    assert [Naming(label=rule).label_of(path) for path in PATHS] == labels


@pytest.mark.parametrize("path", ["/d/Training/1.jpg", "/d/Apple/TEST/1.jpg", "split=val/1.jpg"])
def test_a_folder_that_names_a_side_of_the_split_is_no_label(path: str) -> None:
    assert Naming().label_of(path) is None
    assert Naming(split="none").label_of(path) == path.split("/")[-2]


@pytest.mark.parametrize(
    ("path", "parent", "grandparent"),
    [
        ("s3a://fruit/1.jpg", None, None),
        ("s3a://fruit/Apple/1.jpg", "Apple", None),
        ("s3a://fruit/Apple/Golden/1.jpg", "Golden", "Apple"),
        ("file:///1.jpg", None, None),
        ("Apple/1.jpg", "Apple", None),
        ("A:B/1.jpg", "A:B", None),
        ("file:/Fig:/1.jpg", "Fig:", None),
        ("s3a://fruit/Fig:/Lime:/1.jpg", "Lime:", "Fig:"),
    ],
)
def test_a_bucket_is_no_label(path: str, parent: str | None, grandparent: str | None) -> None:
    assert Naming().label_of(path) == parent
    assert Naming(label="grandparent").label_of(path) == grandparent


@pytest.mark.parametrize(
    ("path", "label", "side"),
    [
        ("/data/label=Apple Golden/1.jpg", "Apple Golden", None),
        ("s3a://fruit/split=Test/Label=Fig/film/1.jpg", "Fig", "test"),
        ("/data/label=A%3AB%2FC/split=val/1.jpg", "A:B/C", "validation"),
        ("/data/label=__HIVE_DEFAULT_PARTITION__/1.jpg", None, None),
        ("/data/label=Apple/label=Fig/1.jpg", "Fig", None),
        ("/data/variety=Apple/1.jpg", "variety=Apple", None),
        ("/data/Apple/label=1.jpg", "Apple", None),
    ],
)
def test_folders_of_a_partitioned_table_give_label_and_split(
    path: str, label: str | None, side: str | None
) -> None:
    rules = Naming()
    assert (rules.label_of(path), rules.split_of(path)) == (label, side)
    assert rules.labels(pa.array([path])).to_pylist() == [label]
    assert Naming(label=r"/(?P<label>[^/]+)/[^/]+$").label_of(path) == path.split("/")[-2]


def test_a_group_is_the_match_of_an_expression() -> None:
    rules = Naming(group=r"(?P<group>Apple|Cherry)")

    assert [rules.group_of(path) for path in PATHS] == ["Apple", "Apple", "Cherry", *[None] * 3]
    assert Naming().group_of(PATHS[0]) is None


def test_an_empty_match_is_a_group_but_not_a_label() -> None:
    paths = ["/d/Fig/r_1_100.jpg", "/d/Fig/1_100.jpg", "/d/Fig/r_1.jpg"]
    rules = Naming(r"/(?P<label>r?)_?\d+_100", group=r"/(?P<group>r?)_?\d+_100")
    optional = Naming(group=r"/(?P<group>r)?_?\d+_100")

    assert [rules.group_of(path) for path in paths] == ["r", "", None]
    assert [rules.label_of(path) for path in paths] == ["r", None, None]
    assert [optional.group_of(path) for path in paths] == ["r", None, None]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("label", "split"),
    list(product(["parent", "grandparent", r"(?P<label>[a-z]+)\.jpg"], ["auto", "none"])),
)
def test_columns_of_paths_give_the_same_as_single_paths(
    label: str, split: str, chunked: bool
) -> None:
    rules = Naming(label=label, split=split)
    paths = pa.chunked_array([PATHS[:2], PATHS[2:]]) if chunked else pa.array(PATHS)

    for column, single in ((rules.labels, rules.label_of), (rules.splits, rules.split_of)):
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
        ({"split": "random"}, "split: wanted auto, none or column:NAME; got 'random'"),
    ],
)
def test_invalid_rules_are_refused_in_one_line(rules: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Naming(**rules)
    assert "\n" not in str(caught.value)
