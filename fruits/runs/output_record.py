"""The record of the files that runs wrote to an output folder; no other file is ever deleted.

The record is the file ``_fruits.json``. It is written before the first result and before and after
each publication, so it lists all our files at any moment. Manifests list the files of features.
After a finished run, the record also has the state of each file, until the next run changes one.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

from fruits.errors import OutputError
from fruits.features.own_files import FOLDS_FILE, ROWS_FILE, STAGED_FILE
from fruits.runs import run_json
from fruits.storage.files import delete_files, replace
from fruits.storage.location import Location
from fruits.storage.lock import Lock, is_free_or_lock

RECORD = "_fruits.json"
LOCK = "_lock"
# The page that users open first.
PAGE = "report.html"
# The files of the options csv and atlas.
CSV, ATLAS = "pca.csv", "atlas.parquet"
# The results that each run replaces.
PUBLISHED = (
    *("pca", "predictions", CSV, "rejected", "quality", ATLAS),
    *("model", "predictor", "plots", PAGE),
)
# Every name that a run may use in its output folder.
RESULTS = ("features", *PUBLISHED, run_json.NAME)
STAGING = "_staging"

# Files of versions that kept no record.
_UNRECORDED = re.compile(
    r"(pca|rejected)/\d{9}\.parquet|pca/part-[\w.-]+\.parquet|pca\.csv|run\.json"
    r"|plots/(scree|pc1_pc2)\.png|model/(_basis\.(moments|json)|(metadata|stages)/.*)"
)
# Files of features: rows, moments of chunks and folds, and the identity of the backbone.
_FEATURES = re.compile(
    rf"features/({ROWS_FILE}|_backbone\.json|_chunks/\d{{6,}}\.[a-z.]+"
    rf"|_folds/{FOLDS_FILE}|_staged/{STAGED_FILE}"
    rf"|_(thumbnails|rejected)/(_[0-9a-f]{{32}}\.)?{ROWS_FILE}(\.tmp)?)"
)
# Each run has a staging folder of its own.
_STAGED = re.compile(STAGING + r"/[0-9a-f]{12}/.*")


@dataclass(frozen=True)
class OutputRecord:
    """The files below an output folder, and which of them runs wrote.

    Attributes:
        root: The output folder.
        names: The names of the files that runs wrote, relative to the folder. None if the folder
            has no record.
        states: The state of each file after the last finished run, by name. Empty if a later run
            has started to change files.
    """

    root: Location
    names: frozenset[str] | None
    states: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Location) -> OutputRecord:
        """Reads the record of an output folder.

        Raises:
            OutputError: the record is damaged.
        """
        place = root / RECORD
        if not root.filesystem.exists(place.path):
            return cls(root, None)
        try:
            content = json.loads(root.filesystem.cat_file(place.path))
            names, states = content["made"], dict(content.get("states", {}))
            return cls(root, frozenset(map(str, names)), states)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(
                f"output: {place} is damaged ({type(error).__name__}); it says which files are "
                "results: restore it, or give another output"
            ) from error

    def files(self, name: str) -> list[str]:
        """The names of all files at or below a result, those of other programs included."""
        return sorted(self._found(name))

    def _found(self, name: str) -> dict[str, dict[str, Any]]:
        """The file system's details of all files at or below a result, by name."""
        path = (self.root / name).path
        filesystem = self.root.filesystem
        filesystem.invalidate_cache()
        if not filesystem.exists(path):
            return {}
        # A local link counts as a file: its target is not in this folder.
        start = len(self.root.path) + 1
        found = filesystem.find(path, detail=True).items()
        return {one[start:]: about for one, about in found if not one.endswith("/")}

    def found_states(self, *names: str) -> dict[str, str]:
        """The current states of our files by name: the size, and a digest or the time.

        Args:
            names: The names of results; all results if none is given.
        """
        found = {
            one: about for name in names or RESULTS for one, about in self._found(name).items()
        }
        return {one: _state(about) for one, about in found.items() if self.owns(one)}

    @property
    def is_untouched(self) -> bool:
        """Whether the results are exactly those that the last finished run wrote."""
        return bool(self.states) and self.states == self.found_states()

    def owns(self, name: str) -> bool:
        """Whether a run wrote a file."""
        if _FEATURES.fullmatch(name) or _STAGED.fullmatch(name):
            return True
        if self.names is None:
            return bool(_UNRECORDED.fullmatch(name))
        return name in self.names

    def require_ours(self) -> None:
        """Refuses a folder in which other files have the names of our results.

        Raises:
            OutputError: There is neither a record nor the features of an earlier version, and
                files with names of results exist.
        """
        if self.names is not None or self.files("features/_backbone.json"):
            return
        filesystem = self.root.filesystem
        taken = [n for n in (*RESULTS, STAGING) if filesystem.exists((self.root / n).path)]
        if not is_free_or_lock(self.root / LOCK):
            taken.append(LOCK)
        if taken:
            raise OutputError(
                f"output: wanted a new folder, or one of an earlier run; {self.root} is not of a "
                f"run and has {', '.join(taken)}, which a run would replace: give another output"
            )

    def require_free(self, names: list[str]) -> None:
        """Refuses to replace files that no run wrote.

        Args:
            names: The names of the files to write.

        Raises:
            OutputError: One of them exists, and no run wrote it.
        """
        there = {name for folder in RESULTS for name in self.files(folder)}
        if foreign := sorted(name for name in there & set(names) if not self.owns(name)):
            raise OutputError(
                f"output: {self.root} has {', '.join(foreign[:5])}, which no run has made and this "
                "one would replace: move it away, and run again"
            )

    def delete(self, name: str) -> None:
        """Deletes our files at or below a result, and the folders that are then empty."""
        ours = [one for one in self.files(name) if self.owns(one)]
        delete_files(self.root, [(self.root / one).path for one in ours])
        if self.root.is_local:
            self._delete_empty((self.root / name).path)

    def replace(self, lock: Lock, staged: OutputRecord, name: str, files: list[str]) -> None:
        """Replaces our files at or below a result by staged files.

        The run may be suspended at any point. A run that takes over its lock first deletes all
        staged files, so then no rename and no copy can succeed.

        Args:
            lock: The lock of the output.
            staged: The folder of the staged results.
            name: The name of the result.
            files: The names of its staged files. If there are none, the result is only deleted.

        Raises:
            OutputError: Another run took the lock.
        """
        there = self.files(name)
        owned = [*filter(self.owns, there)]
        lock.require()
        try:
            if self.root.is_local and len(owned) == len(there):
                old, new = (self.root / name).path, (staged.root / name).path
                # Two renames: the result is missing only between them.
                if os.path.exists(old):
                    os.rename(old, f"{new}.old")
                if files:
                    os.rename(new, old)
                return
            self._replace_each(staged, files)
        except FileNotFoundError:
            lock.require()
            raise
        # Old files are deleted last, so an interruption never leaves a model without its moments.
        outdated = [(self.root / one).path for one in owned if one not in files]
        lock.require()
        delete_files(self.root, outdated)

    def _replace_each(self, staged: OutputRecord, files: list[str]) -> None:
        """Replaces files one by one.

        A store has no folders, and a local folder may have files of the user, which stay.
        """
        paths = [(staged.root / one).path for one in files]
        targets = [(self.root / one).path for one in files]
        if not self.root.is_local:
            if files:
                self.root.filesystem.copy(paths, targets)
            return
        for path, target in zip(paths, targets, strict=True):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.replace(path, target)

    def _delete_empty(self, path: str) -> None:
        filesystem = self.root.filesystem
        if not filesystem.isdir(path) or filesystem.islink(path):
            return
        for below in filesystem.ls(path, detail=False):
            self._delete_empty(below)
        if not filesystem.ls(path, detail=False):
            filesystem.rmdir(path)

    def save(self, names: frozenset[str]) -> OutputRecord:
        """Writes a record of these files, without states, and returns it."""
        return OutputRecord(self.root, names)._save()

    def save_states(self) -> OutputRecord:
        """Adds the current states of the files to the record, when all files are complete."""
        return OutputRecord(self.root, self.names, self.found_states())._save()

    def _save(self) -> OutputRecord:
        content: dict[str, Any] = {"made": sorted(self.names or ())}
        if self.states:
            content["states"] = self.states
        replace(self.root / RECORD, (json.dumps(content, indent=1) + "\n").encode())
        return self


def _state(about: dict[str, Any]) -> str:
    """A text that most likely changes when the content of a file changes."""
    # S3 gives a digest, other stores give a time.
    names = ("ETag", "etag", "mtime", "last_modified", "LastModified")
    written = next((str(about[name]) for name in names if about.get(name)), "")
    return f"{about.get('size')} {written}".strip()
