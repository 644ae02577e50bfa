"""Reads Parquet tables with Spark: all of their rows, with any settings of the session."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from fruits.features.rows import FEATURES
from fruits.features.table import FeatureTable
from fruits.spark.failures import spark_errors
from fruits.storage.location import Location


def read_parquet(
    spark: SparkSession, *places: Location, schema: StructType | str | None = None
) -> DataFrame:
    """The table in a folder, or in some files.

    A damaged or missing file fails the query, even if the session's settings ignore such files,
    which would lose rows.

    Args:
        spark: The session.
        places: The folder, or its files. Special characters in names are not patterns.
        schema: The schema, of Spark's types or in its DDL; that of the files by default.

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
    schema = from_arrow_schema(FEATURES, prefer_timestamp_ntz=False)
    return read_parquet(spark, *table.files(), schema=schema)
