"""Tables in Parquet, read by Spark: all of them, whatever the session's settings."""

from pyspark.sql import DataFrame, SparkSession

from fruits.storage.location import Location, spark_path


def read_parquet(
    spark: SparkSession, *places: str | Location, schema: str | None = None
) -> DataFrame:
    """The table in a folder, or in some files.

    A file that is damaged, or missing since the folder was listed, fails the query: a session may
    be set to leave such files out, which would lose rows.

    Args:
        spark: the session.
        places: of the folder, or of its files; nothing in their names is a pattern.
        schema: in Spark's DDL; by default, that of the files.
    """
    reader = spark.read.options(
        ignoreCorruptFiles=False, ignoreMissingFiles=False, mergeSchema=False
    )
    return (reader.schema(schema) if schema else reader).parquet(*map(spark_path, places))
