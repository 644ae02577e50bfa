"""Runs the notebook as ``make demo`` does, and shows what its cells print.

demo.py NOTEBOOK COPY NAME=VALUE...      COPY receives the results; NAME is a parameter
"""

import sys

import papermill
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

# Sockets in the file system in place of open TCP ports.
PRIVATE = Config({"KernelManager": {"transport": "ipc"}})
# It would call the end of a kernel an error.
QUIET = ["--IPKernelApp.log_level=CRITICAL"]


def main(notebook: str, copy: str, *options: str) -> int:
    """Returns the exit status: 0 done, 1 a cell failed, 130 interrupted."""
    try:
        papermill.execute_notebook(
            notebook,
            copy,
            parameters=dict(option.split("=", 1) for option in options),
            progress_bar=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            config=PRIVATE,
            extra_arguments=QUIET,
        )
    except PapermillExecutionError as error:
        print(f"{error.ename}: {error.evalue}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; make demo goes on after what is committed", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
