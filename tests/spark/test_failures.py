"""Failures of Spark that are reported in one line."""

import subprocess
import sys

import pytest

from fruits.spark.failures import spark_errors

# The command, with a run that kills its Java, like the system if memory runs out.
KILLED_JAVA = """
import fruits.runs.pipeline
from fruits.cli import main
from fruits.spark.failures import spark_errors
from fruits.spark.session import get_spark

def run(config):
    spark = get_spark()
    with spark_errors():
        spark.sparkContext._gateway.proc.kill()
        spark.range(3).count()

fruits.runs.pipeline.run = run
raise SystemExit(main(["run", "--images", "images", "--output", "out"]))
"""

# Tasks that use a shared value while Java is killed.
KILLED_WHILE_SHARED = """
from fruits.spark.session import get_spark
from fruits.spark.workers import SparkWorkers

spark = get_spark()
with SparkWorkers(spark).share("value"):
    spark.sparkContext._gateway.proc.kill()
    spark.sparkContext._gateway.proc.wait()
    raise SystemExit("the first error")
"""


@pytest.mark.spark
def test_a_java_that_was_killed_is_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_JAVA], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("fruits: Spark's Java ended, most likely")
    assert "Traceback" not in done.stderr


@pytest.mark.spark
def test_a_shared_value_that_java_no_longer_has_hides_no_other_error() -> None:
    program = [sys.executable, "-c", KILLED_WHILE_SHARED]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "the first error"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("[Errno 111] Connection refused"),
        # PySpark raises it if it is interrupted while it connects.
        UnboundLocalError("cannot access local variable 'sockfile'"),
    ],
)
def test_an_error_caused_by_an_interruption_is_raised_as_interruption(error: Exception) -> None:
    error.__context__ = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt), spark_errors():
        raise error


def test_an_error_of_unknown_cause_passes_unchanged() -> None:
    error = OSError("of unknown cause")
    with pytest.raises(OSError, match="of unknown cause") as raised, spark_errors():
        raise error
    assert raised.value is error
