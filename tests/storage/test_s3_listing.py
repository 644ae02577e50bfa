from hashlib import sha256
from typing import Any

import pytest

from fruits.errors import StorageError
from fruits.storage import s3_listing
from fruits.storage.location import Location
from fruits.storage.s3 import RetryingS3
from fruits.storage.walk import files_in, walk

AT_BOUNDS = ["0", "00", "000", "0000", "001", "01", "011", "0~", "1", "10", "11", "1~", "2", "20"]
AT_BOUNDS += ["/0", "/1", "!", "!0"]
SHAPES = {
    "one folder": [f"in/{n:02}.jpg" for n in range(40)],
    "folders of one file": [f"in/{n:02}/a.jpg" for n in range(40)],
    "few folders of many": [f"in/{n % 3}/{n:02}.jpg" for n in range(40)],
    "deep folders": [f"in/a/{n % 2}/{n % 5}/b/c/{n:02}.jpg" for n in range(40)],
    "files and folders": [f"in/{'x/' * (n % 4)}{n:02}.jpg" for n in range(40)],
    "random names": [f"in/{sha256(bytes([n])).hexdigest()}.jpg" for n in range(40)],
    "names of any characters": [
        f"in/{one}{other}"
        for one in "0~é\ud7ff\ue000\U0001f600\U0010ffff"
        for other in "a0\u4e2d~. z"
    ],
    "names at the bounds": [f"in/{name}" for name in AT_BOUNDS],
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


@pytest.mark.parametrize(("most", "pages"), [(2, 1), (1_000, 4)])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_object_of_every_page_is_listed_once(
    bucket: Any,
    requests: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    shape: str,
    most: int,
    pages: int,
) -> None:
    monkeypatch.setattr(s3_listing, "_PAGES", pages)
    monkeypatch.setattr(s3_listing, "_MOST_PREFIXES", most)
    bucket.put_object(Key="in/", Body=b"")
    for key in (*SHAPES[shape], "in.jpg", "inner/1.jpg"):
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
    assert len(requests) < 30


@pytest.mark.parametrize("shape", ["one folder", "folders of one file", "random names"])
def test_a_long_listing_is_divided_and_its_pages_are_requested_in_parallel(
    bucket: Any, requests: list[dict[str, Any]], shape: str
) -> None:
    for key in SHAPES[shape]:
        bucket.put_object(Key=key, Body=b"x")
    assert len(list(walk(Location.of("s3a://fruits/in"), lambda name: True))) == 40
    starts = {one["ContinuationToken"] for one in requests if "ContinuationToken" in one}
    assert len(starts) < 14
    assert any("StartAfter" in one for one in requests)


def test_a_store_that_ignores_where_to_start_is_listed_in_one_piece(
    bucket: Any, requests: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = RetryingS3.list_objects

    def ignoring(self: RetryingS3, **options: Any) -> dict[str, Any]:
        options.pop("StartAfter", None)
        return page(self, **options)

    monkeypatch.setattr(RetryingS3, "list_objects", ignoring)
    monkeypatch.setattr(s3_listing, "_PAGES", 1)
    for key in SHAPES["one folder"]:
        bucket.put_object(Key=key, Body=b"x")
    names = [entry.name for entry in walk(Location.of("s3a://fruits/in"), lambda name: True)]
    assert sorted(f"in/{name}" for name in names) == SHAPES["one folder"]


def test_a_divided_listing_in_another_order_is_an_error(
    bucket: Any, requests: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = RetryingS3.list_objects

    def reversing(self: RetryingS3, **options: Any) -> dict[str, Any]:
        answer = page(self, **options)
        if "StartAfter" in options:
            answer["Contents"] = answer.get("Contents", [])[::-1]
        return answer

    monkeypatch.setattr(RetryingS3, "list_objects", reversing)
    monkeypatch.setattr(s3_listing, "_PAGES", 1)
    for key in SHAPES["one folder"]:
        bucket.put_object(Key=key, Body=b"x")
    with pytest.raises(StorageError, match=r"lists in/ in another one.* table of paths"):
        list(walk(Location.of("s3a://fruits/in"), lambda name: True))


@pytest.mark.parametrize("store", ["in order", "without StartAfter", "in another order"])
def test_only_a_range_of_names_in_a_folder_is_listed(
    bucket: Any, requests: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    page = RetryingS3.list_objects

    def other(self: RetryingS3, **options: Any) -> dict[str, Any]:
        if store == "without StartAfter" and "StartAfter" in options:
            raise OSError("InvalidRequest")
        if store == "in another order":
            options.pop("StartAfter", None)
        answer = page(self, **options)
        if store == "in another order":
            answer["Contents"] = answer.get("Contents", [])[::-1]
        return answer

    monkeypatch.setattr(RetryingS3, "list_objects", other)
    names = sorted(f"{number:02}.jpg" for number in range(40))
    for name in (*names, "", "20/a.jpg", "~/a.jpg"):
        bucket.put_object(Key=f"in/{name}", Body=b"x")
    folder = Location.of("s3a://fruits/in")
    assert sorted(entry.name for entry in files_in(folder)) == names
    requests.clear()
    found = [entry.name for entry in files_in(folder, "18.jpg", "23.jpg")]
    assert {*names[18:24]} <= {*found} <= {*names}
    assert len(found) == len({*found})
    assert len(requests) <= {"in order": 3, "without StartAfter": 9}.get(store, 15)
    with pytest.raises(FileNotFoundError):
        list(files_in(Location.of("s3a://fruits/nowhere")))
    with pytest.raises(NotADirectoryError):
        list(files_in(folder / "07.jpg"))
