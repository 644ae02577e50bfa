"""Which files of an output folder the runs have made: no other file is ever replaced or deleted.

The record is ``_fruits.json``: written before the first result and around each publication, so that
it names every file of ours at any moment. Files of features are named by their manifests. After a
finished run it also has the state of each file, until the next run begins to change something.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from fruits.errors import OutputError
from fruits.features.own_files import FOLDS_FILE, STAGED_FILE
from fruits.storage.files import delete_files, replace
from fruits.storage.location import Location
from fruits.storage.lock import is_free_or_lock

RECORD = "_fruits.json"
LOCK = "_lock"
# For people; they open it first.
PAGE = "report.html"
# Every name that a run may use in its output folder.
RESULTS = (
    *("features", "pca", "predictions", "pca.csv", "rejected", "quality", "atlas.parquet"),
    *("model", "predictor", "plots", PAGE, "run.json"),
)
STAGING = "_staging"

# Made by versions that kept no record.
_UNRECORDED = re.compile(
    r"(pca|rejected)/\d{9}\.parquet|pca/part-[\w.-]+\.parquet|pca\.csv|run\.json"
    r"|plots/(scree|pc1_pc2)\.png|model/(_basis\.(moments|json)|(metadata|stages)/.*)"
)
# Files of features: rows, what is kept for each chunk and fold, and the record of the backbone.
_FEATURES = re.compile(
    r"features/([0-9a-f]{32}(-\d{9})?\.parquet|_backbone\.json|_chunks/\d{6,}\.[a-z.]+"
    rf"|_folds/{FOLDS_FILE}|_staged/{STAGED_FILE}"
    r"|_thumbnails/(_[0-9a-f]{32}\.)?[0-9a-f]{32}(-\d{9})?\.parquet(\.tmp)?)"
)
# A folder of staged results is named after its run.
_STAGED = re.compile(STAGING + r"/[0-9a-f]{12}/.*")


@dataclass(frozen=True)
class Made:
    """The files below an output folder, and which of them are ours.

    Attributes:
        root: the output folder.
        recorded: names of the files that were made, relative to the folder; None where there is no
            record.
        states: of the files, as the last finished run left them, by name; empty where a later run
            has begun to change something.
    """

    root: Location
    recorded: frozenset[str] | None
    states: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Location) -> Made:
        """What the record in an output folder says.

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
        """Names of all files at or below a result, whoever made them."""
        return sorted(self._found(name))

    def _found(self, name: str) -> dict[str, dict[str, Any]]:
        """What the file system says of all files at or below a result, by name."""
        path = (self.root / name).path
        filesystem = self.root.filesystem
        filesystem.invalidate_cache()
        if not filesystem.exists(path):
            return {}
        # A local link is a file of its own here: what it points to is not in this folder.
        start = len(self.root.path) + 1
        found = filesystem.find(path, detail=True).items()
        return {one[start:]: about for one, about in found if not one.endswith("/")}

    def found_states(self) -> dict[str, str]:
        """Of each file of ours that is there: its size, and when or by what it was written."""
        found = {one: about for name in RESULTS for one, about in self._found(name).items()}
        return {one: _state(about) for one, about in found.items() if self.owns(one)}

    @property
    def is_untouched(self) -> bool:
        """Whether all results are there as the last finished run left them, and nothing else."""
        return bool(self.states) and self.states == self.found_states()

    def owns(self, name: str) -> bool:
        """Whether a file was made by a run."""
        if _FEATURES.fullmatch(name) or _STAGED.fullmatch(name):
            return True
        if self.recorded is None:
            return bool(_UNRECORDED.fullmatch(name))
        return name in self.recorded

    def require_ours(self) -> None:
        """Refuses a folder that somebody else uses under the names of our results.

        Raises:
            OutputError: there is neither a record nor the features of an earlier version, and some
                of the names are taken.
        """
        if self.recorded is not None or self.files("features/_backbone.json"):
            return
        filesystem = self.root.filesystem
        taken = [n for n in (*RESULTS, STAGING) if filesystem.exists((self.root / n).path)]
        if not is_free_or_lock(self.root / LOCK):
            taken.append(LOCK)
        if taken:
            raise OutputError(
                f"output: wanted a new folder, or one of an earlier run; {self.root} was not made "
                f"by fruits and has {', '.join(taken)}, which a run would replace: give another "
                "output"
            )

    def require_free(self, names: list[str]) -> None:
        """Refuses to write files whose names somebody else's files have.

        Args:
            names: of the files that are about to be written.

        Raises:
            OutputError: one of them exists and was not made by a run.
        """
        there = {name for folder in RESULTS for name in self.files(folder)}
        if foreign := sorted(name for name in there & set(names) if not self.owns(name)):
            raise OutputError(
                f"output: {self.root} has {', '.join(foreign[:5])}, which no run has made and this "
                "one would replace: move it away, and run again"
            )

    def delete(self, name: str) -> None:
        """Deletes what runs have made at or below a result, and the folders that are empty then."""
        ours = [one for one in self.files(name) if self.owns(one)]
        delete_files(self.root, [(self.root / one).path for one in ours])
        if self.root.is_local:
            self._delete_empty((self.root / name).path)

    def _delete_empty(self, path: str) -> None:
        filesystem = self.root.filesystem
        if not filesystem.isdir(path) or filesystem.islink(path):
            return
        for below in filesystem.ls(path, detail=False):
            self._delete_empty(below)
        if not filesystem.ls(path, detail=False):
            filesystem.rmdir(path)

    def record(self, names: frozenset[str]) -> Made:
        """Writes the record, without states, and returns what holds from now on."""
        return Made(self.root, names)._written()

    def record_states(self) -> Made:
        """Adds the states of the files to the record: nothing changes from now on."""
        return Made(self.root, self.recorded, self.found_states())._written()

    def _written(self) -> Made:
        content: dict[str, Any] = {"made": sorted(self.recorded or ())}
        if self.states:
            content["states"] = self.states
        replace(str(self.root / RECORD), (json.dumps(content, indent=1) + "\n").encode())
        return self


def _state(about: dict[str, Any]) -> str:
    """A text that another content of a file most likely does not have."""
    # S3 has a digest, other stores a time.
    names = ("ETag", "etag", "mtime", "last_modified", "LastModified")
    written = next((str(about[name]) for name in names if about.get(name)), "")
    return f"{about.get('size')} {written}".strip()
