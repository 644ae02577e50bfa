"""Starts Spark's Java with the configuration of this project."""

import os
import sys

from pyspark import SparkContext
from pyspark.sql.utils import is_remote

from fruits.errors import ConfigError
from fruits.spark.configuration import CHECKOUT, uses_checkout
from fruits.spark.java import require_java


def start_java() -> None:
    """Starts Spark's Java, or connects to the one that a platform has started.

    Raises:
        ConfigError: There is no Java that Spark can use, or the session is one of Spark Connect.
    """
    if is_remote():
        raise ConfigError(
            "spark: wanted a session whose driver is in this process; SPARK_REMOTE asks for Spark "
            "Connect, which has no broadcasts: unset it, and name a master instead"
        )
    if uses_checkout():
        os.environ["SPARK_CONF_DIR"] = str(CHECKOUT)
    # Workers use the Python of the driver, not the first one on the PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # This variable is set if a platform has started Spark's Java.
    if SparkContext._gateway is None and "PYSPARK_GATEWAY_PORT" not in os.environ:
        require_java()
    SparkContext._ensure_initialized()
