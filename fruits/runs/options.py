"""What a field of :class:`~fruits.runs.config.RunConfig` says about itself as an option.

The command line, the first cell of the notebook and the table in the README follow from it.
"""

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import MISSING, dataclass
from typing import Any, get_args

_KEY = "option"


@dataclass(frozen=True)
class Option:
    """One option, as a user meets it.

    Attributes:
        name: of the field, and of the notebook's parameter.
        help: one line without a full stop.
        default: ``MISSING`` where the user must give a value.
        choices: the only values, or ``None``.
        metavar: what stands for the value in the help, or ``None``.
        parse: makes a value of what is typed; ``bool`` for a switch.
    """

    name: str
    help: str
    default: Any
    choices: Collection[str] | None
    metavar: str | None
    parse: Callable[[str], Any]

    @property
    def flag(self) -> str:
        """The option on the command line, such as ``--max-rejected``."""
        return "--" + self.name.replace("_", "-")


def option(
    default: Any = MISSING,
    *,
    help: str,
    choices: Collection[str] | None = None,
    metavar: str | None = None,
) -> Any:
    """A field of a dataclass that is an option.

    Args:
        default: its value where the user gives none; left out, the user must.
        help: what it is, in one line without a full stop.
        choices: the only values that it can have.
        metavar: what stands for its value in the help.
    """
    about = {"help": help, "choices": choices, "metavar": metavar}
    return dataclasses.field(default=default, metadata={_KEY: about})


def options(config: type) -> list[Option]:
    """The options of a dataclass, in the order of its fields."""
    return [
        Option(name=f.name, default=f.default, parse=_parser(f.type), **f.metadata[_KEY])
        for f in dataclasses.fields(config)
        if _KEY in f.metadata
    ]


def number(text: str) -> int | float:
    """A whole number is an ``int``, anything else a ``float``."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _parser(kind: Any) -> Callable[[str], Any]:
    """What reads a value of the type of a field; ``None`` cannot be typed."""
    kinds = set(get_args(kind) or (kind,)) - {type(None)}
    if kinds == {int, float}:
        return number
    (parse,) = kinds
    return parse  # type: ignore[no-any-return]
