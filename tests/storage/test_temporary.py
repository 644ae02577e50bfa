import hashlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from fruits.errors import StorageError
from fruits.sources import parts
from fruits.sources.indexes import new_index
from fruits.sources.listing import LISTING
from fruits.sources.spread import Spread, gather
from fruits.storage.temporary import temporary_folder

PROGRAM = """
import time
from pathlib import Path
from fruits.storage.temporary import temporary_folder
folder = temporary_folder()
Path(folder.name, "part").touch()
print(folder.name, flush=True)
time.sleep(600)
"""


def start() -> tuple["subprocess.Popen[str]", Path]:
    """Starts a process with a temporary folder."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of this process and its children."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_temporary_files_of_a_killed_process_are_deleted_by_the_next_one(place: Path) -> None:
    (killed, old), (running, used) = start(), start()
    killed.kill()
    killed.wait()
    other = place / f"fruits-parts-{socket.gethostname()}-other"
    other.symlink_to(place.parent)
    elsewhere = place / f"fruits-parts-{socket.gethostname()}-1-abcdefgh"  # Of the host "...-1".
    elsewhere.mkdir()
    new = temporary_folder()
    assert old.exists()  # Its owner might not have locked it yet.
    for folder in (old, used, elsewhere, Path(new.name)):
        os.utime(folder, (0, 0))
    newer = temporary_folder()
    running.kill()
    running.wait()
    kept = {used, Path(new.name), Path(newer.name), other, elsewhere}
    assert set(place.iterdir()) == kept


def test_the_parts_of_a_long_listing_are_in_such_a_folder(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "IN_MEMORY", 5)
    monkeypatch.setattr(parts, "PART_ROWS", 8)
    rows = [{"path": f"{n:02}"} for n in range(40)]
    found = gather([LISTING.empty_table().from_pylist(rows, LISTING)], LISTING)
    assert [folder.name[:13] for folder in place.iterdir()] == ["fruits-parts-"]
    assert found.num_rows == 40
    del found
    assert not list(place.iterdir())


@pytest.fixture
def _full() -> Iterator[None]:
    """No file can grow beyond 4,096 bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_missing_folder_for_temporary_files_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(StorageError, match=r"TMPDIR: wanted to write .*gone.*another folder") as e:
        temporary_folder()
    assert str(e.value).isprintable()


@pytest.mark.usefixtures("_full")
def test_a_full_disk_for_temporary_files_is_not_a_fault_of_the_listed_files() -> None:
    paths = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(1000)]
    table = pa.table({"path": paths})
    with pytest.raises(StorageError, match="TMPDIR: wanted to write temporary files"):
        new_index(lambda: iter([table]))
    spread = Spread(table.schema, ["5"])
    with pytest.raises(StorageError, match="TMPDIR: wanted to write temporary files"):
        spread.add(table)


def test_an_error_of_the_listed_file_is_not_a_fault_of_the_disk() -> None:
    def broken() -> Iterator[pa.Table]:
        yield pa.table({"path": ["a"]})
        raise OSError("the archive is cut short")

    with pytest.raises(OSError, match="cut short"):
        new_index(broken)
