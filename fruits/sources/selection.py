"""Decides by their names which files are images, with one rule for every source.

A file is an image if its name ends in one of :data:`SUFFIXES`, in upper or lower case. Hidden files
and folders (a leading `.`), folders that some systems add to photographs (:data:`SYSTEM_FOLDERS`)
and the plots of a run (:data:`PLOTS`) are skipped. A leading `_` is part of an ordinary name,
because cameras write it: `_DSC0003.JPG`. The rule uses only the part of a path below the given
folder.
"""

import posixpath
from bisect import insort
from collections import Counter
from collections.abc import Mapping

from fruits.images.formats import SUFFIXES

# Thumbnails of Synology systems, and resource forks in zip archives of macOS.
SYSTEM_FOLDERS = ("@eaDir", "__MACOSX")


# The pictures in the folder `plots` of an output. If the output is among photographs, they would be
# images with the label "plots".
PLOTS = frozenset(("scree.png", "pc1_pc2.png", "confusion.png", "calibration.png", "compare.png"))

HIDDEN = "hidden"
"""The reason for a file or a folder whose name starts with a dot."""

OTHER_SUFFIXES = "other suffixes"
"""The reason for files whose suffixes are not counted one by one."""

MOST_SUFFIXES = 100
"""The most suffixes that are counted one by one: scan.0000001 and so on have a million of them."""

_EXPLAINED = {
    HIDDEN: "hidden (name starts with a dot)",
    OTHER_SUFFIXES: "with other suffixes",
    "name ends in /": "whose name ends in /",
}

# The most reasons in a message.
MOST_DESCRIBED = 10


class SkippedFiles:
    """Counts skipped files by reason, in limited memory.

    Of more than :data:`MOST_SUFFIXES` suffixes, the shortest ones are counted one by one, numbers
    last, and the others together. The counts do not depend on the order of the files, because a
    suffix that gives way to shorter ones never returns.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._suffixes: list[tuple[bool, int, str]] = []  # Sorted.

    def add(self, reason: str, count: int = 1) -> None:
        """Counts files that are skipped for a reason: their suffix, or another one."""
        if reason.startswith(".") and reason not in self._counts:
            reason = self._with(reason)
        self._counts[reason] += count

    def counts(self) -> dict[str, int]:
        """The number of files by reason, sorted by reason."""
        return dict(sorted(self._counts.items()))

    def _with(self, suffix: str) -> str:
        """Admits a new suffix; returns the reason that counts it."""
        insort(self._suffixes, (suffix[1:].isdigit(), len(suffix), suffix))
        if len(self._suffixes) <= MOST_SUFFIXES:
            return suffix
        last = self._suffixes.pop()[-1]
        if last == suffix:
            return OTHER_SUFFIXES
        self._counts[OTHER_SUFFIXES] += self._counts.pop(last)
        return suffix


class Selection:
    """Decides which files are images, and counts the others."""

    def __init__(self) -> None:
        self._skipped = SkippedFiles()
        # The folder of the last file, in which the next file mostly is, and why it is skipped.
        self._folder = ""
        self._closed: str | None = None

    @property
    def passed_over(self) -> dict[str, int]:
        """The number of skipped files by reason.

        The reason is the suffix in lower case (`.txt`) or :data:`OTHER_SUFFIXES`, `no suffix`,
        `hidden`, a name of :data:`SYSTEM_FOLDERS`, `plots of a run`, `special files` (pipes,
        sockets, devices), `broken links`, `repeated folders` (links to a folder that is already
        listed) or `name ends in /` (objects in S3 with a content). A hidden folder counts
        once, because it is not entered; in archives, inventories and S3, which have no folders,
        each file in it counts.
        """
        return self._skipped.counts()

    def pass_over(self, reason: str, count: int = 1) -> None:
        """Counts files that are skipped for another reason than their names."""
        self._skipped.add(reason, count)

    def is_image(self, name: str) -> bool:
        """Whether a file is an image; otherwise it is counted.

        Args:
            name: the path of the file relative to the given folder.
        """
        folder, _, base = name.rpartition("/")
        if folder != self._folder:
            self._folder, self._closed = folder, reason_to_skip(folder)
        reason = self._closed or _reason(base)
        if not reason and base in PLOTS and f"/{folder}".endswith("/plots"):
            reason = "plots of a run"
        if not reason:
            if base.lower().endswith(SUFFIXES):
                return True
            suffix = posixpath.splitext(base)[1].lower()
            reason = suffix or ("no suffix" if base else "name ends in /")
        self.pass_over(reason)
        return False

    def enters(self, folder: str) -> bool:
        """Whether a folder may contain images; otherwise it is counted each time.

        Args:
            folder: the path of the folder relative to the given folder.
        """
        reason = reason_to_skip(folder)
        if reason:
            self.pass_over(reason)
        return not reason


def described(passed_over: Mapping[str, int]) -> str:
    """The counts of :attr:`Selection.passed_over` in words: "3 .txt, 2 .xml", largest first."""
    ordered = sorted(passed_over.items(), key=lambda one: (-one[1], one[0]))
    words = [f"{count:,} {explained(reason)}" for reason, count in ordered[:MOST_DESCRIBED]]
    if others := sum(count for _, count in ordered[MOST_DESCRIBED:]):
        words.append(f"{others:,} others")
    return ", ".join(words)


def explained(reason: str) -> str:
    """A key of :attr:`Selection.passed_over` in words: without them, "hidden" may be anything."""
    return _EXPLAINED.get(reason, reason)


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


def reason_to_skip(folder: str) -> str | None:
    """The reason to skip everything in a folder, or None.

    Args:
        folder: the path of the folder relative to the given folder; "" for that folder itself.
    """
    return next(filter(None, map(_reason, folder.split("/"))), None)


def _reason(name: str) -> str | None:
    """The reason to skip a file or a folder whatever its suffix, or None."""
    if name in SYSTEM_FOLDERS:
        return name
    return HIDDEN if name.startswith(".") else None
