"""Get or create the Spark session."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

CHECKOUT_CONF = Path(__file__).resolve().parents[2] / "conf"


def get_spark() -> SparkSession:
    """The active Spark session, or a new one that conf/spark-defaults.conf describes.

    Nothing is set here but the application's name: master, memory and endpoints come from
    ``SPARK_CONF_DIR`` and the environment. Where neither ``SPARK_CONF_DIR`` nor ``SPARK_HOME``
    says which configuration holds, the one beside this package does.
    """
    if not {"SPARK_CONF_DIR", "SPARK_HOME"} & os.environ.keys() and CHECKOUT_CONF.is_dir():
        os.environ["SPARK_CONF_DIR"] = str(CHECKOUT_CONF)
    # The workers' Python is the driver's own, not the first one on the PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return SparkSession.builder.appName("fruits").getOrCreate()


@contextmanager
def own_spark() -> Iterator[None]:
    """Stops at its end the session that was begun within; one that was there before stays."""
    before = SparkSession.getActiveSession()
    try:
        yield
    finally:
        session = SparkSession.getActiveSession()
        if session and not before:
            session.stop()
