"""Get or create the Spark session."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from fruits.errors import ConfigError, one_line
from fruits.spark.cluster import require_cluster
from fruits.spark.failures import java_ended
from fruits.spark.interruption import quiet_interruption
from fruits.spark.java import require_java

# What the reads, writes and comparisons of a run mean, whatever session it is given: notebooks and
# platforms bring one with settings of their own. Sizes and places are not set here.
MEANING = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.caseSensitive": "false",
    "spark.sql.ansi.enabled": "true",
    # A file that is damaged or gone is an error, not an empty table.
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.parquet.binaryAsString": "false",
    "spark.sql.parquet.mergeSchema": "false",
    # Python functions get the Arrow types that they declare, in batches that fit into memory.
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1024",
}

CHECKOUT_CONF = Path(__file__).resolve().parents[2] / "conf"


def get_spark(purpose: str = "") -> SparkSession:
    """The active Spark session, or a new one that conf/spark-defaults.conf describes.

    Nothing is set here but the application's name: master, memory and endpoints come from
    ``SPARK_CONF_DIR`` and the environment. Where neither ``SPARK_CONF_DIR`` nor ``SPARK_HOME``
    says which configuration to use, the one next to this package is used.

    Args:
        purpose: distinguishes applications in Spark's lists: this one is ``fruits: PURPOSE``.

    Raises:
        ConfigError: when there is no Java that Spark can use, when the session is one of Spark
            Connect, or when Spark refuses its settings.
        ClusterError: when the master of a standalone cluster refuses the secret or is missing.
    """
    if is_remote():
        raise ConfigError(
            "spark: wanted a session whose driver is in this process; SPARK_REMOTE asks for Spark "
            "Connect, which has no broadcasts: unset it, and name a master instead"
        )
    if not {"SPARK_CONF_DIR", "SPARK_HOME"} & os.environ.keys() and CHECKOUT_CONF.is_dir():
        os.environ["SPARK_CONF_DIR"] = str(CHECKOUT_CONF)
    # The workers' Python is the driver's own, not the first one on the PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Where a platform has started Spark's Java, its port is here.
    if SparkContext._gateway is None and "PYSPARK_GATEWAY_PORT" not in os.environ:
        require_java()
    if SparkSession.getActiveSession() is None:
        require_cluster()
    name = f"fruits: {purpose}" if purpose else "fruits"
    try:
        return SparkSession.builder.appName(name).getOrCreate()
    except Py4JJavaError as error:
        raise ConfigError(
            f"spark: no session could be started: {one_line(error.java_exception.getMessage())}; "
            "check spark-defaults.conf in SPARK_CONF_DIR, and PYSPARK_SUBMIT_ARGS"
        ) from error


def run_session(spark: SparkSession) -> SparkSession:
    """A session for a run, in the same application, in which :data:`MEANING` holds.

    The settings of the session that is given stay as they are.
    """
    session = spark.newSession()
    for name, value in MEANING.items():
        session.conf.set(name, value)
    return session


@contextmanager
def own_spark() -> Iterator[None]:
    """Stops at its end the session that was begun within; one that was there before stays.

    After an interruption it is not asked to stop: a call may be under way on the connection to
    Java, which ends with this process.
    """
    before = SparkSession.getActiveSession()
    with quiet_interruption():
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException:
            _stop_begun(before)
            raise
        else:
            _stop_begun(before)


def _stop_begun(before: SparkSession | None) -> None:
    if java_ended():
        return
    session = SparkSession.getActiveSession()
    if session and not before:
        session.stop()
