"""Patterns for names of temporary files in the folder of features; only these are deleted."""

import re

from fruits.storage.files import delete_files, paths_in
from fruits.storage.location import Location

# A prefix of the name while the file is being written.
_PARTIAL = r"(_[0-9a-f]{32}\.)?"
_BY_RUN = r"[0-9a-f]{32}[-.\w]*"

ROWS_FILE = r"[0-9a-f]{32}(-\d{9})?\.parquet"
"""Committed files of rows, thumbnails and rejects; tasks choose their names."""

STAGED_FILE = rf"{_PARTIAL}({_BY_RUN}|\d{{6,}}[-.\w]*\.moments(\.\w+)*)"
"""Files of rows and moments that are not committed yet."""

FOLDS_FILE = rf"{_PARTIAL}({_BY_RUN}|folds\.json(\.tmp)?)"
"""Files with the moments of folds."""


def delete_own(folder: Location, pattern: str, keep: tuple[str, ...] = ()) -> None:
    """Deletes files of a folder by name, and then the folder if it is local and empty.

    Args:
        folder: the folder, which may be missing.
        pattern: a regular expression that must match the whole name.
        keep: prefixes of names to keep.

    Raises:
        OSError: a file cannot be deleted.
    """
    paths = paths_in(folder)
    names = [path.rstrip("/").rpartition("/")[2] for path in paths]
    own = [
        path
        for path, name in zip(paths, names, strict=True)
        if re.fullmatch(pattern, name) and not name.startswith(keep)
    ]
    delete_files(folder, own)
    if folder.is_local and len(own) == len(paths) and folder.filesystem.isdir(folder.path):
        folder.filesystem.rmdir(folder.path)
