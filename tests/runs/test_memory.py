"""The process of a run returns freed memory."""

import platform
import subprocess
import sys

import pytest

# Prints the resident memory in kB before making many tables, with them, and after freeing them.
PROGRAM = """
import numpy as np
import pyarrow as pa
from fruits.runs.memory import return_freed_memory

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_process_returns_what_it_has_freed_to_the_system():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    before, most, after = map(int, done.stdout.split())
    assert most - before > 400_000
    assert after - before < 40_000
