"""Reads Parquet files that are in memory."""

import pyarrow as pa
import pyarrow.parquet as pq


def parquet_table(content: bytes) -> pa.Table:
    """All rows of a Parquet file.

    Not with ``pq.read_table``: if a process ends directly after it, one of Arrow's threads may
    abort the process (https://github.com/apache/arrow/issues/34314).

    Args:
        content: The content of the file.

    Raises:
        pa.ArrowException: The content is not a Parquet file, or damaged.
        OSError: A page of the file is damaged.
    """
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        return file.read()
