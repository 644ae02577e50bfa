"""The errors that the user can fix.

FruitsError                 exit status 2, one line on stderr, no traceback
├── ConfigError             an option's value
├── InputError              the images that were asked for
├── BackboneError           a network, its weights or its engine
├── OutputError             the place where results go
├── StorageError            a store and its credentials
├── WorkerError             the memory of the workers
├── ClusterError            a Spark cluster and its secret
└── CloudError              AWS, and what runs there

Each message says what was wanted, what was there, and what to do.
Anything else that is raised is a defect or a failing machine: exit status 1.
"""

import re


class FruitsError(Exception):
    """Root of every error that the user can fix; its text is one line, fit for a terminal."""

    def __str__(self) -> str:
        return on_one_line(super().__str__())

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the one line, as the command line does."""
        return [f"fruits: {self}"]


class ConfigError(FruitsError):
    """An option has a value that cannot be used."""


class InputError(FruitsError):
    """The input holds no usable image, or too few, or cannot be read."""


class BackboneError(FruitsError):
    """A network is unknown, its weights are out of reach or do not fit."""


class OutputError(FruitsError):
    """The output cannot be written, or holds results of other settings."""


class StorageError(FruitsError):
    """A store is unknown, out of reach or refuses its credentials."""


class WorkerError(FruitsError):
    """The workers do not have what they need."""


class ClusterError(FruitsError):
    """A Spark cluster does not let this program in."""


class CloudError(FruitsError):
    """AWS refuses, is out of reach, or does not have what was wanted."""


def one_line(error: object) -> str:
    """What an exception or a text says, on one printable line and without addresses in memory."""
    text = re.sub(r"\s*<[^<>]* at 0x[0-9a-fA-F]+>", "", str(error))
    return on_one_line(" ".join(text.split()) or type(error).__name__)


def on_one_line(text: str) -> str:
    """A text as one line that can be shown, whoever wrote it.

    Line breaks and tabs become spaces; other characters that could control a terminal, change the
    direction of the text or not be encoded become `?`.
    """
    return "".join(
        letter if letter.isprintable() else " " if letter in "\t\n\r" else "?" for letter in text
    )
