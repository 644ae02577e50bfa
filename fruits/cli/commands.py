"""The command ``fruits``."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NoReturn

from fruits.cloud.command import add_cloud
from fruits.errors import FruitsError, OutputError
from fruits.networks.catalogue import BACKBONES
from fruits.networks.graph import ENGINES, PRECISIONS
from fruits.reduction.fit import SCALERS
from fruits.runs.config import RunConfig

DEFAULTS = {field.name: field.default for field in fields(RunConfig)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0 done, 2 for what the caller can mend."""
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        command(**options)
    except FruitsError as error:
        print(f"fruits: {error}", file=sys.stderr)
        return 2
    return 0


def run(**options: object) -> None:
    """``fruits run``: the whole chain."""
    config = RunConfig(**options)  # type: ignore[arg-type]
    # Spark's import takes a second that bad options need not wait.
    from fruits.runs.pipeline import run
    from fruits.spark.session import own_spark

    # Spark ends before the one clear line of an error, so that no log of its own comes after.
    with own_spark():
        print(run(config).summary())


def plan(as_json: bool, **options: object) -> None:
    """``fruits plan``: what a run will take."""
    config = RunConfig(**options)  # type: ignore[arg-type]
    from fruits.runs.estimate import plan

    planned = plan(config)
    print(json.dumps(planned.as_dict(), indent=2) if as_json else planned.text())


def report(output: str) -> None:
    """``fruits report``: what a finished run has made."""
    from fruits.runs.outputs import Outputs
    from fruits.runs.report import summary

    outputs = Outputs(output)
    if not outputs.exists("run.json"):
        raise OutputError(f"output: wanted a finished run; {outputs.uri('run.json')} is not there")
    print(summary(json.loads(outputs.read("run.json")), outputs))


def sample(**options: object) -> None:
    """``fruits sample``: draws a synthetic data set."""
    from tqdm import tqdm

    from fruits.sample import draw_sample

    with tqdm(desc="drawing", unit=" images", delay=0.5) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        count = draw_sample(**options, progress=progress)  # type: ignore[arg-type]
    print(f"{count} images in {options['output']}")


def components(text: str) -> int | float:
    """A whole number is a count of components; anything else a share of the variance."""
    try:
        return int(text)
    except ValueError:
        return float(text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fruits", description="Folders of photographs to CNN features and PCA, on Spark."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    drawing = commands.add_parser("sample", help="draw a synthetic data set")
    drawing.set_defaults(command=sample)
    drawing.add_argument("--output", required=True, metavar="DIR", help="folder to draw into")
    drawing.add_argument("--classes", type=int, default=12, help="varieties (%(default)s)")
    drawing.add_argument(
        "--per-class", type=int, default=50, help="training images of each variety (%(default)s)"
    )
    drawing.add_argument("--seed", type=int, default=0, help="(%(default)s)")

    telling = commands.add_parser("report", help="tell what a finished run has made")
    telling.set_defaults(command=report)
    telling.add_argument("--output", required=True, metavar="URI", help="folder of the results")

    planning = commands.add_parser("plan", help="predict what a run takes: memory, time, dollars")
    planning.set_defaults(command=plan)
    planning.add_argument("--json", action="store_true", dest="as_json", help="for machines")
    _add_run_options(planning, default=".")

    running = commands.add_parser("run", help="extract, reduce and plot")
    running.set_defaults(command=run)
    _add_run_options(running, required=True)

    add_cloud(commands, _add_run_options, DEFAULTS)
    return parser


def _add_run_options(parser: argparse.ArgumentParser, **output: Any) -> None:
    option = _options_with_defaults(parser)
    option("images", required=True, metavar="URI", help="folder of images; labels are its folders")
    option("output", **output, metavar="URI", help="folder of the results")
    option("backbone", choices=BACKBONES, help="the network")
    option("weights", metavar="WEIGHTS", help="imagenet, random, or a Keras file")
    option("engine", choices=ENGINES, help="what runs the network")
    option("precision", choices=PRECISIONS, help="of the network's arithmetic")
    option("scaler", choices=SCALERS, help="applied before the PCA")
    option("components", type=components, metavar="N", help="a count, or a share of the variance")
    option("chunk", type=int, metavar="N", help="images committed at a time")
    option("max_rejected", type=float, metavar="SHARE", help="of the images")
    option("csv", action=argparse.BooleanOptionalAction, help="also write pca.csv")
    option("limit", type=int, metavar="N", help="use so many images, evenly chosen")
    option(
        "keep_basis",
        action=argparse.BooleanOptionalAction,
        help="project with the model of the last run, without fitting a new one",
    )
    option("overwrite", action=argparse.BooleanOptionalAction, help="delete earlier results")


def _options_with_defaults(parser: argparse.ArgumentParser):  # type: ignore[no-untyped-def]
    def option(name: str, *, help: str, **settings: object) -> None:
        if not settings.get("required"):
            settings.setdefault("default", DEFAULTS[name])
            help += " (%(default)s)"
        parser.add_argument("--" + name.replace("_", "-"), help=help, **settings)  # type: ignore[arg-type]

    return option
