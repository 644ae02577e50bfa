from pathlib import Path
from typing import Any

import pytest

from fruits.sources import parquet_source
from fruits.storage.s3 import RetryingS3


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes each test use its own cache of indexes."""
    monkeypatch.setenv("FRUITS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the names of the requests to S3, in order."""
    called: list[str] = []
    call = RetryingS3._call_s3

    async def counted(self: RetryingS3, method: str, *arguments: Any, **options: Any) -> Any:
        called.append(method)
        return await call(self, method, *arguments, **options)

    monkeypatch.setattr(RetryingS3, "_call_s3", counted)
    return called


@pytest.fixture
def row_groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects the numbers of the row groups of Parquet sources that are read, in order."""
    groups: list[int] = []
    read_group = parquet_source._read_group

    def watched(file: Any, group: int, *arguments: Any) -> Any:
        groups.append(group)
        return read_group(file, group, *arguments)

    monkeypatch.setattr(parquet_source, "_read_group", watched)
    return groups
