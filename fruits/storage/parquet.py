"""Reads Parquet files that are in memory.

Files of Python, and bytes, are read without Arrow's threads. Otherwise, a thread of Arrow that
still has such an object when Python ends would abort the process, after all work is done
(https://github.com/apache/arrow/issues/34314).
"""

import pyarrow as pa
import pyarrow.parquet as pq


def parquet_table(content: bytes) -> pa.Table:
    """All rows of a Parquet file.

    Args:
        content: The content of the file.

    Raises:
        pa.ArrowException: The content is not a Parquet file, or damaged.
        OSError: A page of the file is damaged.
    """
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        return file.read(use_threads=False)
