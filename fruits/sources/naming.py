"""What the path of an image says: its label, its side of the split, and its group.

Pure functions of the path, for one path or for an Arrow column of them. `Naming` holds the rules
that a user chose; a path is whatever the table of images has: a URI, or a plain path with `/`.

    >>> rules = Naming()
    >>> path = "file:/data/Training/Apple Golden 2/r_12_100.jpg"
    >>> rules.label_of(path), rules.split_of(path), film_of(path)
    ('Apple Golden 2', 'train', 'file:/data/Training/Apple Golden 2/r')
    >>> Naming(label=r"/(?P<label>[^/ ]+)[^/]*/[^/]+$").label_of(path)
    'Apple'
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fruits.errors import ConfigError

SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
"""Names of folders, in lower case, and the side of the split that they stand for."""

COLUMN = "column:"
"""Before the name of a column, for sources that are tables: `column:species`."""

_LEVELS = {"parent": -2, "grandparent": -3}

_FILM = re.compile(r"(?P<film>[^\W\d_]+\d+)[ _.-]\d+[ _.-]\d|(?P<letters>[^\W\d_]*)")
"""The film in a file's name: `r2` of `r2_12_100.jpg`, `r` of `r_12_100.jpg`, `IMG` of `IMG1.jpg`.

Digits belong to the film only where two more numbers follow: in `apple12_100.jpg`, 12 counts the
pictures.
"""


@dataclass(frozen=True)
class Naming:
    """The rules by which a path is read.

    Attributes:
        label: "parent" or "grandparent" for the name of that folder, or a regular expression with a
            group named `label`, searched for in the path. Of a table of images, `column:species`
            for what that column says; where it is empty, the name of the folder.
        split: "auto" to go by the folders of the path, "none" to leave the images undivided. Of a
            table of images, `column:fold` for what that column says.
        group: a regular expression with a group named `group`, searched for in the path, or None
            for the default: see `fruits.classify.groups`.

    Raises:
        ConfigError: a rule is none of these.
    """

    label: str = "parent"
    split: str = "auto"
    group: str | None = None

    def __post_init__(self) -> None:
        if not self._is_by_folder:
            _pattern(self.label, "label", "parent, grandparent, column:NAME, or ")
        if self.split not in ("auto", "none") and not self.split.startswith(COLUMN):
            raise ConfigError(f"split: wanted auto or none; got {self.split!r}")
        if self.group is not None:
            _pattern(self.group, "group", "")

    @property
    def is_of_table(self) -> bool:
        """Whether a rule names a column, which only a table has."""
        return self.label.startswith(COLUMN) or self.split.startswith(COLUMN)

    @property
    def _is_by_folder(self) -> bool:
        return self.label in _LEVELS or self.label.startswith(COLUMN)

    def label_of(self, path: str) -> str | None:
        """The label of an image, or None where its path has none.

        In Unicode's normal form C, so that one name typed on two systems is one label.
        """
        if self._is_by_folder:
            name = _folder(path, _LEVELS.get(self.label, _LEVELS["parent"]))
        else:
            name = _search(self.label, "label", path)
        return None if name is None else unicodedata.normalize("NFC", name)

    def split_of(self, path: str) -> str | None:
        """The side of the split: "train", "test", "validation", or None."""
        return None if self.split == "none" else split_of(path)

    def group_of(self, path: str) -> str | None:
        """What the group expression finds in the path; None without one, or where it finds nothing.

        Images of one group are of one object or one recording: an evaluation keeps them together.
        """
        return None if self.group is None else _search(self.group, "group", path)

    def labels(self, paths: pa.Array | pa.ChunkedArray) -> pa.Array:
        """`label_of` for a column of strings: a column of strings, null where there is none."""
        return (_by_folder if self._is_by_folder else _by_path)(paths, self.label_of)

    def splits(self, paths: pa.Array | pa.ChunkedArray) -> pa.Array:
        """`split_of` for a column of strings: a column of strings, null where there is none."""
        return _by_folder(paths, self.split_of)

    def groups(self, paths: pa.Array | pa.ChunkedArray) -> pa.Array:
        """`group_of` for a column of strings: a column of strings, null where there is none."""
        return _by_path(paths, self.group_of)


def split_of(path: str) -> str | None:
    """The side of the split that a folder on the path names, in any case; the nearest one counts.

    >>> split_of("s3a://fruit/TESTING/Apple/1.jpg"), split_of("/data/Apple/test.jpg")
    ('test', None)
    """
    for folder in reversed(path.split("/")[:-1]):
        if side := SPLITS.get(folder.lower()):
            return side
    return None


def folder_of(path: str) -> str:
    """The folder of an image, as a path."""
    return path.rpartition("/")[0]


def film_of(path: str) -> str:
    """The folder and the leading letters of the file's name: frames of one film have both alike.

    >>> [film_of(f"Fig/{name}").removeprefix("Fig/") for name in ("r2_1_100.jpg", "1_100.jpg")]
    ['r2', '']
    """
    folder, slash, name = path.rpartition("/")
    found = _FILM.match(name)
    return folder + slash + (found["film"] or found["letters"] if found else "")


def _folder(path: str, level: int) -> str | None:
    parts = path.split("/")
    name = parts[level] if len(parts) >= -level else ""
    # The first parts of a URI are its scheme and its host, and no folders.
    return None if name.endswith(":") else name or None


def _search(expression: str, name: str, path: str) -> str | None:
    found = re.search(expression, path)
    return (found[name] or None) if found else None


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
    """Apply a rule that looks at the folders only: once for each folder, as they are few."""
    folders = pc.replace_substring_regex(paths, "/[^/]*$", "/x")
    if isinstance(folders, pa.ChunkedArray):
        folders = folders.combine_chunks()
    encoded = folders.dictionary_encode()
    return _by_path(encoded.dictionary, rule).take(encoded.indices)
