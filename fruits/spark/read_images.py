"""Images and their contents as a Spark DataFrame, for a saved model."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql.functions import arrow_udf  # type: ignore[attr-defined]

from fruits.sources.folder import READ_AHEAD_BYTES, contents_of, list_images
from fruits.sources.naming import Naming
from fruits.storage.location import Location


def label_of(path: Column, naming: Naming) -> Column:
    """The labels of paths, by the same rule as those of a run."""

    @arrow_udf("string")  # type: ignore[untyped-decorator]
    def labels(paths: pa.Array) -> pa.Array:
        return naming.labels(paths)

    found: Column = labels(path)
    return found


def read_images(spark: SparkSession, place: str | Location) -> DataFrame:
    """The images below a folder with their contents: the same ones that a run finds there.

    This is what a saved model is applied to: `model.transform(read_images(spark, place))`. The
    folder is listed at once, the contents are read when the table is used.

    Returns:
        path string, label string, content binary, length long, modified timestamp. The content of a
        file that cannot be read is null.

    Raises:
        InputError: as :func:`fruits.sources.folder.find_images`.
        StorageError: the store cannot be used.
    """
    # Spark's own listing leaves out names that begin with "_", and takes "[a]" for a pattern.
    files = spark.createDataFrame(list_images(place))
    columns = "path string, label string, content binary, length long, modified timestamp"
    return files.mapInArrow(_with_contents, columns)


def _with_contents(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        lengths = batch["length"].to_pylist()
        contents: list[bytes | None] = []
        start = size = 0
        for number, content in enumerate(contents_of(batch), start=1):
            contents.append(content if isinstance(content, bytes) else None)
            size += lengths[number - 1]
            # Contents of a few large photographs at a time are in memory.
            if size >= READ_AHEAD_BYTES or number == batch.num_rows:
                part = batch.slice(start, number - start)
                columns = {
                    "path": part["path"],
                    "label": part["label"],
                    "content": pa.array(contents, pa.binary()),
                    "length": part["length"],
                    "modified": part["modified"],
                }
                yield pa.record_batch(columns)
                contents, start, size = [], number, 0
