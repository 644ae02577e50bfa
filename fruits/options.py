"""The description of an option, kept with its field in a dataclass.

The command line is made from it. The options of a run, in
:class:`~fruits.runs.config.RunConfig`, are also compared with the first cell of the notebook and
the table in the README.
"""

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import MISSING, dataclass
from typing import Any, get_args

_KEY = "option"


@dataclass(frozen=True)
class Option:
    """One option of the command line.

    Attributes:
        name: The name of the field, and of the notebook's parameter for a run.
        help: One line without a full stop.
        default: The default value; ``MISSING`` if the user must give one.
        choices: The allowed values; ``None`` if they are not a fixed list.
        metavar: The placeholder of the value in the help, or ``None``.
        varied: Whether a comparison accepts several values.
        of_model: Whether it defines the model, so that ``fruits predict`` takes it from there.
        changes_results: Whether another value may change the results of a run.
        parse: Converts the text of the command line; ``bool`` for a switch.
    """

    name: str
    help: str
    default: Any
    choices: Collection[str] | None
    metavar: str | None
    varied: bool
    of_model: bool
    changes_results: bool
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
    varied: bool = False,
    of_model: bool = False,
    changes_results: bool = True,
) -> Any:
    """A field of a dataclass that is an option.

    Args:
        default: The default value. Without it, the user must give a value.
        help: The meaning in one line without a full stop.
        choices: The allowed values.
        metavar: The placeholder of the value in the help.
        varied: Whether a comparison accepts several values.
        of_model: Whether it defines the model, so that ``fruits predict`` takes it from there.
        changes_results: Whether another value may change the results of a run.
    """
    about = {
        "help": help,
        "choices": choices,
        "metavar": metavar,
        "varied": varied,
        "of_model": of_model,
        "changes_results": changes_results,
    }
    return dataclasses.field(default=default, metadata={_KEY: about})


def options(config: type) -> list[Option]:
    """The options of a dataclass, in the order of its fields."""
    return [
        Option(name=f.name, default=f.default, parse=_parser(f.type), **f.metadata[_KEY])
        for f in dataclasses.fields(config)
        if _KEY in f.metadata
    ]


def number(text: str) -> int | float:
    """Converts a text to an ``int`` if it is a whole number, else to a ``float``."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _parser(kind: Any) -> Callable[[str], Any]:
    """The parser for the type of a field; the command line cannot give ``None``."""
    kinds = set(get_args(kind) or (kind,)) - {type(None)}
    if kinds == {int, float}:
        return number
    (parse,) = kinds
    return parse  # type: ignore[no-any-return]
