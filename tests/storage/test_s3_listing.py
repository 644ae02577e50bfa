from typing import Any

import pytest

from fruits.storage import s3_listing
from fruits.storage.location import Location
from fruits.storage.s3 import RetryingS3
from fruits.storage.walk import walk

SHAPES = {
    "one folder": [f"in/{n:02}.jpg" for n in range(40)],
    "folders of one file": [f"in/{n:02}/a.jpg" for n in range(40)],
    "few folders of many": [f"in/{n % 3}/{n:02}.jpg" for n in range(40)],
    "deep folders": [f"in/a/{n % 2}/{n % 5}/b/c/{n:02}.jpg" for n in range(40)],
    "files and folders": [f"in/{'x/' * (n % 4)}{n:02}.jpg" for n in range(40)],
}


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The requests for pages, which have three objects each."""
    made: list[dict[str, Any]] = []
    page = RetryingS3.list_objects

    def small(self: RetryingS3, **options: Any) -> dict[str, Any]:
        made.append(options)
        return page(self, **options, MaxKeys=3)

    monkeypatch.setattr(RetryingS3, "list_objects", small)
    return made


@pytest.mark.parametrize("most", [2, 1_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_object_of_every_page_is_listed_once(
    bucket: Any,
    requests: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    shape: str,
    most: int,
) -> None:
    monkeypatch.setattr(s3_listing, "_MOST_PREFIXES", most)
    for key in (*SHAPES[shape], "in/", "in.jpg", "inner/1.jpg"):
        bucket.put_object(Key=key, Body=b"x" * len(key))
    entries = list(walk(Location.of("s3a://fruits/in"), lambda name: True))
    wanted = sorted(key.removeprefix("in/") for key in SHAPES[shape])
    assert sorted(entry.name for entry in entries) == wanted
    assert all(entry.length == len(f"in/{entry.name}") for entry in entries)
    everything = {entry.name for entry in walk(Location.of("s3a://fruits"), lambda name: True)}
    assert everything == {*SHAPES[shape], "in.jpg", "inner/1.jpg"}


def test_folders_with_one_file_need_no_request_each(
    bucket: Any, requests: list[dict[str, Any]]
) -> None:
    for key in SHAPES["folders of one file"]:
        bucket.put_object(Key=key, Body=b"x")
    assert len(list(walk(Location.of("s3a://fruits/in"), lambda name: True))) == 40
    assert len(requests) == 1 + 14
