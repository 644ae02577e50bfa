import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from listings import find_images

from fruits.errors import InputError, StorageError
from fruits.sources.folder import read_contents
from fruits.sources.open_source import open_source
from fruits.storage.files import delete, delete_folder, move
from fruits.storage.location import Location
from fruits.storage.s3 import RetryingS3
from fruits.storage.walk import files_in, walk


def keys(bucket: Any) -> list[str]:
    return [one.key for one in bucket.objects.all()]


def fill(bucket: Any, *names: str) -> None:
    for name in names:
        bucket.put_object(Key=name, Body=name.encode())


def test_a_prefix_that_is_also_an_object_is_a_folder(bucket: Any) -> None:
    fill(bucket, "photos/Fig/1.jpg", "photos/Fig", "photos", "photos.jpg", "photos2/Fig/2.jpg")
    bucket.put_object(Key="photos/", Body=b"")
    bucket.put_object(Key="photos/Fig/", Body=b"")
    for place in ("s3a://fruits/photos", "s3://fruits/photos/", "S3A://fruits//photos"):
        listing = find_images(place)
        assert listing.images["path"].to_pylist() == ["s3a://fruits/photos/Fig/1.jpg"]
        assert listing.images["label"].to_pylist() == ["Fig"]
        assert listing.passed_over == {"no suffix": 1}
    with pytest.raises(InputError, match=r"s3a://fruits/photos\.jpg is a file"):
        find_images("s3a://fruits/photos.jpg")
    with pytest.raises(InputError, match=r"s3a://fruits/photo does not exist"):
        find_images("s3a://fruits/photo")
    with pytest.raises(InputError, match=r"s3a://nowhere/photos does not exist"):
        find_images("s3a://nowhere/photos")


def test_a_whole_bucket_is_a_folder_with_the_same_rules_as_on_disk(bucket: Any) -> None:
    fill(bucket, "Fig/_DSC1.JPG", ".trash/Fig/1.jpg", ".trash/Fig/2.jpg", "Fig/@eaDir/1.jpg")
    fill(bucket, "Fig/n.txt", "_Kiwi/1.heic", "2.jpg")
    listing = find_images("s3a://fruits")
    assert listing.images["path"].to_pylist() == [
        *("s3a://fruits/2.jpg", "s3a://fruits/Fig/_DSC1.JPG", "s3a://fruits/_Kiwi/1.heic"),
    ]
    assert listing.images["label"].to_pylist() == [None, "Fig", "_Kiwi"]
    assert listing.passed_over == {".txt": 1, "@eaDir": 1, "hidden": 2}  # Each object.
    fill(bucket, ".trash/all.zip")
    assert open_source("s3://fruits").found().passed_over == listing.passed_over | {"hidden": 3}


def test_an_object_with_the_name_of_a_folder_is_counted_unless_it_is_empty(bucket: Any) -> None:
    fill(bucket, "photos/", "photos/1.jpg", "photos/z.jpg/", "photos/.x/")
    bucket.put_object(Key="photos/Fig/", Body=b"")
    listing = find_images("s3a://fruits/photos")
    assert listing.images["path"].to_pylist() == ["s3a://fruits/photos/1.jpg"]
    assert listing.passed_over == {"hidden": 1, "name ends in /": 2}
    assert [one.name for one in files_in(Location.of("s3a://fruits/photos"))] == ["1.jpg"]


ODD = ["?.jpg", "a#b.jpg", "%41.jpg", "a+b.jpg", "[x].jpg", "{a,b}.jpg", "*.jpg", "\\.jpg", " .jpg"]
ODD += ["e\u0301.jpg", "a//b.jpg", "x?versionId=1.jpg", "a::b.jpg"]


def test_objects_with_any_valid_name_are_listed_and_read(bucket: Any) -> None:
    fill(bucket, *(f"photos [1]/{name}" for name in ODD))
    rows = find_images("s3a://fruits/photos [1]").images.to_pylist()
    assert {row["path"] for row in rows} == {f"s3a://fruits/photos [1]/{name}" for name in ODD}
    for row, content in zip(
        rows, read_contents((row["path"], row["length"]) for row in rows), strict=True
    ):
        assert content == row["path"].removeprefix("s3a://fruits/").encode()


def test_wildcards_in_names_are_literal_when_objects_are_deleted_or_moved(bucket: Any) -> None:
    fill(bucket, "out*/pca/1", "out1/pca/1", "out1/pca/[ab]", "out1/pca/a", "out1/pca/b")
    delete_folder(Location.of("s3a://fruits/out*/pca"))
    assert keys(bucket) == ["out1/pca/1", "out1/pca/[ab]", "out1/pca/a", "out1/pca/b"]
    delete(Location.of("s3a://fruits/out1/pca/[ab]"))
    assert keys(bucket) == ["out1/pca/1", "out1/pca/a", "out1/pca/b"]
    fill(bucket, "out1/staged/?")
    move([Location.of("s3a://fruits/out1/staged/?")], Location.of("s3a://fruits/o*"))
    assert keys(bucket) == ["o*/?", "out1/pca/1", "out1/pca/a", "out1/pca/b"]
    delete_folder(Location.of("s3a://fruits/nothing"))


def test_an_object_that_cannot_be_deleted_is_an_error(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bucket, "out/pca/1")
    call = RetryingS3._call_s3
    refused = {"Key": "out/pca/1", "Code": "AccessDenied", "Message": "locked"}

    async def refuse(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        answer = await call(self, method, *arguments, **options)
        return answer | {"Errors": [refused]} if method == "delete_objects" else answer

    monkeypatch.setattr(RetryingS3, "_call_s3", refuse)
    with pytest.raises(OSError, match=r"fruits/out/pca/1.*AccessDenied: locked"):
        delete_folder(Location.of("s3a://fruits/out"))


def test_a_prefix_that_may_not_be_listed_is_named_in_the_error(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bucket, "photos/Fig/1.jpg")
    call = RetryingS3._call_s3

    async def refuse(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        if method == "list_objects_v2" and not options.get("MaxKeys"):
            answer = {"Error": {"Code": "AccessDenied", "Message": "not allowed"}}
            raise ClientError(answer, "ListObjectsV2")
        return await call(self, method, *arguments, **options)

    monkeypatch.setattr(RetryingS3, "_call_s3", refuse)
    with pytest.raises(StorageError, match=r"s3a://fruits/photos.*AccessDenied: not allowed"):
        find_images("s3a://fruits/photos")


def test_other_stores_are_walked_by_the_same_rules() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("Fig/_1.jpg", "Fig/.2.jpg", ".x/3.jpg", "Lime/[4].PNG", "Lime/5.txt"):
        memory.pipe_file(f"/walked/{name}", name.encode())
    listing = find_images("memory://walked")
    paths = listing.images["path"].to_pylist()
    assert paths == ["memory://walked/Fig/_1.jpg", "memory://walked/Lime/[4].PNG"]
    assert listing.passed_over == {".txt": 1, "hidden": 2}
    contents = read_contents(zip(paths, listing.images["length"].to_pylist(), strict=True))
    assert list(contents) == [b"Fig/_1.jpg", b"Lime/[4].PNG"]
    memory.rm("/walked", recursive=True)


def test_a_folder_that_cannot_be_listed_in_another_store_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/refused/Fig/1.jpg", b"x")
    memory.pipe_file("/refused/Lime/1.jpg", b"x")
    ls = type(memory).ls

    def refuse(self: Any, path: str, **options: Any) -> Any:
        if path.endswith("Lime"):
            raise PermissionError(13, "Permission denied", path)
        return ls(self, path, **options)

    monkeypatch.setattr(type(memory), "ls", refuse)
    with pytest.raises(InputError, match=r"/refused/Lime cannot be listed"):
        find_images("memory://refused")
    monkeypatch.undo()
    memory.rm("/refused", recursive=True)


def replace_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    "change", [lambda folder: folder.rename(f"{folder} 2"), shutil.rmtree, replace_folder]
)
def test_a_folder_that_is_renamed_or_deleted_while_it_is_listed_is_an_error(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    folder = tmp_path / "images" / "Fig"
    folder.mkdir(parents=True)
    for number in range(9):
        (folder / f"{number}.jpg").touch()
    found = walk(Location.of(str(tmp_path / "images")), lambda _: True)
    next(found)
    change(folder)
    with pytest.raises(FileNotFoundError) as caught:
        list(found)
    assert caught.value.filename == str(folder)


def test_a_file_that_is_deleted_while_its_folder_is_listed_is_not_an_error(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"{number}.jpg").touch()
    found = walk(Location.of(str(tmp_path)), lambda _: True)
    first = next(found).name
    gone = next(file for file in tmp_path.iterdir() if file.name != first)
    gone.unlink()
    assert len([first, *found]) == 8


def test_a_location_in_s3_is_s3(bucket: Any) -> None:
    assert Location.of("s3a://fruits/a").is_s3
    assert not Location.of("memory://a").is_s3
    assert not Location.of("/a").is_s3


@pytest.mark.parametrize(
    ("name", "most"), [("{}.jpg", 20), ("{}/a.jpg", 150)], ids=["files", "folders"]
)
def test_files_are_not_kept_and_of_folders_only_the_names(
    tmp_path: Path, name: str, most: int
) -> None:
    count = 3_000
    for number in range(count):
        file = tmp_path / name.format(f"{number:020}")
        file.parent.mkdir(exist_ok=True)
        file.touch()
    tracemalloc.start()
    try:
        assert sum(1 for _ in walk(Location.of(str(tmp_path)), lambda _: True)) == count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most * count
