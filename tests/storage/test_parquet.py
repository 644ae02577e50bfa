"""Parquet files in memory."""

import io
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fruits.storage.parquet import parquet_table

ENDS_AT_ONCE = """
import io
import fruits.runs.pipeline
import pyarrow as pa
import pyarrow.parquet as pq
from fruits.runs.allocator import return_freed_memory
from fruits.storage.parquet import parquet_table

return_freed_memory()
file = io.BytesIO()
pq.write_table(pa.table({"number": range(100_000)}), file)
parquet_table(file.getvalue())
"""


def test_a_table_is_read_from_memory() -> None:
    table = pa.table({"name": ["Fig", None], "numbers": [[1, 2], []]})
    file = io.BytesIO()
    pq.write_table(table, file)
    assert parquet_table(file.getvalue()).equals(table)
    with pytest.raises(pa.ArrowException):
        parquet_table(b"no table")


def test_a_process_may_end_directly_after_it() -> None:
    for _ in range(5):  # With Arrow's threads, a third of the processes would be aborted.
        done = subprocess.run([sys.executable, "-c", ENDS_AT_ONCE], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
