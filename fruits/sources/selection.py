"""Decides by their names which files are images, with one rule for every source.

A file is an image if its name ends in one of :data:`SUFFIXES`, in upper or lower case. Hidden files
and folders (a leading `.`), folders that some systems add to photographs (:data:`SYSTEM_FOLDERS`)
and the plots of a run (:data:`PLOTS`) are skipped. A leading `_` is part of an ordinary name,
because cameras write it: `_DSC0003.JPG`. The rule uses only the part of a path below the given
folder.
"""

import posixpath
from collections import Counter
from collections.abc import Mapping

from fruits.sources.formats import SUFFIXES

# Thumbnails of Synology systems, and resource forks in zip archives of macOS.
SYSTEM_FOLDERS = ("@eaDir", "__MACOSX")


# The pictures in the folder `plots` of an output. If the output is among photographs, they would be
# images with the label "plots".
PLOTS = frozenset(("scree.png", "pc1_pc2.png", "confusion.png", "calibration.png", "compare.png"))

HIDDEN = "hidden"
"""The reason for a file or a folder whose name starts with a dot."""

# The most reasons in a message; files such as scan.0001 have many different suffixes.
MOST_DESCRIBED = 10


class Selection:
    """Decides which files are images, and counts the others.

    Attributes:
        passed_over: The number of skipped files by reason: the suffix in lower case (`.txt`),
            `no suffix`, `hidden` (a hidden folder counts once, whatever it contains), the names of
            :data:`SYSTEM_FOLDERS`, `plots of a run`, `special files` (pipes, sockets, devices),
            `broken links` and `repeated folders` (links to a folder that is already listed).
    """

    def __init__(self) -> None:
        self.passed_over: Counter[str] = Counter()
        self._closed: set[str] = set()
        self._open = ""  # The folder of the last file: the next file is mostly in it, too.

    def is_image(self, name: str) -> bool:
        """Whether a file is an image; otherwise it is counted.

        Args:
            name: the path of the file relative to the given folder.
        """
        folder, _, base = name.rpartition("/")
        if folder and folder != self._open:
            if not self.enters(folder):
                return False
            self._open = folder
        if base in PLOTS and f"/{folder}".endswith("/plots"):
            self.passed_over["plots of a run"] += 1
            return False
        if reason := _reason(base):
            self.passed_over[reason] += 1
            return False
        if base.lower().endswith(SUFFIXES):
            return True
        self.passed_over[posixpath.splitext(base)[1].lower() or "no suffix"] += 1
        return False

    def enters(self, folder: str) -> bool:
        """Whether a folder may contain images; otherwise it is counted once.

        Args:
            folder: the path of the folder relative to the given folder.
        """
        parts = folder.split("/")
        for depth, part in enumerate(parts, start=1):
            if reason := _reason(part):
                closed = "/".join(parts[:depth])
                if closed not in self._closed:
                    self._closed.add(closed)
                    self.passed_over[reason] += 1
                return False
        return True

    def described(self, before: str = "") -> str:
        """The skipped files for a message, such as "3 .txt, 2 .xml"; "" if there are none.

        Args:
            before: a prefix, which is left out if there are none.
        """
        return before + described(self.passed_over) if self.passed_over else ""


def described(passed_over: Mapping[str, int]) -> str:
    """The counts of :attr:`Selection.passed_over` in words: "3 .txt, 2 .xml", largest first."""
    ordered = sorted(passed_over.items(), key=lambda one: (-one[1], one[0]))
    words = [f"{count:,} {explained(reason)}" for reason, count in ordered[:MOST_DESCRIBED]]
    if others := sum(count for _, count in ordered[MOST_DESCRIBED:]):
        words.append(f"{others:,} others")
    return ", ".join(words)


def explained(reason: str) -> str:
    """A key of :attr:`Selection.passed_over` in words: without them, "hidden" may be anything."""
    return "hidden (name starts with a dot)" if reason == HIDDEN else reason


def other_files(passed_over: Mapping[str, int], before: str) -> str:
    """The end of a message that too few images were found: the skipped files, and what to do.

    Args:
        passed_over: the counts of :attr:`Selection.passed_over`.
        before: the words before the counts, such as ", which has".
    """
    if not passed_over:
        return ""
    hint = ": extract the archives in it" if ".zip" in passed_over else ""
    return f"{before} {described(passed_over)}{hint}"


def _reason(name: str) -> str | None:
    """The reason to skip a file or a folder whatever its suffix, or None."""
    if name in SYSTEM_FOLDERS:
        return name
    return HIDDEN if name.startswith(".") else None
