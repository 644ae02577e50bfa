"""Reads Parquet tables with Spark: all of their rows, with any settings of the session."""

from pyspark.sql import DataFrame, SparkSession

from fruits.features.table import FeatureTable
from fruits.spark.failures import spark_errors
from fruits.storage.location import Location

# fruits.features.rows.FEATURES
_FEATURES = (
    "path string, label string, split string, sha256 string, length long, modified timestamp, "
    "features array<float>"
)


def read_parquet(spark: SparkSession, *places: Location, schema: str | None = None) -> DataFrame:
    """The table in a folder, or in some files.

    A damaged or missing file fails the query, even if the session's settings ignore such files,
    which would lose rows.

    Args:
        spark: The session.
        places: The folder, or its files. Special characters in names are not patterns.
        schema: The schema in Spark's DDL; that of the files by default.

    Raises:
        FruitsError: The files cannot be read, for a reason that the caller can fix.
    """
    reader = spark.read.options(
        ignoreCorruptFiles=False, ignoreMissingFiles=False, mergeSchema=False
    )
    with spark_errors():
        return (reader.schema(schema) if schema else reader).parquet(
            *(place.for_spark for place in places)
        )


def read_features(spark: SparkSession, table: FeatureTable) -> DataFrame:
    """All committed features."""
    # By name, since other programs may have put files into the folder.
    return read_parquet(spark, *table.files(), schema=_FEATURES)
