"""The output of an interrupted run; each program in this file runs in a separate process."""

import subprocess
import sys

import pytest

# The command, with other code instead of the run.
PROGRAM = """
import signal, socket, time
import fruits.runs.pipeline
from fruits.cli import main
{definitions}
fruits.runs.pipeline.run = run
raise SystemExit(main(["run", "--images", "images", "--output", "out"]))
"""

# A call of py4j that is interrupted while it waits for a response, and whose connection is lost.
LOST_CONNECTION = """
from py4j.clientserver import ClientServerConnection, JavaClient, JavaParameters, PythonParameters
from py4j.java_gateway import GatewayProperty

java = socket.create_server(("127.0.0.1", 0))
settings = JavaParameters(port=java.getsockname()[1]), PythonParameters()
client = JavaClient(*settings, GatewayProperty(False, None))

class Stream:
    def readline(self):
        client.get_thread_connection().socket.shutdown(socket.SHUT_WR)
        raise KeyboardInterrupt

    def close(self):
        pass

def run(config):
    connection = client._create_new_connection()
    connection.stream = Stream()
    client.deque.append(connection)
    client.send_command("c")
"""

# Python prints an error in a finalizer, and continues.
FINALIZER = """
class Resource:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

def run(config):
    Resource()
    time.sleep(60)
    raise AssertionError("the run went on")
"""

# A call to a Java that has ended.
NO_JAVA = """
from py4j.java_gateway import JavaGateway

def run(config):
    JavaGateway().jvm.System.exit(0)
"""


def execute(definitions: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(definitions=definitions)],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("definitions", [LOST_CONNECTION, FINALIZER])
def test_an_interruption_is_one_line_at_any_time(definitions: str) -> None:
    done = execute(definitions)
    assert done.stderr == "fruits: interrupted\n"
    assert done.returncode == 130


def test_an_error_of_py4j_is_still_raised() -> None:
    done = execute(NO_JAVA)
    assert done.returncode == 1
    assert "Py4JNetworkError" in done.stderr.splitlines()[-1]
