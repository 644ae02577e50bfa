"""Images and their contents as a Spark DataFrame, for a saved model."""

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from fruits.sources.folder import SUFFIXES
from fruits.storage.location import hadoop_uri


def label_of(path: Column) -> Column:
    """The label that a path tells: the name of its parent folder."""
    return F.element_at(F.split(path, "/"), -2)


def read_images(spark: SparkSession, uri: str) -> DataFrame:
    """The images below ``uri`` with their contents, read by Spark itself.

    This is what a saved model is applied to: ``model.transform(read_images(spark, uri))``.

    Returns:
        path string, label string, content binary, length long, modified timestamp.
    """
    pattern = "*.{" + ",".join(s + "," + s.upper() for s in (s[1:] for s in SUFFIXES)) + "}"
    files = spark.read.format("binaryFile").options(
        recursiveFileLookup=True, pathGlobFilter=pattern
    )
    return files.load(hadoop_uri(uri)).select(
        "path",
        label_of(F.col("path")).alias("label"),
        "content",
        "length",
        F.col("modificationTime").alias("modified"),
    )
