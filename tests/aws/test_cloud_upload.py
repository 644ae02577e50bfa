"""``fruits cloud upload`` sends all files of a folder once, and does not change them."""

import hashlib
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from cloud_answers import answer, output_of, refusal, refused

import fruits.cloud.upload
from fruits.cloud.account import Account
from fruits.cloud.upload import PART_BYTES, Uploaded, part_size, upload
from fruits.errors import CloudError, InputError

BUCKET = "fruits-photographs"


@pytest.fixture
def bucket(aws: str, request: pytest.FixtureRequest) -> str:
    """A new bucket with versions: a file that is sent twice has two of them."""
    name = f"{BUCKET}-{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files with unusual names."""
    root = tmp_path / "Training"
    for name in (
        "Pear/1.jpg",
        "Pear 2/1.jpg",
        "Pear/deep/er/é#?%20 ü.jpg",
        "top.jpg",
        "Pear/+.jpg",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode() * 100)
    (root / "Pear/empty.jpg").write_bytes(b"")
    return root


def objects(bucket: str) -> dict[str, bytes]:
    found = boto3.resource("s3").Bucket(bucket).objects.all()
    return {o.key: o.get()["Body"].read() for o in found}


def versions(bucket: str) -> int:
    pages = boto3.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket)
    return sum(len(page.get("Versions", ())) for page in pages)


@pytest.mark.parametrize("prefix", ["", "fruits/photographs"])
def test_every_file_arrives_under_its_path_with_its_content(
    bucket: str, folder: Path, prefix: str
) -> None:
    done = upload(Account.of(), str(folder), f"s3://{bucket}/{prefix}/")
    files = {
        f"{prefix}/{path.relative_to(folder)}".lstrip("/"): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert objects(bucket) == files
    assert done == Uploaded(6, 0, sum(map(len, files.values())))


def test_the_files_of_linked_folders_are_sent_as_a_run_lists_them(
    bucket: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/2.jpg").write_bytes(b"linked")
    (folder / "Fig").symlink_to(tmp_path / "elsewhere")
    (folder / "Pear/round").symlink_to(folder)  # It would never end.
    assert upload(Account.of(), str(folder), f"s3://{bucket}/p").sent == 7
    assert objects(bucket)["p/Fig/2.jpg"] == b"linked"


def test_a_pipe_is_refused_in_one_line(
    bucket: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(folder / "Pear/pipe.jpg")
    line = refused(capsys, "upload", str(folder), f"s3://{bucket}")
    assert line.endswith("pipe.jpg': wanted a readable file; it is a special file: move it away")
    assert objects(bucket) == {}


def test_s3_has_the_sha256_of_the_local_file(bucket: str, folder: Path) -> None:
    upload(Account.of(), str(folder), f"s3://{bucket}")
    head = boto3.client("s3").head_object(Bucket=bucket, Key="top.jpg", ChecksumMode="ENABLED")
    openssl = subprocess.run(
        f"openssl dgst -sha256 -binary '{folder}/top.jpg' | openssl base64",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert head["ChecksumSHA256"] == openssl.stdout.strip()


def test_unchanged_files_are_not_sent_again_but_changed_ones_are(bucket: str, folder: Path) -> None:
    account, uri = Account.of(), f"s3://{bucket}/p"
    upload(account, str(folder), uri)
    assert upload(account, str(folder), uri) == Uploaded(0, 6, 0)
    assert versions(bucket) == 6
    # The same size and another content.
    (folder / "top.jpg").write_bytes(b"TOP.JPG" * 100)
    (folder / "Pear/1.jpg").write_bytes(b"longer" * 1000)
    assert upload(account, str(folder), uri) == Uploaded(2, 4, 6700)
    assert objects(bucket)["p/top.jpg"] == b"TOP.JPG" * 100
    assert versions(bucket) == 8


def test_where_the_etag_is_no_md5_the_sha256_decides(
    bucket: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, uri = Account.of(), f"s3://{bucket}"
    upload(account, str(folder), uri)

    def encrypted(true: Any, arguments: Any) -> Any:
        page = true()
        for item in page.get("Contents", ()):
            item["ETag"] = '"0123456789abcdef0123456789abcdef"'
        return page

    answer(monkeypatch, {"ListObjectsV2": encrypted})
    (folder / "top.jpg").write_bytes(b"TOP.JPG" * 100)
    assert upload(account, str(folder), uri) == Uploaded(1, 5, 700)


# ---- Large files, in parts

LARGE = 3 * PART_BYTES + 12_345


@pytest.fixture
def large(folder: Path) -> Path:
    """A file that is uploaded in four parts, among small ones."""
    file = folder / "Pear" / "large.tif"
    file.write_bytes(random.Random(7).randbytes(LARGE))
    return file


def unfinished(bucket: str) -> list[Any]:
    return boto3.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads", [])


def test_a_large_file_arrives_in_parts_and_is_not_sent_again(
    bucket: str, folder: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, uri = Account.of(), f"s3://{bucket}/p"
    calls = answer(monkeypatch, {})
    done = upload(account, str(folder), uri)
    assert done.sent == 7
    parts = [a["PartNumber"] for name, a in calls if name == "UploadPart"]
    assert sorted(parts) == [1, 2, 3, 4]
    assert objects(bucket)["p/Pear/large.tif"] == large.read_bytes()
    assert upload(account, str(folder), uri) == Uploaded(0, 7, 0)
    # The same size and another content, in the last part only.
    with large.open("r+b") as file:
        file.seek(LARGE - 5)
        file.write(b"other")
    assert upload(account, str(folder), uri) == Uploaded(1, 6, LARGE)
    assert objects(bucket)["p/Pear/large.tif"] == large.read_bytes()
    assert unfinished(bucket) == []


def test_the_checksum_of_parts_is_the_one_that_openssl_computes(
    bucket: str, folder: Path, large: Path
) -> None:
    upload(Account.of(), str(folder), f"s3://{bucket}")
    head = boto3.client("s3").head_object(
        Bucket=bucket, Key="Pear/large.tif", ChecksumMode="ENABLED"
    )
    split = f"split -b {PART_BYTES} --filter='openssl dgst -sha256 -binary' '{large}'"
    digest = f"{split} | openssl dgst -sha256 -binary | openssl base64"
    done = subprocess.run(digest, shell=True, capture_output=True, text=True, check=True)
    assert head["ChecksumSHA256"].partition("-")[0] == done.stdout.strip()


def test_a_large_object_that_was_sent_in_one_request_is_recognised(
    bucket: str, folder: Path, large: Path
) -> None:
    s3 = boto3.client("s3")
    small = sum(file.stat().st_size for file in folder.rglob("*.jpg"))
    s3.put_object(Bucket=bucket, Key="Pear/large.tif", Body=large.read_bytes())
    assert upload(Account.of(), str(folder), f"s3://{bucket}") == Uploaded(6, 1, small)


def test_a_large_file_whose_etag_is_no_md5_is_known_by_its_sha256(
    bucket: str, folder: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, uri = Account.of(), f"s3://{bucket}"
    upload(account, str(folder), uri)

    def encrypted(true: Any, arguments: Any) -> Any:
        page = true()
        for item in page.get("Contents", ()):
            if item["Key"] == "Pear/large.tif":
                item["ETag"] = '"0123456789abcdef0123456789abcdef-4"'
        return page

    answer(monkeypatch, {"ListObjectsV2": encrypted})
    assert upload(account, str(folder), uri).sent == 0


def test_a_large_file_that_changes_while_it_is_sent_is_an_error(
    bucket: str, folder: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changes(true: Any, arguments: Any) -> Any:
        large.write_bytes(b"z" * LARGE)
        return true()

    answer(monkeypatch, {"CreateMultipartUpload": changes})
    with pytest.raises(CloudError, match=r"large\.tif: wanted the SHA-256 .*; the store has"):
        upload(Account.of(), str(folder), f"s3://{bucket}")
    monkeypatch.undo()
    # The next run detects that the object differs from the file.
    large.write_bytes(b"y" * LARGE)
    assert upload(Account.of(), str(folder), f"s3://{bucket}").sent == 1


def test_a_refused_part_ends_with_one_line_and_leaves_no_parts(
    bucket: str,
    folder: Path,
    large: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer(monkeypatch, {"UploadPart": refusal("UploadPart", "AccessDenied", "No.")})
    line = refused(capsys, "upload", str(folder), f"s3://{bucket}/p")
    assert line.startswith(f"fruits: s3://{bucket}/p: UploadPart: No (AWS: AccessDenied); ask")
    monkeypatch.undo()
    assert unfinished(bucket) == []
    assert len(objects(bucket)) <= 6


INTERRUPTED = """
import signal, sys, threading
from botocore.client import BaseClient
from s3transfer.futures import TransferCoordinator
from fruits.cli import main

true, cancel = BaseClient._make_api_call, TransferCoordinator.cancel
interrupted, cancelled = threading.Event(), threading.Event()

def call(client, operation, arguments):
    if operation == "UploadPart" and arguments["PartNumber"] > 1:
        if not interrupted.is_set():
            interrupted.set()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        assert cancelled.wait(30)
    print(operation, flush=True)
    return true(client, operation, arguments)

def cancelling(*arguments):
    cancel(*arguments)
    cancelled.set()

BaseClient._make_api_call, TransferCoordinator.cancel = call, cancelling
sys.exit(main(sys.argv[1:]))
"""
"""The command of its arguments, interrupted while it sends the second part of a file."""


def test_an_interruption_aborts_a_large_file_and_deletes_its_parts(
    bucket: str, folder: Path, large: Path
) -> None:
    # In a process of its own: in one that has also loaded TensorFlow and OpenVINO for other tests,
    # glibc 2.36 sometimes crashed in another thread.
    command = [sys.executable, "-c", INTERRUPTED, "cloud", "upload", str(folder), f"s3://{bucket}"]
    done = subprocess.run(
        ["env", "--default-signal=INT", *command], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("fruits: ")
    assert "interrupted; the same command continues where it stopped" in line
    assert "AbortMultipartUpload" in done.stdout.split()
    assert unfinished(bucket) == []
    assert "Pear/large.tif" not in objects(bucket)
    assert upload(Account.of(), str(folder), f"s3://{bucket}").sent >= 1
    assert objects(bucket)["Pear/large.tif"] == large.read_bytes()


@pytest.mark.parametrize(
    ("size", "part"),
    # At most 10,000 parts, even for 5 TiB.
    [(PART_BYTES, PART_BYTES), (10_000 * PART_BYTES, PART_BYTES), (5 * 2**40, 1024 * 2**20)],
)
def test_the_largest_objects_have_at_most_10000_parts(size: int, part: int) -> None:
    found = part_size(size)
    assert found == part
    assert math.ceil(size / found) <= 10_000
    assert part_size(PART_BYTES - 1) == 0


# ---- Interrupts


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_upload_continues(
    bucket: str, tmp_path: Path, number: signal.Signals
) -> None:
    count = 900
    for n in range(count):
        (tmp_path / "many" / str(n % 7)).mkdir(parents=True, exist_ok=True)
        (tmp_path / "many" / str(n % 7) / f"{n}.jpg").write_bytes(os.urandom(5000))
    command = [sys.executable, "-m", "fruits.cli", "cloud", "upload", str(tmp_path / "many")]
    command.append(f"s3://{bucket}/p")
    # As in a terminal; a program that a shell starts in the background ignores SIGINT.
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while versions(bucket) < 100:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    there = versions(bucket)
    assert 100 <= there < count
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "Traceback" not in err
        # The bar has no line break if it was being drawn for the first time.
        assert f"fruits: s3://{bucket}/p: interrupted; the same" in err.splitlines()[-1]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    counts = re.match(r"([\d,]+) files sent .*, ([\d,]+) were there already", done.stdout)
    assert counts
    sent, before = (int(n.replace(",", "")) for n in counts.groups())
    # A killed upload may have completed its last requests; an interrupt waits for them.
    assert before >= there if number == signal.SIGKILL else before == there
    assert sent + before == count
    assert versions(bucket) == count


def test_the_bar_counts_the_files(
    bucket: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fruits.cloud.upload.tqdm
    monkeypatch.setattr(
        fruits.cloud.upload, "tqdm", lambda **options: made(**{**options, "delay": 0})
    )
    out = output_of(capsys, "upload", str(folder), f"s3://{bucket}")
    assert out == f"6 files sent (0.0 MB), 0 were there already: s3://{bucket}\n"
    main_again = fruits.cloud.upload.upload(Account.of(), str(folder), f"s3://{bucket}")
    assert main_again.there == 6
    bar = capsys.readouterr().err
    assert "6/6" in bar
    assert "6 there already" in bar


def test_another_checksum_from_the_store_is_an_error(
    bucket: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, {"PutObject": {"ChecksumSHA256": "AAAA"}})
    with pytest.raises(CloudError, match=r"wanted the SHA-256 .*=; the store has AAAA"):
        upload(Account.of(), str(folder), f"s3://{bucket}")


def test_files_that_vanish_are_reported_after_the_others_are_sent(
    bucket: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(true: Any, arguments: Any) -> Any:
        (folder / "top.jpg").unlink(missing_ok=True)
        return true()

    answer(monkeypatch, {"ListObjectsV2": vanish})
    with pytest.raises(InputError, match=r"1 of 6 files cannot be read.*top\.jpg"):
        upload(Account.of(), str(folder), f"s3://{bucket}")
    monkeypatch.undo()
    assert len(objects(bucket)) == 5


def test_invalid_uris_and_folders_are_refused(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/a.jpg").symlink_to(tmp_path / "nowhere")
    assert "wanted a folder" in refused(capsys, "upload", "nowhere", f"s3://{bucket}")
    assert "there are none" in refused(capsys, "upload", f"{tmp_path}/empty", f"s3://{bucket}")
    assert "a.jpg" in refused(capsys, "upload", f"{tmp_path}/broken", f"s3://{bucket}")
    for uri in ("bucket/photographs", "s3:///photographs", "https://bucket/x"):
        assert "wanted a URI in S3" in refused(capsys, "upload", str(tmp_path), uri)
    assert objects(bucket) == {}


def test_a_missing_bucket_and_one_in_another_region_are_reported_with_the_next_step(
    bucket: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, "upload", str(folder), "s3://no-such-bucket-anywhere/p")
    assert "there is no such bucket (AWS: NoSuchBucket); check the bucket's name" in line
    line = refused(capsys, "upload", "--region", "us-west-2", str(folder), f"s3://{bucket}")
    assert "wanted a bucket in us-west-2; this one is in us-east-1 (AWS: PermanentRedirect)" in line
    assert "--region us-east-1" in line
    assert objects(bucket) == {}


def test_missing_credentials_and_region_are_reported_with_the_next_step(
    bucket: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    line = refused(capsys, "upload", str(folder), f"s3://{bucket}")
    assert "(AWS: NoCredentialsError); get credentials" in line
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    line = refused(capsys, "upload", str(folder), f"s3://{bucket}")
    assert "nobody" in line
    assert "(AWS: ProfileNotFound)" in line
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    line = refused(capsys, "upload", str(folder), f"s3://{bucket}")
    assert "(AWS: NoRegionError); name a region" in line


def test_a_store_out_of_reach_is_reported(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    aws: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = EndpointConnectionError(endpoint_url="http://127.0.0.1:9")
    answer(monkeypatch, {"HeadBucket": away})
    line = refused(capsys, "upload", str(folder), "s3://b-c-d")
    assert "(AWS: EndpointConnectionError); check the network" in line


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("ExpiredToken", "the credentials have expired"),
        ("AccessDenied", "ask whoever manages"),
        ("SlowDown", "run it again in a minute"),
        ("RequestTimeTooSkewed", "clock"),
        ("SomethingNew", "fruits cloud status"),
    ],
)
def test_a_refusal_in_the_middle_ends_with_one_line(
    bucket: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    advice: str,
) -> None:
    answer(monkeypatch, {"PutObject": refusal("PutObject", code, "No.\nNo!")})
    line = refused(capsys, "upload", str(folder), f"s3://{bucket}/p")
    assert line.startswith(f"fruits: s3://{bucket}/p: PutObject: No. No! (AWS: {code}); ")
    assert advice in line


def test_expired_credentials_are_named_although_an_answer_to_head_has_no_code(
    bucket: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = refusal("HeadBucket", "400", "Bad Request")
    over = refusal("ListObjectsV2", "ExpiredToken", "The provided token has expired.")
    answer(monkeypatch, {"HeadBucket": head, "ListObjectsV2": over})
    line = refused(capsys, "upload", str(folder), f"s3://{bucket}")
    assert (
        "The provided token has expired (AWS: ExpiredToken); the credentials have expired" in line
    )


def test_the_error_of_who_may_only_list_is_that_of_aws_and_no_key_is_printed(
    bucket: str,
    folder: Path,
    aws: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    iam = boto3.client("iam")
    iam.create_user(UserName="reader")
    allowed = {"Effect": "Allow", "Action": "s3:List*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    enforce(aws, 0)
    try:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        denied = refused(capsys, "upload", str(folder), f"s3://{bucket}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7UNKNOWN")
        unknown = refused(capsys, "upload", str(folder), f"s3://{bucket}")
    finally:
        enforce(aws, math.inf)
    assert "PutObject" in denied
    assert "(AWS: AccessDenied); ask whoever manages the account" in denied
    assert "(AWS: InvalidClientTokenId); AWS does not know these credentials" in unknown
    for line in (denied, unknown):
        assert key["SecretAccessKey"] not in line
        assert "AKIA" not in line


def enforce(url: str, after: float) -> None:
    """Sets the number of requests after which moto enforces policies."""
    request = urllib.request.Request(
        f"{url}/moto-api/reset-auth",
        data=str(after).encode(),
        headers={"Content-Type": "text/plain"},
        method="POST",
    )
    urllib.request.urlopen(request)
