import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fruits.sources import parts
from fruits.sources.listing import LISTING
from fruits.sources.spread import gather
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
