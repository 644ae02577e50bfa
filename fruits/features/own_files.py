"""Names of the files that lie among the features: no other file there is ever deleted."""

import re

from fruits.storage.files import delete_files, paths_in
from fruits.storage.location import Location

# A file while it is written, before its name.
_PARTIAL = r"(_[0-9a-f]{32}\.)?"
_BY_RUN = r"[0-9a-f]{32}[-.\w]*"

STAGED_FILE = rf"{_PARTIAL}({_BY_RUN}|\d{{6,}}[-.\w]*\.moments(\.\w+)*)"
"""Of rows and moments that are not committed yet."""

FOLDS_FILE = rf"{_PARTIAL}({_BY_RUN}|folds\.json(\.tmp)?)"
"""Of the moments of folds."""


def delete_own(folder: Location, pattern: str, but: tuple[str, ...] = ()) -> None:
    """Deletes files of a folder by their names, and a local folder that is empty then.

    Args:
        folder: which may be missing.
        pattern: a regular expression for whole names.
        but: how names begin that stay.

    Raises:
        OSError: one of them cannot be deleted.
    """
    paths = paths_in(folder)
    names = [path.rstrip("/").rpartition("/")[2] for path in paths]
    own = [
        path
        for path, name in zip(paths, names, strict=True)
        if re.fullmatch(pattern, name) and not name.startswith(but)
    ]
    delete_files(folder, own)
    if folder.is_local and len(own) == len(paths) and folder.filesystem.isdir(folder.path):
        folder.filesystem.rmdir(folder.path)
