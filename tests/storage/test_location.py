import hashlib
import os
import pickle
from pathlib import Path

import pytest

from fruits.errors import StorageError
from fruits.storage.failures import store_errors
from fruits.storage.files import sha256_of
from fruits.storage.location import Location, filesystem_of


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/data/a b#c%20d", "file:/data/a b#c%20d"),
        ("file:/data/x", "file:/data/x"),
        ("file:///data/x", "file:/data/x"),
        ("/data/../data/x/", "file:/data/x"),
        ("s3://bucket/key", "s3a://bucket/key"),
        ("s3a://bucket/a b/c::d", "s3a://bucket/a b/c::d"),
        ("file://localhost/data/x", "file:/data/x"),
        ("FILE:///data/X", "file:/data/X"),
        ("file:////data//x//", "file:/data/x"),
        ("//data/x", "file:/data/x"),
        ("file:///data/a%20b?c#d", "file:/data/a%20b?c#d"),
        ("/data/[a]{b,c}*\\", "file:/data/[a]{b,c}*\\"),
        ("/", "file:/"),
        ("S3A://bucket//a//b/", "s3a://bucket/a/b"),
        ("s3://bucket", "s3a://bucket"),
        ("https://example.org/a b/1.jpg", "https://example.org/a b/1.jpg"),
        ("s3://bucket/a?b#c%20[d]", "s3a://bucket/a?b#c%20[d]"),
    ],
)
def test_uris_are_written_as_hadoop_writes_them(uri: str, expected: str) -> None:
    assert Location.of(uri).uri == expected


def test_relative_paths_start_at_the_working_directory() -> None:
    assert Location.of("pictures").uri == f"file:{os.getcwd()}/pictures"


@pytest.mark.parametrize("name", ["a:b", "photos:2024/all", "x::y", "data:x", "~name", "C:x"])
def test_a_name_with_a_colon_or_a_tilde_is_a_name(name: str) -> None:
    assert Location.of(name).path == f"{os.getcwd()}/{name}"


def test_a_tilde_alone_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/fruit")
    assert Location.of("~/photos").uri == "file:/home/fruit/photos"
    assert Location.of("~").uri == "file:/home/fruit"
    assert Location.of("/data/~/photos").uri == "file:/data/~/photos"


def test_two_dots_after_a_link_mean_the_parent_of_its_target(tmp_path: Path) -> None:
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "deep")
    expected = f"{tmp_path}/disk/x"
    assert Location.of(f"{tmp_path}/link/../x").path == expected
    assert os.path.samefile(f"{tmp_path}/link/..", Location.of(f"{tmp_path}/link/..").path)
    # Without them, the name stays the same.
    assert Location.of(f"{tmp_path}/link/x").path == f"{tmp_path}/link/x"


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("", "got ''"),
        ("a\0b", "wanted a path"),
        ("C:\\photos", "got a Windows path.*/mnt/c"),
        ("C:/photos", "got a Windows path"),
        (r"\\\\server\share", "got a Windows path"),
        ("file://server/share", "the machine server"),
        ("s3a://bucket/a/../b", r"mean nothing in S3"),
        ("s3a://bucket/./b", r"mean nothing in S3"),
    ],
)
def test_an_invalid_path_or_uri_is_refused_in_one_line(place: str, reason: str) -> None:
    with pytest.raises(StorageError, match=reason) as refused:
        Location.of(place)
    assert len(str(refused.value).splitlines()) == 1


def test_a_location_is_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    location = Location.of("photos")
    monkeypatch.chdir("/")
    assert location == Location.of(f"{tmp_path}/photos") == pickle.loads(pickle.dumps(location))
    assert str(location / "a b" / "1.jpg") == f"file:{tmp_path}/photos/a b/1.jpg"
    assert (Location.of("/") / "a").uri == "file:/a"
    assert (Location.of("s3://bucket") / "a").path == "bucket/a"


def test_contains_resolves_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "images" / "Fig").mkdir(parents=True)
    (tmp_path / "way").symlink_to(tmp_path / "images" / "Fig")
    images = Location.of(str(tmp_path / "images"))
    for inside in ("images", "images/out", "way", "way/out/deep"):
        assert images.contains(Location.of(str(tmp_path / inside))), inside
    for outside in ("", "images2", "images2/images", "out"):
        assert not images.contains(Location.of(str(tmp_path / outside))), outside
    assert Location.of("/").contains(images)
    bucket = Location.of("s3a://bucket/a")
    assert bucket.contains(Location.of("s3://bucket/a/b"))
    assert Location.of("s3://bucket").contains(bucket)
    assert not bucket.contains(Location.of("s3://bucket/ab"))
    assert not bucket.contains(Location.of("/bucket/a/b"))
    assert not Location.of("/").contains(bucket)


# An unknown scheme, one whose native library is missing, and one whose package is missing.
@pytest.mark.parametrize("uri", ["foo://bucket", "hdfs:///a", "gs://bucket/a"])
def test_a_scheme_that_cannot_be_used_is_refused_in_one_line(uri: str) -> None:
    with pytest.raises(StorageError, match=rf"{uri}.*s3a://bucket/key") as refused:
        filesystem_of(uri)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("uri", ["s3://", "s3a:///key", "s3:bucket/key"])
def test_an_s3_uri_without_a_bucket_is_refused(uri: str) -> None:
    with pytest.raises(StorageError, match=r"s3a://bucket/key; got one without a bucket"):
        filesystem_of(uri)


def test_sha256_of_a_file_is_that_of_its_content(tmp_path: Path) -> None:
    file = tmp_path / "weights #1.h5"
    file.write_bytes(b"fruit" * 1_000_000)
    assert sha256_of(Location.of(str(file))) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_missing_credentials_are_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    filesystem, path = filesystem_of("s3a://bucket/key")
    with (
        pytest.raises(StorageError, match=r"s3a://bucket/key.*credentials"),
        store_errors("s3a://bucket/key"),
    ):
        filesystem.info(path, refresh=True)


def test_a_location_can_be_sent_to_another_process(tmp_path: Path) -> None:
    for place in (
        Location.of(f"{tmp_path}/a b") / "é#?%20.jpg",
        Location.of("s3://bucket") / "a//b",
    ):
        packed = pickle.dumps(place)
        assert pickle.loads(packed) == place
        assert len(packed) < 300
