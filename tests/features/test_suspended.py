"""A run that was suspended may commit after another run has taken its lock over."""

from pathlib import Path
from typing import Any

import pytest

from fruits.errors import OutputError
from fruits.features import writer
from fruits.features.rows import FEATURES, REJECTED, write_rows
from fruits.features.writer import FeatureWriter
from fruits.storage.files import replace
from fruits.storage.location import Location
from fruits.storage.lock import Lock

ROWS = f"{1:032x}.parquet"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return tmp_path / "out" / "features" / "_chunks" / "000000.json"


def test_it_does_not_replace_what_the_other_run_has_committed(
    store: FeatureWriter, manifest: Path
) -> None:
    assert store.chunks() == []
    other = FeatureWriter(store.root, store.lock)
    write_rows(other.staged / ROWS, FEATURES.empty_table())
    other.commit([ROWS], REJECTED.empty_table())
    before = manifest.read_bytes()

    # The lock was its own when it last looked.
    with pytest.raises(OutputError, match=r"another run has written .*000000\.json"):
        store.commit([], REJECTED.empty_table(), ["engine"])

    assert manifest.read_bytes() == before
    assert [*manifest.parent.iterdir()] == [manifest]


def test_it_adds_nothing_to_a_chunk_after_it_has_lost_the_lock(
    store: FeatureWriter, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = store.commit([], REJECTED.empty_table())
    before = manifest.read_bytes()
    write_rows(store.staged / ROWS, FEATURES.empty_table())
    move = writer.move

    def suspended(*files: Any) -> None:
        move(*files)
        replace(Location.of(store.lock.uri), Lock(store.lock.uri).bytes())

    monkeypatch.setattr(writer, "move", suspended)
    with pytest.raises(OutputError, match="this run lost"):
        store.commit([ROWS], REJECTED.empty_table(), chunk=chunk)

    assert manifest.read_bytes() == before
    replace(Location.of(store.lock.uri), store.lock.bytes())  # The fixture gives the lock back.
