"""Get or create the Spark session."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark import SparkContext
from pyspark.sql import SparkSession

from fruits.spark.cluster import require_cluster
from fruits.spark.java import require_java

CHECKOUT_CONF = Path(__file__).resolve().parents[2] / "conf"


def get_spark(purpose: str = "") -> SparkSession:
    """The active Spark session, or a new one that conf/spark-defaults.conf describes.

    Nothing is set here but the application's name: master, memory and endpoints come from
    ``SPARK_CONF_DIR`` and the environment. Where neither ``SPARK_CONF_DIR`` nor ``SPARK_HOME``
    says which configuration holds, the one beside this package does.

    Args:
        purpose: tells applications apart in Spark's lists: this one is ``fruits: PURPOSE``.

    Raises:
        ConfigError: when there is no Java that Spark can use.
        ClusterError: when the master of a standalone cluster refuses the secret or is missing.
    """
    if not {"SPARK_CONF_DIR", "SPARK_HOME"} & os.environ.keys() and CHECKOUT_CONF.is_dir():
        os.environ["SPARK_CONF_DIR"] = str(CHECKOUT_CONF)
    # The workers' Python is the driver's own, not the first one on the PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Where a platform has started Spark's Java, its port is here.
    if SparkContext._gateway is None and "PYSPARK_GATEWAY_PORT" not in os.environ:
        require_java()
    if SparkSession.getActiveSession() is None:
        require_cluster()
    return SparkSession.builder.appName(f"fruits: {purpose}" if purpose else "fruits").getOrCreate()


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
