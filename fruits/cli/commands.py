"""The commands of ``fruits``; what they need is imported when they run."""

import json
import signal

import fruits
from fruits.cli.compare import add_compare
from fruits.cli.pack import add_pack
from fruits.cli.parser import Parser, add_run_options
from fruits.cli.serve import add_serve
from fruits.cloud.command import add_cloud
from fruits.runs.config import RunConfig
from fruits.runs.options import options as options_of
from fruits.runs.predict import OF_THE_MODEL, predict_config

DEFAULTS = {option.name: option.default for option in options_of(RunConfig)}


def run(**options: object) -> None:
    """``fruits run``: the whole chain."""
    config = RunConfig(**options)  # type: ignore[arg-type]
    # Spark's import takes a second that bad options need not wait.
    from fruits.runs.pipeline import run
    from fruits.spark.own_session import own_spark

    # As Ctrl-C: what is committed is kept, and the lock is given back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Spark ends before the one clear line of an error, so that no log of its own comes after.
    with own_spark():
        print(run(config).summary())


def predict(**options: object) -> None:
    """``fruits predict``: another folder by the model of a finished run."""
    config = predict_config(**options)  # type: ignore[arg-type]
    run(**config.as_dict())


def plan(as_json: bool, **options: object) -> None:
    """``fruits plan``: what a run will take."""
    config = RunConfig(**options)  # type: ignore[arg-type]
    from fruits.runs.estimate import plan
    from fruits.spark.own_session import own_spark

    with own_spark():
        planned = plan(config)
    print(json.dumps(planned.as_dict(), indent=2) if as_json else planned.text())


def report(output: str) -> None:
    """``fruits report``: what a finished run has made."""
    from fruits.runs.outputs import Outputs
    from fruits.runs.summary import summary_of

    print(summary_of(Outputs.of(output)))


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


def completion(shell: str) -> None:
    """``fruits completion``: a script that completes commands and options."""
    import shtab

    print(shtab.complete(make_parser(), shell))


def make_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="fruits",
        description="Folders of photographs to CNN features, PCA and a classifier, on Spark.",
    )
    parser.add_argument("--version", action="version", version=f"fruits {fruits.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")

    drawing = parser.add_command(commands, "sample", sample, "draw a synthetic data set")
    drawing.add_argument("--output", required=True, metavar="DIR", help="folder to draw into")
    drawing.add_argument("--classes", type=int, default=12, help="varieties (%(default)s)")
    drawing.add_argument(
        "--per-class", type=int, default=50, help="training images of each variety (%(default)s)"
    )
    drawing.add_argument("--seed", type=int, default=0, help="of the drawing (%(default)s)")

    running = parser.add_command(commands, "run", run, "extract features, reduce and classify them")
    add_run_options(running)

    predicting = parser.add_command(
        commands, "predict", predict, "recognise another folder by the model of a finished run"
    )
    add_run_options(predicting, fixed=OF_THE_MODEL, required=("model",))

    add_compare(commands, parser)

    planning = parser.add_command(
        commands, "plan", plan, "predict what a run takes: memory, time, dollars"
    )
    planning.add_argument("--json", action="store_true", dest="as_json", help="for machines")
    add_run_options(planning, output=".")

    reporting = parser.add_command(commands, "report", report, "print what a finished run has made")
    reporting.add_argument("--output", required=True, metavar="URI", help="folder of the results")

    add_pack(commands, parser)

    completing = parser.add_command(
        commands, "completion", completion, "print a script that completes commands in a shell"
    )
    completing.add_argument("shell", choices=("bash", "zsh", "tcsh"))

    add_serve(commands, parser)
    add_cloud(commands, add_run_options, DEFAULTS)
    return parser
