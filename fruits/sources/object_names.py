"""What the path of an image says about the object: the folder, and the film of a frame.

>>> path = object_path("file:/data/Training/Apple Golden 2/r_12_100.jpg")
>>> folder_of(path), film_of(path)
('file:/data/Apple Golden 2', 'file:/data/Apple Golden 2/r')
"""

from __future__ import annotations

import re
from functools import lru_cache

from fruits.sources.naming import NUMBERED, side_of_folder, split_of_archive

_FILM = re.compile(r"(?P<film>[^\W\d_]+\d+)[ _.-]\d+[ _.-]\d|(?P<letters>[^\W\d_]*)")
"""The film in a file's name: `r2` of `r2_12_100.jpg`, `r` of `r_12_100.jpg`, `IMG` of `IMG1.jpg`.

Digits belong to the film only if two more numbers follow: in `apple12_100.jpg`, 12 is the number of
the picture.
"""

_HASH = re.compile(r"[^\W\d_]*\d+[^\W\d_]")
"""The beginning of names such as hashes: a letter directly after a digit, in the first word."""

_NUMBER = re.compile(r"[-_.]?\d+(?:[-_.]of[-_.]\d+)?$")


def object_path(path: str) -> str:
    """The path without names that say nothing about the object: sides of the split, and shards.

    Of a numbered archive, only the number is left out: the archives of a series are one folder. A
    row of a Parquet file that has only a number keeps the file in its name.

    >>> object_path("/data/Training/Fig/r_1.jpg")
    '/data/Fig/r_1.jpg'
    >>> object_path("/data/photos-00012.tar!/Fig/r_1.jpg"), object_path("/data/a.zip!/Fig/r_1.jpg")
    ('/data/photos/Fig/r_1.jpg', '/data/a/Fig/r_1.jpg')
    >>> object_path("/data/0003.parquet!/r_1.jpg"), object_path("/data/0003.parquet!/7")
    ('/data/r_1.jpg', '/data/#0003.parquet#7')
    """
    folder, slash, name = path.rpartition("/")
    if name.isdecimal() and folder.lower().endswith(".parquet!"):
        folder, slash, file = folder.rpartition("/")
        name = f"#{file[:-1]}#{name}"
    return _object_folder(folder) + slash + name


@lru_cache(1024)
def _object_folder(folder: str) -> str:
    kept = []
    for name in folder.split("/"):
        if name.endswith("!"):
            stem = re.sub(r"\.[A-Za-z]+$", "", name[:-1])
            if name.lower().endswith(".parquet!") or split_of_archive(stem):
                continue
            name = _NUMBER.sub("", stem) if NUMBERED.search(stem) else stem
        if not side_of_folder(name):
            kept.append(name)
    return "/".join(kept)


def folder_of(path: str) -> str:
    """The folder of an image, as a path."""
    return path.rpartition("/")[0]


def film_of(path: str) -> str:
    """The film of a frame: its folder and the leading letters of the file's name.

    >>> [film_of(f"Fig/{name}").removeprefix("Fig/") for name in ("r2_1_100.jpg", "1_100.jpg")]
    ['r2', '']

    A name like a hash has no film: its letters say nothing.

    >>> film_of("Fig/a3f9c2.jpg")
    'Fig/'
    """
    folder, slash, name = path.rpartition("/")
    found = None if is_like_a_hash(path) else _FILM.match(name)
    return folder + slash + (found["film"] or found["letters"] if found else "")


def is_like_a_hash(path: str) -> bool:
    """Whether the first word of the file's name has a letter directly after a digit.

    >>> [is_like_a_hash(f"Fig/{name}.jpg") for name in ("77be", "d9b2d63d-a233", "r2_12", "IMG1")]
    [True, True, False, False]
    """
    return _HASH.match(path.rpartition("/")[2]) is not None
