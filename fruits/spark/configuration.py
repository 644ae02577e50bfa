"""The configuration of Spark, as far as it is known before Spark starts. Imports no PySpark."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

from fruits.spark.active import spark_is_active

CHECKOUT = Path(__file__).resolve().parents[2] / "conf"
"""The configuration next to this package."""

# Variables of a platform or of a user who starts Spark with arguments, or names its master.
_STARTED = ("PYSPARK_GATEWAY_PORT", "PYSPARK_SUBMIT_ARGS", "SPARK_REMOTE", "MASTER")


def uses_checkout() -> bool:
    """Whether :data:`CHECKOUT` is the configuration: the environment names no other one."""
    return not {"SPARK_CONF_DIR", "SPARK_HOME"} & os.environ.keys() and CHECKOUT.is_dir()


def may_do_without_spark() -> bool:
    """Whether nobody notices if a run starts no Spark.

    It is false if Spark runs in this process, if a platform or the user starts Spark with
    arguments, and if the configuration names a cluster.
    """
    if spark_is_active() or any(name in os.environ for name in _STARTED):
        return False
    return re.fullmatch(r"local(\[.*)?", master() or "local") is not None


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
        file = folder / "spark-defaults.conf" if folder else None
        text = file.read_text("utf-8", "replace") if file else ""
    except OSError:
        return None
    found = re.findall(r"^[ \t]*spark\.master[ \t=:]+(\S+)", text, re.MULTILINE)
    return found[-1] if found else None


def _folder() -> Path | None:
    """The folder of the configuration that Spark uses; None if there is none."""
    if folder := os.environ.get("SPARK_CONF_DIR"):
        return Path(folder)
    if home := os.environ.get("SPARK_HOME"):
        return Path(home) / "conf"
    if uses_checkout():
        return CHECKOUT
    spec = find_spec("pyspark")
    places = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    # PySpark is a package of its own, or a part of an installation of Spark.
    homes = (home for place in places for home in (place, place.parents[1]))
    return next((home / "conf" for home in homes if (home / "bin/spark-submit").is_file()), None)
