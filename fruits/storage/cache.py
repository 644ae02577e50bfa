"""The folder for files that can be made or downloaded again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$FRUITS_CACHE``, by default ``~/.cache/fruits``; the folder may not exist yet."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fruits"
    return Path(os.environ.get("FRUITS_CACHE") or default)
