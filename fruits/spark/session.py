"""Gets or creates the Spark session."""

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from fruits.errors import ConfigError, one_line
from fruits.spark.cluster import require_cluster
from fruits.spark.early_start import wait_for_java
from fruits.spark.gateway import start_java

# Settings that change the meaning of reads, writes and comparisons. A run fixes them, since the
# sessions of notebooks and platforms may have other values. Sizes and paths are not set here.
MEANING = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.caseSensitive": "false",
    "spark.sql.ansi.enabled": "true",
    # A damaged or missing file is an error, not an empty table.
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.parquet.binaryAsString": "false",
    "spark.sql.parquet.mergeSchema": "false",
    # Python functions get the Arrow types that they expect, in batches that fit into memory.
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1024",
}


def get_spark(purpose: str = "") -> SparkSession:
    """The active Spark session, or a new one that conf/spark-defaults.conf describes.

    Only the name of the application is set here: master, memory and endpoints come from
    ``SPARK_CONF_DIR`` and the environment. If neither ``SPARK_CONF_DIR`` nor ``SPARK_HOME`` is
    set, the configuration next to this package is used.

    Args:
        purpose: The second part of the application's name, ``fruits: PURPOSE``.

    Raises:
        ConfigError: There is no Java that Spark can use, the session is one of Spark Connect, or
            Spark refuses its settings.
        ClusterError: The master of a standalone cluster refuses the secret or is missing.
    """
    wait_for_java()
    start_java()
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
    """A new session for a run in the same application, with the settings :data:`MEANING`.

    The settings of the given session do not change.
    """
    session = spark.newSession()
    for name, value in MEANING.items():
        session.conf.set(name, value)
    return session
