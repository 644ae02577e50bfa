"""The command ``fruits compare``."""

import signal
import sys
from dataclasses import MISSING
from typing import Any

from fruits.cli.parser import Parser, add_option, add_run_options
from fruits.comparison.grid import VARIED
from fruits.options import options
from fruits.runs.config import RunConfig


def compare(**values: Any) -> int:
    """``fruits compare``: runs several networks on the same images.

    Returns:
        1 if a network failed, else 0.
    """
    varied = {name: values.pop(name) for name in VARIED}
    config = RunConfig(**values)
    # Imported after the options are checked: PySpark takes a second to import.
    from fruits.comparison.run_networks import compare
    from fruits.comparison.terminal_tables import text
    from fruits.spark.own_session import own_spark

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with own_spark():
        found = compare(config, **varied)
    print(text(found))
    if found.failed:
        names = ", ".join(one.backbone for one in found.failed)
        print(f"fruits: networks that failed: {names}", file=sys.stderr)
    return 1 if found.failed else 0


def add_compare(commands: Any, parser: Parser) -> None:
    """Adds the command ``compare`` to a parser."""
    comparing = parser.add_command(
        commands, "compare", compare, "run several networks on the same images and compare them"
    )
    add_run_options(comparing, fixed=(*VARIED, "model"))
    for option in options(RunConfig):
        if option.varied:
            default = MISSING if option.name == "backbone" else [option.default]
            add_option(comparing, option, default, several=True)
