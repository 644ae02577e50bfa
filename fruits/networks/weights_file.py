"""Reads weights from untrusted files without executing anything in them.

HDF5 can refer to other files, and a few bytes of a file can expand to gigabytes of values. So the
structure is checked first, and arrays are read one at a time and only if they have the wanted
shape. h5py is imported only when a file is read, because it is not needed if a compiled graph is in
the cache.
"""

import mmap
import shutil
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A member of a .keras archive may be this many times as large as the archive, plus the spare bytes,
# because weights hardly compress.
EXPANSION = 4


SPARE_BYTES = 16 << 20


# The most bytes of all names in one attribute, and of one name.
NAMES_BYTES, NAME_LENGTH = 1 << 30, 4096


def extract_weights(archive: Path) -> Path:
    """Writes the weights of a ``.keras`` archive next to it.

    Raises:
        ValueError: the weights are much larger than the archive.
        KeyError: the archive has no weights.
    """
    target = archive.with_name("extracted.weights.h5")
    with zipfile.ZipFile(archive) as members:
        member = members.getinfo("model.weights.h5")
        if member.file_size > EXPANSION * archive.stat().st_size + SPARE_BYTES:
            raise ValueError(
                f"the archive would expand from {archive.stat().st_size} to {member.file_size} "
                "bytes, which no trained weights do"
            )
        # zipfile writes no more than the declared size.
        with members.open(member) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    return target


def require_self_contained(file: Any) -> None:
    """Checks that a file contains all its values.

    Raises:
        ValueError: a link or an array refers to another file, or an array has no values.
    """
    import h5py

    # HDF5 would swallow an exception in a callback; a return value ends the visit.
    def linked(name: bytes, link: Any) -> str | None:
        return None if link.type == h5py.h5l.TYPE_HARD else _text(name)

    def elsewhere(name: str, item: Any) -> str | None:
        if not isinstance(item, h5py.Dataset):
            return None
        if item.is_virtual or item.external:
            return f"{name} has its values in another file"
        if item.size and not item.id.get_storage_size():
            return f"{name} has a shape but no values"
        return None

    if link := file.id.links.visit(linked, info=True):
        raise ValueError(f"{link} is a link")
    if fault := file.visititems(elsewhere):
        raise ValueError(fault)


def values(array: Any) -> NDArray[Any]:
    """The values of an array, whose shape the caller has checked.

    Raises:
        ValueError: they are not numbers, or its chunks are larger than the array.
    """
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{array.name} has no numbers")
    piece = array.dtype.itemsize * int(np.prod(array.chunks or (0,), dtype=object))
    if piece > 2 * array.nbytes + SPARE_BYTES:
        raise ValueError(f"{array.name} has pieces of {piece} bytes")
    return np.asarray(array)


def names_in(group: Any, attribute: str) -> list[str]:
    """The names that Keras 2 stores in an attribute, or in several if there are many.

    Raises:
        ValueError: they are not names, or would need too much memory.
    """
    if attribute in group.attrs:
        keys = [attribute]
    else:
        keys = [f"{attribute}{number}" for number in range(len(group.attrs))]
        keys = [key for key in keys if key in group.attrs]
    found: list[str] = []
    for key in keys:
        about = group.attrs.get_id(key)
        count = int(np.prod(about.shape or (), dtype=object))
        if about.shape is None or count == 0:
            continue
        if about.dtype.kind not in "SO" or len(about.shape) != 1:
            raise ValueError(f"{key} of {group.name} is not a list of names")
        # These names are stored elsewhere in the file: all could be the same long string.
        if about.dtype.kind == "O" and count * _longest_text(group.file.filename) > NAMES_BYTES:
            raise ValueError(f"{key} of {group.name} has {count} names that are too long")
        names = [name for name in group.attrs[key] if isinstance(name, (bytes, str))]
        if len(names) != count or max(map(len, names)) > NAME_LENGTH:
            raise ValueError(f"{key} of {group.name} is not a list of names")
        found += [name if isinstance(name, str) else _text(name) for name in names]
    return found


@lru_cache(maxsize=1)
def _longest_text(path: str) -> int:
    """The size of the largest heap in an HDF5 file, which is an upper bound for its strings."""
    largest, place = 0, -1
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        # A heap begins with a signature, a version, and its size.
        while (place := content.find(b"GCOL\x01\0\0\0", place + 1)) >= 0:
            largest = max(largest, int.from_bytes(content[place + 8 : place + 16], "little"))
    return largest


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
