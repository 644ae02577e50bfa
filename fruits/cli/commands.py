"""The commands of ``fruits``, which import their modules when they run."""

import json
import signal
from importlib.util import find_spec

import fruits
from fruits.cli.compare import add_compare
from fruits.cli.pack import add_pack
from fruits.cli.parser import Parser, add_run_options
from fruits.cli.progress import image_bar
from fruits.cli.serve import add_serve
from fruits.cloud.command import add_cloud
from fruits.errors import ConfigError
from fruits.options import options as options_of
from fruits.runs.config import RunConfig
from fruits.runs.predict import OF_THE_MODEL, predict_config

DEFAULTS = {option.name: option.default for option in options_of(RunConfig)}


def run(**options: object) -> None:
    """``fruits run``: extracts, reduces and classifies."""
    config = RunConfig(**options)  # type: ignore[arg-type]
    # Imported after the options are checked: PySpark takes a second to import.
    from fruits.runs.pipeline import run
    from fruits.spark.own_session import own_spark

    # SIGTERM acts like Ctrl-C: committed features are kept, and the lock is released.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Spark ends before the line of an error is printed, so that no log follows it.
    with own_spark():
        print(run(config).summary())


def predict(**options: object) -> None:
    """``fruits predict``: applies the model of a finished run to another folder."""
    config = predict_config(**options)  # type: ignore[arg-type]
    run(**config.as_dict())


def plan(as_json: bool, **options: object) -> None:
    """``fruits plan``: estimates the memory, time and costs of a run."""
    config = RunConfig(**options)  # type: ignore[arg-type]
    from fruits.planning.estimate import estimate
    from fruits.spark.own_session import own_spark

    with own_spark():
        planned = estimate(config)
    print(json.dumps(planned.as_dict(), indent=2) if as_json else planned.text())


def report(output: str) -> None:
    """``fruits report``: prints the summary of a finished run."""
    from fruits.runs.outputs import Outputs
    from fruits.runs.summary import summary_of

    print(summary_of(Outputs.of(output)))


def sample(**options: object) -> None:
    """``fruits sample``: draws a synthetic data set."""
    if find_spec("fruits.sample") is None:
        raise ConfigError(
            "sample: this installation cannot draw the sample (it is for the nodes of a cluster, "
            "or for the application): use the project folder or the image `fruits`"
        )
    from fruits.sample import draw_sample

    with image_bar("drawing") as progress:
        count = draw_sample(**options, progress=progress)  # type: ignore[arg-type]
    print(f"{count} images in {options['output']}")


def completion(shell: str) -> None:
    """``fruits completion``: prints a script that completes commands and options."""
    import shtab

    print(shtab.complete(make_parser(), shell))


def make_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="fruits",
        description="Photographs to CNN features, principal components and a classifier, on Spark.",
    )
    parser.add_argument("--version", action="version", version=f"fruits {fruits.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")

    drawing = parser.add_command(commands, "sample", sample, "draw a synthetic data set")
    drawing.add_argument("--output", required=True, metavar="DIR", help="folder for the images")
    drawing.add_argument(
        "--classes", type=int, default=12, help="number of varieties (%(default)s)"
    )
    drawing.add_argument(
        "--per-class", type=int, default=50, help="training images of each variety (%(default)s)"
    )
    drawing.add_argument("--seed", type=int, default=0, help="random seed (%(default)s)")

    running = parser.add_command(
        commands, "run", run, "extract features, reduce them and train a classifier"
    )
    add_run_options(running)

    predicting = parser.add_command(
        commands, "predict", predict, "recognise other images with the model of a finished run"
    )
    add_run_options(predicting, fixed=OF_THE_MODEL, required=("model",))
    for option in options_of(RunConfig):
        if option.of_model:
            predicting.without[option.flag] = "is taken from the model: leave it out"

    add_compare(commands, parser)

    planning = parser.add_command(
        commands, "plan", plan, "estimate the memory, time and cost of a run"
    )
    planning.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    add_run_options(planning, output=".")

    reporting = parser.add_command(
        commands, "report", report, "print the results of a finished run"
    )
    reporting.add_argument(
        "--output", required=True, metavar="URI", help="output of a finished run"
    )

    add_pack(commands, parser)

    completing = parser.add_command(
        commands, "completion", completion, "print the completion script of a shell"
    )
    completing.add_argument("shell", choices=("bash", "zsh", "tcsh"))

    add_serve(commands, parser)
    add_cloud(commands, add_run_options, DEFAULTS)
    return parser
