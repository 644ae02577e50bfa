"""Images and their contents as a Spark DataFrame, for a saved model."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql.functions import arrow_udf  # type: ignore[attr-defined]

from fruits.sources.folder import READ_AHEAD_BYTES
from fruits.sources.members import in_file_order
from fruits.sources.naming import Naming
from fruits.sources.open_source import open_source
from fruits.sources.reading import contents_of


def label_of(path: Column, naming: Naming) -> Column:
    """The labels of paths, by the same rules as in a run."""

    @arrow_udf("string")  # type: ignore[untyped-decorator]
    def labels(paths: pa.Array) -> pa.Array:
        return naming.labels(paths)

    found: Column = labels(path)
    return found


def read_images(
    spark: SparkSession, images: str | Sequence[str], naming: Naming | None = None
) -> DataFrame:
    """The images of a folder, an archive or a table with their contents: those that a run finds.

    Apply a saved model to them: `model.transform(read_images(spark, images))`. The images are
    listed at once; their contents are read when the table is used.

    Args:
        spark: A session.
        images: A path or URI, several with commas between them (as in `--images`), or a sequence.
        naming: The rules that give labels and splits from paths.

    Returns:
        path string, label string, split string, content binary, length long, modified timestamp.
        The content of an image that cannot be read is null.

    Raises:
        InputError: as the listing of :class:`fruits.sources.open_source.Sources`.
        StorageError: the store cannot be used.
    """
    # Not by Spark's listing, which ignores names with a leading "_" and reads "[a]" as a pattern.
    # Neighbours are read together.
    files = spark.createDataFrame(in_file_order(open_source(images, naming).found().images.table()))
    columns = "path string, label string, split string, content binary, length long, "
    return files.mapInArrow(_with_contents, columns + "modified timestamp")


def _with_contents(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        lengths = batch["length"].to_pylist()
        contents: list[bytes | None] = []
        start = size = 0
        for number, content in enumerate(contents_of(pa.table(batch)), start=1):
            contents.append(content if isinstance(content, bytes) else None)
            size += lengths[number - 1]
            # Limit the memory to the contents of a few large photographs.
            if size >= READ_AHEAD_BYTES or number == batch.num_rows:
                part = batch.slice(start, number - start)
                columns = {name: part[name] for name in ("path", "label", "split")}
                columns |= {"content": pa.array(contents, pa.binary())}
                columns |= {name: part[name] for name in ("length", "modified")}
                yield pa.record_batch(columns)
                contents, start, size = [], number, 0
