"""Files of features in groups, for tasks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from fruits.features import file_groups
from fruits.features.file_groups import file_sizes, group_files, task_groups
from fruits.storage.location import Location

SIZES = {"a": 4, "b": 4, "c": 9, "d": 1, "e": 1, "f": 1}


def test_groups_have_at_most_so_many_bytes_and_files_in_order():
    assert group_files([*SIZES], SIZES, 8) == [["a", "b"], ["c"], ["d", "e", "f"]]
    assert group_files([*SIZES], SIZES, 8, 2) == [["a", "b"], ["c"], ["d", "e"], ["f"]]
    assert group_files([], SIZES, 8) == []


class CachingFileSystem(LocalFileSystem):
    """Local files with cached listings, like those of some stores."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.listings: dict[str, Any] = {}

    def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        if path not in self.listings:
            self.listings[path] = super().ls(path, detail=detail, **options)
        return self.listings[path]

    def invalidate_cache(self, path: str | None = None) -> None:
        self.listings.clear()


def test_files_written_after_an_earlier_listing_have_sizes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    folder = replace(Location.of(str(tmp_path)), filesystem=CachingFileSystem())
    assert file_sizes(folder) == {"a": 1}
    (tmp_path / "b").write_bytes(b"xx")
    assert file_sizes(folder) == {"a": 1, "b": 2}


def test_tasks_get_few_small_files_or_one_large_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_groups, "TASK_BYTES", 8)
    monkeypatch.setattr(file_groups, "TASK_FILES", 2)
    for name, size in SIZES.items():
        (tmp_path / name).write_bytes(b"x" * size)
    folder = Location.of(str(tmp_path))
    assert file_sizes(folder) == SIZES
    groups = task_groups(folder, [folder / name for name in SIZES])
    names = [[file.path.rpartition("/")[2] for file in group] for group in groups]
    assert names == [["a", "b"], ["c"], ["d", "e"], ["f"]]
    assert task_groups(folder, []) == []
