"""The parser of ``fruits``: options as they are declared, mistakes as one line."""

import argparse
import difflib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING
from typing import Any, NoReturn

from fruits.runs.config import RunConfig
from fruits.runs.options import Option, options

# More choices than these are listed in the help of the option, not in its usage.
FEW = 4

# Returns the exit status; nothing for 0.
Command = Callable[..., int | None]


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that answers a mistake with one line and status 2."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with the message, what was perhaps meant, and where help is."""
        wrong = re.search(r"invalid choice: '?(.*?)'? \(choose from (.*)\)$", message)
        if wrong:
            choices = [choice.strip("'\" ") for choice in wrong[2].split(",")]
            message += _nearest(wrong[1], choices)
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Names a misspelt option before a required one is missed."""
        flags = list(self._option_string_actions)
        for flag in (text.partition("=")[0] for text in args or ()):
            if flag == "--" or self._subparsers:
                break
            if flag.startswith("--") and not any(known.startswith(flag) for known in flags):
                self.error(f"{flag} is not an option{_nearest(flag, flags)}")
        return super().parse_known_args(args, namespace)

    def add_command(self, commands: Any, name: str, function: Command, help: str) -> "Parser":
        """Adds a command that calls a function with its options as keyword arguments.

        Args:
            commands: what ``add_subparsers`` returned.
            name: of the command.
            function: what is called.
            help: one line.
        """
        parser: Parser = commands.add_parser(name, help=help, description=_sentence(help))
        parser.set_defaults(command=function, parser=parser)
        return parser

    def parse(self, arguments: Sequence[str] | None) -> tuple[Command, dict[str, Any]]:
        """The function of a command, and its options; help where there is no command."""
        found, unknown = self.parse_known_args(arguments)
        values = vars(found)
        parser: Parser = values.pop("parser", self)
        if unknown:
            parser.error(f"{' '.join(unknown)}: not understood")
        if "command" not in values:
            parser.print_help()
            parser.exit(0)
        return values.pop("command"), values


class Several(argparse.Action):
    """Adds up the values of an option, also where it is given several times: a list."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Keeps the values; those that are typed replace the default."""
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*(() if before is self.default else before), *values])


class Places(argparse.Action):
    """Like :class:`Several`, for places: one text with commas between them."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Keeps the places; a name with a comma in it would be taken for two."""
        before = getattr(namespace, self.dest)
        places = [*([before] if before else ()), *values]
        if len(places) > 1 and (found := [one for one in places if _has_comma(one)]):
            parser.error(
                f"{option_string}: wanted names without a comma where there are several; "
                f"got {found[0]}: rename it"
            )
        setattr(namespace, self.dest, ",".join(places))


def add_run_options(
    parser: argparse.ArgumentParser,
    output: str | None = None,
    fixed: Sequence[str] = (),
    required: Sequence[str] = (),
) -> None:
    """Adds the options of ``fruits run``.

    Args:
        parser: of the command.
        output: its default where the command needs no output.
        fixed: names of options that the command does not have.
        required: names of options that the user must give.
    """
    for option in options(RunConfig):
        if option.name in fixed:
            continue
        default = MISSING if option.name in required else option.default
        if option.name == "output" and output is not None:
            default = output
        add_option(parser, option, default)


def add_option(
    parser: argparse.ArgumentParser, option: Option, default: Any, several: bool = False
) -> None:
    """Adds one option as its field declares it; without a default it is required.

    Args:
        parser: of the command.
        option: to add.
        default: its value where the user gives none.
        several: whether it takes one value or more, and gives a list. The option ``images`` takes
            several in any case, and gives one text.
    """
    settings: dict[str, Any] = {"help": option.help}
    if several or option.name == "images":
        settings |= {"nargs": "+", "action": Several if several else Places}
    if default is MISSING:
        settings["required"] = True
    else:
        settings["default"] = default
    if option.parse is bool:
        settings["action"] = argparse.BooleanOptionalAction
        if default is True:
            settings["help"] += "; on by default"
    else:
        settings |= {"type": option.parse, "choices": option.choices, "metavar": option.metavar}
        if option.choices and len(option.choices) > FEW:
            settings["metavar"] = "NAME"
            settings["help"] += ": " + ", ".join(option.choices)
        if default not in (MISSING, None):
            shown = " ".join(map(str, default)) if several else default
            settings["help"] += f" (default: {shown})"
    settings["help"] = settings["help"].replace("%", "%%")
    parser.add_argument(option.flag, **settings)


def _has_comma(place: str) -> bool:
    """Whether a place is one file or folder with a comma in its name."""
    return "," in place and os.path.lexists(place)


def _nearest(wrong: str, known: Sequence[str]) -> str:
    by_case = {name.lower(): name for name in known}
    found = difflib.get_close_matches(wrong.lower(), by_case, n=1)
    return f"; did you mean {by_case[found[0]]}?" if found else ""


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
