import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fruits.planning.resources import available_disk, available_memory


def test_the_space_of_earlier_results_is_available(tmp_path: Path) -> None:
    free = available_disk(str(tmp_path / "not" / "yet"))
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "part").write_bytes(bytes(9 << 20))
    (tmp_path / "something else").write_bytes(bytes(64 << 20))
    assert (
        abs(available_disk(str(tmp_path)) - shutil.disk_usage(tmp_path).free - (9 << 20)) < 9 << 20
    )
    assert 0 < free < math.inf
    assert available_disk("s3://bucket/out") == math.inf


class TestMemoryThere:
    TOTAL, SWAP = 8 << 30, 1 << 30

    @pytest.fixture
    def put(self, tmp_path: Path) -> Callable[[str, str], None]:
        def put(name: str, text: str) -> None:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

        put("meminfo", f"MemTotal: {self.TOTAL >> 10} kB\nSwapTotal: {self.SWAP >> 10} kB\n")
        put("self/cgroup", "0::/\n")
        return put

    def memory(self, tmp_path: Path) -> int:
        return available_memory(tmp_path, tmp_path / "cgroup")

    def test_available_memory_is_all_memory_without_limits(
        self, put: Callable[[str, str], None], tmp_path: Path
    ) -> None:
        assert self.memory(tmp_path) == self.TOTAL + self.SWAP
        put("cgroup/memory.max", "max\n")
        assert self.memory(tmp_path) == self.TOTAL + self.SWAP

    def test_available_memory_is_the_smallest_limit_of_all_parent_groups(
        self, put: Callable[[str, str], None], tmp_path: Path
    ) -> None:
        put("self/cgroup", "0::/a/b\n")
        put("cgroup/a/memory.max", f"{2 << 30}\n")
        put("cgroup/a/memory.swap.max", "0\n")
        put("cgroup/a/b/memory.max", f"{3 << 30}\n")
        assert self.memory(tmp_path) == 2 << 30
        put("cgroup/a/memory.swap.max", "max\n")
        assert self.memory(tmp_path) == (2 << 30) + self.SWAP

    def test_available_memory_follows_the_limit_of_version_1(
        self, put: Callable[[str, str], None], tmp_path: Path
    ) -> None:
        # As in a container, where its own group is the root.
        put("self/cgroup", "5:cpu:/docker/x\n4:memory:/docker/x\n")
        put("cgroup/memory/memory.limit_in_bytes", f"{2 << 30}\n")
        assert self.memory(tmp_path) == (2 << 30) + self.SWAP
