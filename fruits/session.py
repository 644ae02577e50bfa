"""Get or create the Spark session."""

import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession

CHECKOUT_CONF = Path(__file__).resolve().parent.parent / "conf"


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


def stop_spark() -> None:
    """Stops the active session, if there is one."""
    if session := SparkSession.getActiveSession():
        session.stop()
