"""Which files count as images: the one rule, by their names alone, for every source.

A file is an image when its name ends in one of :data:`SUFFIXES`, in upper or lower case. Hidden
files and folders (a leading `.`) and what some systems add to folders of photographs
(:data:`SYSTEM_FOLDERS`) are passed over; a leading `_` is part of an ordinary name, as cameras
write it: `_DSC0003.JPG`. Only the part of a path below the given folder is looked at.
"""

import posixpath
from collections import Counter
from collections.abc import Mapping

from fruits.sources.formats import SUFFIXES

# Thumbnails of Synology's stations, and the resource forks in zip archives of macOS.
SYSTEM_FOLDERS = ("@eaDir", "__MACOSX")


# Reasons that a message names; names such as scan.0001 have as many suffixes as there are files.
MOST_DESCRIBED = 10


class Selection:
    """Decides which files are images, and counts the others.

    Attributes:
        passed_over: how many files were passed over, by suffix in lower case (`.txt`), and under
            `no suffix`, `hidden` (a hidden folder counts once, whatever it contains), the names of
            :data:`SYSTEM_FOLDERS`, `special files` (pipes, sockets, devices), `broken links` and
            `repeated folders` (links to a folder that is listed already).
    """

    def __init__(self) -> None:
        self.passed_over: Counter[str] = Counter()
        self._closed: set[str] = set()
        self._open = ""  # The folder of the last file: the next one is mostly in it, too.

    def is_image(self, name: str) -> bool:
        """Whether a file is an image; one that is not is counted.

        Args:
            name: of the file, with its folders, below the folder that was asked for.
        """
        folder, _, base = name.rpartition("/")
        if folder and folder != self._open:
            if not self.enters(folder):
                return False
            self._open = folder
        if reason := _reason(base):
            self.passed_over[reason] += 1
            return False
        if base.lower().endswith(SUFFIXES):
            return True
        self.passed_over[posixpath.splitext(base)[1].lower() or "no suffix"] += 1
        return False

    def enters(self, folder: str) -> bool:
        """Whether a folder may hold images; one that may not is counted once.

        Args:
            folder: its name, with the folders that it is in, below the one that was asked for.
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
        """What was passed over, for a message, such as "2 hidden, 3 .txt"; "" where it is nothing.

        Args:
            before: what comes before it.
        """
        return before + described(self.passed_over) if self.passed_over else ""


def described(passed_over: Mapping[str, int]) -> str:
    """The counts of :attr:`Selection.passed_over` in words: "3 .txt, 2 hidden", most first."""
    ordered = sorted(passed_over.items(), key=lambda one: (-one[1], one[0]))
    words = [f"{count:,} {reason}" for reason, count in ordered[:MOST_DESCRIBED]]
    if others := sum(count for _, count in ordered[MOST_DESCRIBED:]):
        words.append(f"{others:,} others")
    return ", ".join(words)


def _reason(name: str) -> str | None:
    """Under what a file or a folder is counted that is passed over whatever its suffix."""
    if name in SYSTEM_FOLDERS:
        return name
    return "hidden" if name.startswith(".") else None
