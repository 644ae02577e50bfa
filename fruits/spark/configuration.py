"""The configuration of Spark, as far as it is known before Spark starts. Imports no PySpark."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fruits.spark.active import active_session

CHECKOUT = Path(__file__).resolve().parents[2] / "conf"
"""The configuration next to this package."""

# Variables of a platform or of a user who starts Spark with arguments.
_STARTED = ("PYSPARK_GATEWAY_PORT", "PYSPARK_SUBMIT_ARGS", "SPARK_REMOTE")


def uses_checkout() -> bool:
    """Whether :data:`CHECKOUT` is the configuration: the environment names no other one."""
    return not {"SPARK_CONF_DIR", "SPARK_HOME"} & os.environ.keys() and CHECKOUT.is_dir()


def may_do_without_spark() -> bool:
    """Whether nobody notices if a run starts no Spark.

    It is false if there is a session, if a platform or the user starts Spark with arguments, and
    if the configuration names a cluster.
    """
    if active_session() is not None or any(name in os.environ for name in _STARTED):
        return False
    return (master() or "local").startswith("local")


def local_tasks(cores: int) -> int:
    """The number of tasks at a time of a local master, such as ``local[2]``.

    Args:
        cores: The cores of this machine.
    """
    where = master() or "local[*]"
    number = re.match(r"local\[(\d+)", where)
    if number:
        return max(1, int(number[1]))
    return cores if "*" in where else 1


def master() -> str | None:
    """``spark.master`` in spark-defaults.conf; None if it is not set there."""
    folder = _folder()
    try:
        text = (folder / "spark-defaults.conf").read_text() if folder else ""
    except OSError:
        return None
    found = re.findall(r"^\s*spark\.master[\s=:]+(\S+)", text, re.MULTILINE)
    return found[-1] if found else None


def _folder() -> Path | None:
    if folder := os.environ.get("SPARK_CONF_DIR"):
        return Path(folder)
    if home := os.environ.get("SPARK_HOME"):
        return Path(home) / "conf"
    return CHECKOUT if uses_checkout() else None
