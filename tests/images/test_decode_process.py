"""The limits of the process that decodes; tests/images/test_decode_cost.py has those of files."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from fruits.images.decode_process import MAX_MEMORY

PROGRAM = """
import resource, sys
from fruits.images.decode_process import limit_memory
limit_memory(*sys.argv[1:])
print(*resource.getrlimit(resource.RLIMIT_AS), *resource.getrlimit(resource.RLIMIT_CORE))
"""


def limits(*arguments: str) -> list[int]:
    """Soft and hard limits of a process in bytes, of its memory and of its core files."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_memory_is_not_limited_where_the_size_of_the_process_is_unknown(tmp_path: Path) -> None:
    before = [*resource.getrlimit(resource.RLIMIT_AS)]
    assert limits(str(tmp_path / "nowhere")) == [*before, 0, 0]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size is not known")
def test_memory_is_limited_to_more_than_the_process_has_already() -> None:
    soft, hard, *core = limits()
    assert MAX_MEMORY < soft == hard < MAX_MEMORY + (16 << 30)
    assert core == [0, 0]
