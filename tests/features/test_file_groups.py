"""Files of features in groups, for tasks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

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


def names_of(groups: list[list[Location]]) -> list[list[str]]:
    return [[file.path.rpartition("/")[2] for file in group] for group in groups]


def test_tasks_get_few_small_files_or_one_large_one(tmp_path: Path) -> None:
    for name, size in SIZES.items():
        (tmp_path / name).write_bytes(b"x" * size)
    folder = Location.of(str(tmp_path))
    assert file_sizes(folder) == SIZES
    files = [folder / name for name in SIZES]
    assert names_of(task_groups(folder, files, 8, 2)) == [["a", "b"], ["c"], ["d", "e"], ["f"]]
    assert names_of(task_groups(folder, files, 100, 8)) == [[*SIZES]]
    assert task_groups(folder, [], 100, 8) == []


def test_a_small_table_is_divided_among_all_tasks_at_a_time(tmp_path: Path) -> None:
    folder = Location.of(str(tmp_path))
    files = [folder / f"{number}" for number in range(6)]
    for file in files:
        Path(file.path).write_bytes(b"xx")
    groups = names_of(task_groups(folder, files, 100, 8, at_least=2))
    assert groups == [["0", "1", "2"], ["3", "4", "5"]]
    assert len(task_groups(folder, files, 100, 8, at_least=4)) >= 4
    assert len(task_groups(folder, files, 100, 8, at_least=100)) == 6
