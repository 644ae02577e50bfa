"""Derives the label and the side of the split of an image from its path, and its group by a rule.

These are pure functions of the path, for one path or for an Arrow column of paths. `Naming` has the
rules that the user chose; a path is a URI, or a plain path with `/`.

    >>> rules = Naming()
    >>> path = "file:/data/Training/Apple Golden 2/r_12_100.jpg"
    >>> rules.label_of(path), rules.split_of(path)
    ('Apple Golden 2', 'train')
    >>> Naming(label=r"/(?P<label>[^/ ]+)[^/]*/[^/]+$").label_of(path)
    'Apple'
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import ConfigError

TRAIN = "train"
TEST_SPLITS = ("test", "validation")
"""The sides of the split that are not used for fits."""

SIDES = (TRAIN, *reversed(TEST_SPLITS))
"""All sides of the split: train, validation, test."""

SPLITS = {
    "train": TRAIN,
    "training": TRAIN,
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
"""Names of folders, in lower case, and the side of the split that they mean."""

COLUMN = "column:"
"""The prefix of a rule that names a column of a table: `column:species`."""

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""The value in the name of a folder of a partitioned table for rows without a value."""

_LEVELS = {"parent": -1, "grandparent": -2}

NUMBERED = re.compile(r"(?:^|[-_.])\d{3,}$|[-_.]of[-_.]\d+$")
"""The end of usual names of shards, without suffix: train-000012, part-0-of-8."""

_HOST = re.compile(r"^(?:file:|[A-Za-z][A-Za-z0-9+.-]*://[^/]*)")
"""The scheme and the host of a URI, such as a bucket."""

_SIDE_AND_NUMBER = re.compile(r"([A-Za-z]+)[-_.]\d")


@dataclass(frozen=True)
class Naming:
    """The rules for labels, splits and groups.

    Attributes:
        label: "parent" or "grandparent" for the name of that folder, or a regular expression with a
            group named `label`, searched for in the path. For a table of images, `column:species`
            for the value of that column; an empty value is no label. With "parent", a
            folder `label=Fig`, as written by Spark's `partitionBy("label")`, gives the label `Fig`
            also to images in its subfolders. With the split "auto", a folder that names a side of
            the split is no label.
        split: "auto" to use the folders of the path, "none" for no split. For a table of images,
            `column:fold` for the value of that column.
        group: A regular expression with a group named `group`, searched for in the path, or None
            for the default, see `fruits.classify.groups`.
        optional_columns: Whether the images may lack the named columns; the default rules are used
            for those that do.

    Raises:
        ConfigError: a rule is invalid.
    """

    label: str = "parent"
    split: str = "auto"
    group: str | None = None
    optional_columns: bool = False

    def __post_init__(self) -> None:
        if self.is_searched:
            _pattern(self.label, "label", "parent, grandparent, column:NAME, or ")
        if self.split not in ("auto", "none") and not self.split.startswith(COLUMN):
            raise ConfigError(f"split: wanted auto, none or column:NAME; got {self.split!r}")
        if self.group is not None:
            _pattern(self.group, "group", "")

    @property
    def is_of_table(self) -> bool:
        """Whether a rule names a column that is required, so that the source must be a table."""
        return not self.optional_columns and self._names_columns

    @property
    def _names_columns(self) -> bool:
        return self.label.startswith(COLUMN) or self.split.startswith(COLUMN)

    @property
    def is_searched(self) -> bool:
        """Whether labels are the matches of an expression."""
        return self.label not in _LEVELS and not self.label.startswith(COLUMN)

    def label_of(self, path: str) -> str | None:
        """The label of an image, or None if its path has none.

        It is in Unicode's normal form C, so that a name written on different systems is one label.
        """
        if self.label == "parent" and (found := partition_of(path, "label")) is not None:
            name = found or None
        elif not self.is_searched:
            name = _folder(path, _LEVELS.get(self.label, _LEVELS["parent"]))
            if name and self.split == "auto" and side_of_folder(name):
                name = None  # In Training/1.jpg.
        else:
            name = _search(self.label, "label", path) or None
        return None if name is None else unicodedata.normalize("NFC", name)

    def split_of(self, path: str) -> str | None:
        """The side of the split: "train", "test", "validation", or None."""
        return None if self.split == "none" else split_of(path)

    def group_of(self, path: str) -> str | None:
        """The group that the expression finds in the path; None if there is none.

        An empty text is a group, too: `/(?P<group>r?)[0-9]` finds "r" in `/r1.jpg`, "" in `/1.jpg`.

        The images of a group show one object or one recording: an evaluation keeps them together.
        """
        return None if self.group is None else _search(self.group, "group", path)

    def labels(self, paths: pa.Array | pa.ChunkedArray) -> pa.Array:
        """`label_of` for a column of strings: a column of strings, null if there is none."""
        return (_by_path if self.is_searched else _by_folder)(paths, self.label_of)

    def splits(self, paths: pa.Array | pa.ChunkedArray) -> pa.Array:
        """`split_of` for a column of strings: a column of strings, null if there is none."""
        return _by_folder(paths, self.split_of)


def split_of(path: str) -> str | None:
    """The side of the split that the nearest folder of the path names, in upper or lower case.

    >>> split_of("s3a://fruit/TESTING/Apple/1.jpg"), split_of("/data/Apple/test.jpg")
    ('test', None)
    >>> split_of("/data/split=val/label=Apple/1.jpg")
    'validation'
    """
    for folder in reversed(_folders(path)):
        if side := side_of_folder(folder):
            return side
    return None


def split_of_archive(name: str) -> str | None:
    """The side of the split that the name of an archive without suffix begins with.

    >>> split_of_archive("train-00000-of-00008"), split_of_archive("training")
    ('train', None)
    """
    found = _SIDE_AND_NUMBER.match(name)
    return side_of_folder(found[1]) if found else None


def partition_of(path: str, column: str) -> str | None:
    """The value of a column in the names of folders, as written by Spark's `partitionBy`.

    >>> partition_of("/data/label=Apple%2FRed/part-0.parquet", "label")
    'Apple/Red'

    Returns:
        "" if the value is missing, None if no folder has this column.
    """
    for folder in reversed(_folders(path)):
        name, equals, value = folder.partition("=")
        if equals and name.lower() == column:
            return "" if value == _NO_VALUE else unquote(value)
    return None


def side_of_folder(folder: str) -> str | None:
    """The side of the split that the name of a folder means, or None."""
    return SPLITS.get(folder.lower().removeprefix("split="))


def training_side(sides: Mapping[str | None, int]) -> str | None:
    """The side of the split that is used for fits: "train", or None for all images.

    All images are used if none of them, or all of them, are on the training side.

    Args:
        sides: The number of images on each side.
    """
    return TRAIN if 0 < sides.get(TRAIN, 0) < sum(sides.values()) else None


def _folders(path: str) -> list[str]:
    """The names of the folders of a path, without the host of a URI."""
    return _HOST.sub("", path).split("/")[:-1]


def _folder(path: str, level: int) -> str | None:
    folders = _folders(path)
    name = folders[level] if len(folders) >= -level else ""
    return None if name in (".", "..") else name or None


def _search(expression: str, name: str, path: str) -> str | None:
    found = re.search(expression, path)
    return found[name] if found else None


def _pattern(expression: str, name: str, others: str) -> None:
    wanted = f"{name}: wanted {others}a regular expression with a group (?P<{name}>...)"
    try:
        groups = re.compile(expression).groupindex
    except re.error as error:
        raise ConfigError(f"{wanted}; got {expression!r}: {error}") from None
    if name not in groups:
        raise ConfigError(f"{wanted}; got {expression!r}")


def _by_path(paths: pa.Array | pa.ChunkedArray, rule: Callable[[str], str | None]) -> pa.Array:
    return pa.array([path and rule(path) for path in paths.to_pylist()], pa.string())


def _by_folder(paths: pa.Array | pa.ChunkedArray, rule: Callable[[str], str | None]) -> pa.Array:
    """Applies a rule that uses only the folders, once for each folder, because there are few."""
    folders = pc.replace_substring_regex(paths, "/[^/]*$", "/x")
    if isinstance(folders, pa.ChunkedArray):
        folders = folders.combine_chunks()
    encoded = folders.dictionary_encode()
    return _by_path(encoded.dictionary, rule).take(encoded.indices)
