from collections.abc import Iterator
from pathlib import Path

import pytest

from fruits.features.writer import FeatureWriter
from fruits.storage.location import Location
from fruits.storage.lock import exclusive


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureWriter]:
    """An empty table of features, which is locked."""
    with exclusive(f"file:{tmp_path}/out/_lock") as lock:
        yield FeatureWriter(Location.of(f"{tmp_path}/out/features"), lock)
