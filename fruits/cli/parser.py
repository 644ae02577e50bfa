"""The parser of ``fruits``. Its options are declared in classes; a mistake is one line."""

import argparse
import difflib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING
from typing import Any, NoReturn

from fruits.options import Option, options
from fruits.runs.config import RunConfig

# If an option has more choices, they are listed in its help, not in the usage.
FEW = 4

# What argparse calls the type of a value, and what the user calls it.
_KINDS = {"int": "a whole number", "float": "a number", "number": "a number"}

# A command returns the exit status, or None for 0.
Command = Callable[..., int | None]


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that reports a mistake in one line and exits with status 2.

    Attributes:
        without: Flags that the command does not have although another one does, with the reasons.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.without: dict[str, str] = {}

    def error(self, message: str) -> NoReturn:
        """Exits with the message, a suggestion, and the command for help."""
        wrong = re.search(r"invalid choice: '?(.*?)'? \(choose from (.*)\)$", message)
        if wrong:
            choices = [choice.strip("'\" ") for choice in wrong[2].split(",")]
            message += _nearest(wrong[1], choices)
        if wrong := re.search(r"invalid (\w+) value: (.*)$", message):
            kind = _KINDS.get(wrong[1], wrong[1])
            message = f"{message[: wrong.start()]}wanted {kind}; got {wrong[2]}"
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Reports a misspelt option before it reports that a required one is missing."""
        flags = list(self._option_string_actions)
        for flag in (text.partition("=")[0] for text in args or ()):
            if flag == "--" or self._subparsers:
                break
            if flag.startswith("--") and not any(known.startswith(flag) for known in flags):
                why = self.without.get(flag.replace("--no-", "--"))
                self.error(f"{flag} {why or f'is not an option{_nearest(flag, flags)}'}")
        return super().parse_known_args(args, namespace)

    def add_command(self, commands: Any, name: str, function: Command, help: str) -> "Parser":
        """Adds a command that calls a function with its options as keyword arguments.

        Args:
            commands: The result of ``add_subparsers``.
            name: The name of the command.
            function: The function to call.
            help: The help in one line.
        """
        parser: Parser = commands.add_parser(name, help=help, description=_sentence(help))
        parser.set_defaults(command=function, parser=parser)
        return parser

    def parse(self, arguments: Sequence[str] | None) -> tuple[Command, dict[str, Any]]:
        """Returns the function of a command and its options; prints help without a command."""
        found, unknown = self.parse_known_args(arguments)
        values = vars(found)
        parser: Parser = values.pop("parser", self)
        if unknown:
            parser.error(f"{' '.join(unknown)}: unknown")
        if "command" not in values:
            parser.print_help()
            parser.exit(0)
        return values.pop("command"), values


class Several(argparse.Action):
    """Collects the values of an option, which may be repeated, in a list."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Adds values. The first ones replace the default."""
        before = getattr(namespace, self.dest)
        typed = None if before is self.default else before
        setattr(namespace, self.dest, self.joined(parser, typed, values))

    def joined(self, parser: argparse.ArgumentParser, before: Any, values: list[Any]) -> Any:
        """The earlier values (or None) together with more values."""
        return [*(before or ()), *values]


class Places(Several):
    """Like :class:`Several`, but for paths and URIs, which become one text with commas."""

    def joined(self, parser: argparse.ArgumentParser, before: Any, values: list[Any]) -> Any:
        """Joins paths and URIs; names with a comma are refused, since they would be split."""
        places = [*([before] if before else ()), *values]
        if len(places) > 1 and (found := [one for one in places if _has_comma(one)]):
            parser.error(
                f"{self.option_strings[0]}: wanted names without a comma, since several are given; "
                f"got {found[0]}: rename it"
            )
        return ",".join(places)


def add_run_options(
    parser: argparse.ArgumentParser,
    output: str | None = None,
    fixed: Sequence[str] = (),
    required: Sequence[str] = (),
) -> None:
    """Adds the options of ``fruits run``.

    Args:
        parser: The parser of the command.
        output: The default of the option ``output``, if the command does not need an output.
        fixed: The names of options that the command does not have.
        required: The names of options that the user must give.
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
    """Adds an option as its field declares it; without a default it is required.

    Args:
        parser: The parser of the command.
        option: The option.
        default: The default value.
        several: Whether the option accepts several values and returns a list. The option
            ``images`` always accepts several values and returns one text.
    """
    settings: dict[str, Any] = {"help": option.help}
    if several or option.name == "images":
        settings |= {"nargs": "+", "action": Several if several else Places}
    if default is MISSING:
        settings["required"] = True
        settings["help"] = option.help.partition("; default: ")[0]
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
    """Whether a path is one existing file or folder with a comma in its name."""
    return "," in place and os.path.lexists(place)


def _nearest(wrong: str, known: Sequence[str]) -> str:
    by_case = {name.lower(): name for name in known}
    found = difflib.get_close_matches(wrong.lower(), by_case, n=1)
    return f"; did you mean {by_case[found[0]]}?" if found else ""


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
