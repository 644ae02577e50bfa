"""Of several writers, one creates a file, also on file systems without hard links."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fruits.errors import StorageError
from fruits.storage import new_name
from fruits.storage.files import create
from fruits.storage.location import Location
from fruits.storage.lock import exclusive

NO_LINKS = [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS]


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes a file system refuse hard links with an error."""

    def refuse(number: int) -> None:
        def link(*paths: str) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "link", link)

    return refuse


@pytest.mark.parametrize("number", NO_LINKS)
def test_a_file_system_without_hard_links_creates_a_file_once(
    without_links: Callable[[int], None], number: int, tmp_path: Path
) -> None:
    without_links(number)
    file = tmp_path / "new" / "file"
    assert create(Location.of(str(file)), b"first")
    assert not create(Location.of(str(file)), b"second")
    assert file.read_bytes() == b"first"
    assert [*file.parent.iterdir()] == [file]
    with exclusive(str(tmp_path / "_lock")) as lock:
        lock.require()


def test_a_file_system_that_cannot_create_a_file_in_one_step_is_named_in_one_line(
    without_links: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_links(errno.EPERM)
    monkeypatch.setattr(new_name, "_rename", lambda path, name: errno.EINVAL)
    with (
        pytest.raises(StorageError, match=r"_lock: wanted a file system with hard links.*another"),
        exclusive(str(tmp_path / "_lock")),
    ):
        pytest.fail("two runs could write here")
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_may_not_be_written_is_not_taken_for_one_without_links(
    without_links: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_links(errno.EPERM)
    monkeypatch.setattr(new_name, "_rename", lambda path, name: errno.EROFS)
    with pytest.raises(OSError, match="Read-only file system"):
        create(Location.of(f"{tmp_path}/file"), b"")
