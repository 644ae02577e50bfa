"""Uploads a folder to S3: many files at a time, with checksums, without unchanged files."""

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from s3transfer.exceptions import CancelledError  # type: ignore[import-untyped]
from s3transfer.manager import TransferConfig, TransferManager  # type: ignore[import-untyped]
from s3transfer.utils import ChunksizeAdjuster  # type: ignore[import-untyped]
from tqdm import tqdm

from fruits.cloud.account import CONNECTIONS, Account
from fruits.cloud.buckets import bucket_and_key
from fruits.cloud.failures import aws_errors
from fruits.errors import CloudError, InputError
from fruits.storage.location import Location
from fruits.storage.walk import Entry, walk

# Files of this size or more are sent in parts of this size, like in the AWS CLI. S3 accepts at most
# 10,000 parts, so s3transfer uses larger parts for files of more than 80 GB.
PART_BYTES = 8 * 2**20
# The maximum number of files in the queue.
WAITING = 16 * CONNECTIONS
# What is sent, or refused. Linked folders are entered, and their files follow.
_SENT = ("file", "special file", "broken link")


@dataclass(frozen=True)
class Uploaded:
    """The result of an upload.

    Attributes:
        sent: The number of files that were sent.
        there: The number of files that the bucket already had with the same content.
        bytes: The bytes of the files that were sent.
    """

    sent: int
    there: int
    bytes: int


@dataclass(frozen=True)
class _File:
    path: Path
    key: str
    size: int


def upload(account: Account, folder: str, uri: str) -> Uploaded:
    """Uploads the files of a folder and its subfolders, except unchanged files.

    A file is unchanged if the object has the same size and checksum. S3 computes the SHA-256 of the
    received bytes, and refuses a file if it differs from the local SHA-256.

    Args:
        account: An account with the right to list and write the bucket.
        folder: The folder. Symbolic links are followed, as when it is listed for a run.
        uri: ``s3://bucket/prefix``. The key of a file is its path below the folder.

    Raises:
        InputError: The folder is empty or has something else than files and folders, or files
            cannot be read; the others are sent.
        CloudError: S3 refuses. Sent files stay, and the same command continues.
    """
    bucket, prefix = bucket_and_key(uri)
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: wanted a folder; there is none of that name")
    total = sum(len(files) for files in _folders(Path(folder), prefix))
    if not total:
        raise InputError(f"{folder}: wanted files to upload; there are none")
    account.require_bucket(bucket)

    sent = there = count = 0
    unread: list[OSError] = []

    def collect(future: Future[bool]) -> None:
        nonlocal sent, there, count
        file = files.pop(future)
        try:
            new = future.result()
        except OSError as error:
            unread.append(error)
            return
        if new:
            sent += 1
            count += file.size
        else:
            there += 1
        bar.set_postfix_str(f"{there} there already", refresh=False)
        bar.update()

    files: dict[Future[bool], _File] = {}
    # concurrent.futures.wait takes the locks of all futures, and keeps them when it is interrupted.
    done: SimpleQueue[Future[bool]] = SimpleQueue()
    with (
        aws_errors(uri),
        tqdm(total=total, desc="upload", unit=" files", delay=0.5) as bar,
        ThreadPoolExecutor(CONNECTIONS) as pool,
        _Sender(account, bucket) as sender,
    ):
        try:
            for file, etag in _with_etags(account, bucket, Path(folder), prefix):
                future = pool.submit(sender.send, file, etag)
                files[future] = file
                future.add_done_callback(done.put)
                if len(files) >= WAITING:
                    collect(done.get())
            while files:
                collect(done.get())
        except BaseException:
            # Finish the small files that are being sent, but start no other ones.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if unread:
        raise InputError(
            f"{folder}: {len(unread)} of {total} files cannot be read, such as {unread[0]}; "
            "correct that, and run it again: the other files are sent"
        )
    return Uploaded(sent, there, count)


def _folders(folder: Path, prefix: str) -> Iterator[list[_File]]:
    """The files of each folder, in order."""
    entries = walk(Location.of(os.path.abspath(folder)), enters=lambda name: True)
    try:
        for _, inside in groupby(entries, key=lambda one: one.name.rpartition("/")[0]):
            own = sorted(inside, key=lambda one: one.name)
            found = [_file(folder, prefix, one) for one in own if one.kind in _SENT]
            if found:
                yield found
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be listed: {error.strerror}") from None


def _file(folder: Path, prefix: str, entry: Entry) -> _File:
    path = folder / entry.name
    if entry.kind != "file":
        raise InputError(
            f"{str(path)!a}: wanted a readable file; it is a {entry.kind}: move it away"
        )
    key = f"{prefix}/{entry.name}" if prefix else entry.name
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{str(path)!a}: wanted a readable file; {error}") from None
    return _File(path, key, entry.length)


def _with_etags(
    account: Account, bucket: str, folder: Path, prefix: str
) -> Iterator[tuple[_File, str | None]]:
    """Each file with the ETag of the object that has its key and size, if there is one."""
    for files in _folders(folder, prefix):
        parent = files[0].key.rpartition("/")[0]
        within = f"{parent}/" if parent else ""
        objects = account.pages(
            "s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=within, Delimiter="/"
        )
        there = {item["Key"]: (item["Size"], item["ETag"].strip('"')) for item in objects}
        for file in files:
            size, etag = there.get(file.key, (None, None))
            yield file, etag if size == file.size else None


class _Sender:
    """Sends files from many threads: small ones in one request, large ones in parts."""

    def __init__(self, account: Account, bucket: str) -> None:
        self._client, self._bucket = account.client("s3"), bucket
        config = TransferConfig(
            multipart_threshold=PART_BYTES,
            multipart_chunksize=PART_BYTES,
            max_request_concurrency=CONNECTIONS // 2,
        )
        self._parts = TransferManager(self._client, config)

    def __enter__(self) -> "_Sender":
        self._parts.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        # After an error, it aborts large files that are being sent, and deletes their parts.
        self._parts.__exit__(*error)

    def send(self, file: _File, etag: str | None) -> bool:
        """Sends a file unless the object is unchanged.

        Args:
            file: The file.
            etag: The ETag of the object with its key and size; None if there is none.

        Returns:
            Whether the file was sent.
        """
        part_bytes = part_size(file.size)
        with file.path.open("rb") as content:
            if etag:
                # Another program may have sent a large object in one request.
                parts = part_bytes if "-" in etag else 0
                if self._is_there(file, etag, content, parts):
                    return False
            sha256 = checksum(content, "sha256", part_bytes)
            if part_bytes:
                answer = self._send_parts(file)
            else:
                content.seek(0)
                answer = self._client.put_object(
                    Bucket=self._bucket,
                    Key=file.key,
                    Body=content,
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=sha256,
                )
        if _sha256_of(answer) != sha256:
            raise CloudError(
                f"s3://{self._bucket}/{file.key}: wanted the SHA-256 {sha256}; the store has "
                f"{_sha256_of(answer)}; run it again"
            )
        return True

    def _is_there(self, file: _File, etag: str, content: BufferedReader, part_bytes: int) -> bool:
        # The ETag is the MD5, unless the object is encrypted with a key of KMS.
        if etag == checksum(content, "md5", part_bytes):
            return True
        found = _sha256_of(self._head(file))
        return found is not None and found == checksum(content, "sha256", part_bytes)

    def _send_parts(self, file: _File) -> dict[str, Any]:
        """Sends a large file in parts, and requests the checksum of the whole object."""
        try:
            self._parts.upload(
                str(file.path),
                self._bucket,
                file.key,
                extra_args={"ChecksumAlgorithm": "SHA256"},
            ).result()
        except CancelledError as error:
            raise CloudError(f"s3://{self._bucket}/{file.key}: cancelled") from error
        return self._head(file)

    def _head(self, file: _File) -> dict[str, Any]:
        return dict(
            self._client.head_object(Bucket=self._bucket, Key=file.key, ChecksumMode="ENABLED")
        )


def part_size(size: int) -> int:
    """The size of the parts of a file with a size in bytes; 0 if it is sent in one request."""
    if size < PART_BYTES:
        return 0
    return int(ChunksizeAdjuster().adjust_chunksize(PART_BYTES, size))


def checksum(content: BufferedReader, algorithm: str, part_bytes: int = 0) -> str:
    """The checksum of a file in the form of S3: MD5 in hexadecimal digits, SHA-256 in base64.

    Args:
        content: The open file, which is read from its beginning.
        algorithm: ``md5`` or ``sha256``.
        part_bytes: The size of the parts; 0 for one request. The checksum of parts is the checksum
            of their checksums; an MD5 ends with their number.
    """
    content.seek(0)
    # This flag allows MD5 on systems with FIPS, since it is not used for security here.
    new = partial(hashlib.new, algorithm, usedforsecurity=False)
    digest, ending = new(), ""
    if part_bytes:
        number = 0
        while part := content.read(part_bytes):
            digest.update(new(part).digest())
            number += 1
        ending = f"-{number}"
    else:
        digest = hashlib.file_digest(content, new)
    if algorithm == "md5":
        return digest.hexdigest() + ending
    return base64.b64encode(digest.digest()).decode()


def _sha256_of(answer: Mapping[str, Any]) -> str | None:
    """The SHA-256 in an answer of S3, without the number of parts that may follow it."""
    found = answer.get("ChecksumSHA256")
    return None if found is None else str(found).partition("-")[0]
