"""The errors that the user can fix.

FruitsError                 exit status 2, one line on stderr, no traceback
├── ConfigError             an option's value
├── InputError              the images
├── BackboneError           a network, its weights or its engine
├── OutputError             the output folder
├── StorageError            a store and its credentials
├── WorkerError             the environment of the workers
├── ClusterError            a Spark cluster and its secret
└── CloudError              AWS, and the resources there

Each message says what was wanted, what was found, and what to do.
Any other exception is a defect or a failing machine: exit status 1.
"""

import re


class FruitsError(Exception):
    """The base class of all errors that the user can fix. Its text is one printable line."""

    def __str__(self) -> str:
        return on_one_line(super().__str__())

    def _render_traceback_(self) -> list[str]:
        """Shows one line in a notebook, like the command line, instead of a traceback."""
        return [f"fruits: {self}"]


class ConfigError(FruitsError):
    """An option has a value that cannot be used."""


class InputError(FruitsError):
    """The input has no usable images, or too few, or cannot be read."""


class BackboneError(FruitsError):
    """A network is unknown, or its weights cannot be reached or do not fit."""


class OutputError(FruitsError):
    """The output cannot be written, or has results of other settings."""


class StorageError(FruitsError):
    """A store is unknown, cannot be reached, or refuses the credentials."""


class WorkerError(FruitsError):
    """The workers do not have what they need."""


class ClusterError(FruitsError):
    """A Spark cluster refuses this program."""


class CloudError(FruitsError):
    """AWS refuses a request, cannot be reached, or does not have what was wanted."""


def one_line(error: object) -> str:
    """The text of an exception on one printable line, without memory addresses."""
    text = re.sub(r"\s*<[^<>]* at 0x[0-9a-fA-F]+>", "", str(error))
    return on_one_line(" ".join(text.split()) or type(error).__name__)


def on_one_line(text: str) -> str:
    """Makes a text from any source safe to print on one line.

    Line breaks and tabs become spaces. Other characters become `?` if they could control a
    terminal, change the direction of the text, or cannot be encoded.
    """
    return "".join(
        letter if letter.isprintable() else " " if letter in "\t\n\r" else "?" for letter in text
    )
