"""Runs the notebook as ``make demo`` does, and shows what its cells print.

demo.py NOTEBOOK COPY NAME=VALUE...      COPY receives the results; NAME is a parameter
"""

import logging
import signal
import sys
from pathlib import Path
from typing import TextIO

import papermill
from jupyter_client import AsyncKernelManager
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

# Uses sockets in the file system instead of open TCP ports.
PRIVATE = Config({"KernelManager": {"transport": "ipc"}})
# Otherwise it would report the end of a kernel as an error.
QUIET = ["--IPKernelApp.log_level=CRITICAL"]


def is_interrupted() -> bool:
    """Whether the user has interrupted."""
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


class Manager(AsyncKernelManager):
    """Interrupts the kernel only if the user interrupts.

    Other managers interrupt every kernel before they stop it. If the kernel has just answered, it
    then stops before its child processes, and asyncio reports an unfinished task.
    """

    async def _async_interrupt_kernel(self) -> None:
        if is_interrupted():
            await super()._async_interrupt_kernel()


class Screen:
    """Passes on the output of the cells, until the user interrupts."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        """Passes text on, unless the user has interrupted."""
        if not is_interrupted():
            self.stream.write(text)

    def flush(self) -> None:
        """Flushes the stream."""
        self.stream.flush()


def interrupt(*_: object) -> None:
    """Ends the kernel quietly: its output and a second Ctrl-C are ignored."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable()
    raise KeyboardInterrupt


def main(notebook: str, copy: str, *options: str) -> int:
    """Returns the exit status: 0 done, 1 a cell failed, 130 interrupted."""
    signal.signal(signal.SIGINT, interrupt)
    try:
        papermill.execute_notebook(
            notebook,
            copy,
            parameters=dict(option.split("=", 1) for option in options),
            # JupyterLab, too, starts a notebook in its folder, to which the links are relative.
            cwd=Path(copy).parent,
            progress_bar=False,
            stdout_file=Screen(sys.stdout),
            stderr_file=Screen(sys.stderr),
            config=PRIVATE,
            kernel_manager_class=Manager,
            extra_arguments=QUIET,
        )
    except PapermillExecutionError as error:
        print(f"{error.ename}: {error.evalue}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; make demo continues after the last commit", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
