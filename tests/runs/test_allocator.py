"""The process of a run returns freed memory."""

import os
import platform
import subprocess
import sys

import pyarrow as pa
import pytest

# Prints the resident memory in kB before making many tables, with them, and after freeing them.
PROGRAM = """
import numpy as np
import pyarrow as pa
from fruits.runs.allocator import return_freed_memory

def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if "VmRSS" in line)

return_freed_memory()
before = resident()
for _ in range(3):
    kept = [(pa.nulls(n * 10_000, pa.int64()), np.ones(n * 10_000)) for n in range(1, 100)]
    most = resident()
    del kept
return_freed_memory()
print(before, most, resident())
"""


# Prints the allocators that Arrow has used to write and read a file.
ARROW = """
import io
import IMPORTED
import pyarrow as pa
import pyarrow.parquet as pq
from fruits.runs.allocator import return_freed_memory

return_freed_memory()
file = io.BytesIO()
pq.write_table(pa.table({"number": range(100_000)}), file)
pq.ParquetFile(file).read(use_threads=False)
pools = [getattr(pa, f"{name}_memory_pool")() for name in pa.supported_memory_backends()]
print(*sorted(pool.backend_name for pool in pools if pool.max_memory()))
"""


def output_of(program: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_process_returns_what_it_has_freed_to_the_system():
    output = output_of(PROGRAM, {**os.environ})
    before, most, after = map(int, output.split())
    assert most - before > 400_000
    assert after - before < 40_000


@pytest.mark.parametrize("imported", ["fruits.cli.commands", "fruits.runs.pipeline"])
def test_arrow_writes_and_reads_files_with_the_allocator_that_returns_memory(imported: str) -> None:
    others = {name: value for name, value in os.environ.items() if "MEMORY_POOL" not in name}
    assert output_of(ARROW.replace("IMPORTED", imported), others).split() == ["system"]


def test_another_allocator_of_arrow_can_be_chosen() -> None:
    other = next(name for name in pa.supported_memory_backends() if name != "system")
    chosen = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": other}
    output = output_of(ARROW.replace("IMPORTED", "fruits.runs.pipeline"), chosen)
    assert output.split() == sorted([other, "system"])
