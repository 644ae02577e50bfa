import hashlib
import os
from pathlib import Path

import pytest

from fruits.errors import StorageError
from fruits.storage.failures import store_errors
from fruits.storage.files import sha256_of
from fruits.storage.location import filesystem_of, hadoop_uri


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/data/a b#c%20d", "file:/data/a b#c%20d"),
        ("file:/data/x", "file:/data/x"),
        ("file:///data/x", "file:/data/x"),
        ("/data/../data/x/", "file:/data/x"),
        ("s3://bucket/key", "s3a://bucket/key"),
        ("s3a://bucket/a b/c::d", "s3a://bucket/a b/c::d"),
    ],
)
def test_uris_are_written_as_hadoop_writes_them(uri: str, expected: str) -> None:
    assert hadoop_uri(uri) == expected


def test_relative_paths_start_at_the_working_directory() -> None:
    assert hadoop_uri("pictures") == f"file:{os.getcwd()}/pictures"


# Unknown; without its native library, its package.
@pytest.mark.parametrize("uri", ["foo://bucket", "hdfs:///a", "gs://bucket/a"])
def test_a_scheme_that_cannot_be_used_is_refused_in_one_line(uri: str) -> None:
    with pytest.raises(StorageError, match=rf"{uri}.*s3a://bucket/key") as refused:
        filesystem_of(uri)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("uri", ["s3://", "s3a:///key", "s3:bucket/key"])
def test_an_s3_uri_without_a_bucket_is_refused(uri: str) -> None:
    with pytest.raises(StorageError, match=r"s3a://bucket/key; there is no bucket"):
        filesystem_of(uri)


def test_the_digest_is_the_files_sha256(tmp_path: Path) -> None:
    file = tmp_path / "weights #1.h5"
    file.write_bytes(b"fruit" * 1_000_000)
    assert sha256_of(str(file)) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_missing_credentials_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
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
