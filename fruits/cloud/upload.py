"""A folder of files to S3: many at a time, each verified, and none that is there already."""

import base64
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from urllib.parse import urlsplit

from tqdm import tqdm

from fruits.cloud.account import CONNECTIONS, Account
from fruits.cloud.failures import aws_errors
from fruits.errors import CloudError, InputError

# What S3 takes in one request: a file goes up whole, or not at all.
MOST_BYTES = 5 * 2**30
# Files that wait for their turn.
WAITING = 16 * CONNECTIONS


@dataclass(frozen=True)
class Uploaded:
    """What became of the files of a folder.

    Attributes:
        sent: files that went up, and
        there: files that were there with the same content.
        bytes: of those that went up.
    """

    sent: int
    there: int
    bytes: int


@dataclass(frozen=True)
class _File:
    path: Path
    key: str
    size: int


def bucket_and_key(uri: str) -> tuple[str, str]:
    """The bucket and the key, without slashes at its ends, of ``s3://bucket/key``.

    Raises:
        CloudError: when it is something else.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("s3", "s3a") or not parts.netloc or parts.query or parts.fragment:
        raise CloudError(f"{uri}: wanted a place in S3 such as s3://bucket/fruits/photographs")
    return parts.netloc, parts.path.strip("/")


def upload(account: Account, folder: str, uri: str) -> Uploaded:
    """Sends the files of a folder and of its subfolders; what is there already stays.

    A file is there if the object has its size and its checksum. S3 computes the SHA-256 of what it
    receives, and refuses what differs from what was read here.

    Args:
        account: with the right to list and to write there.
        folder: of any files; symbolic links to files are followed, those to folders are not.
        uri: ``s3://bucket/prefix``; a file's key is its path below the folder.

    Raises:
        InputError: when the folder holds nothing, or files cannot be read; the others are sent.
        CloudError: when S3 refuses; what was sent stays, and the same command goes on.
    """
    bucket, prefix = bucket_and_key(uri)
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: wanted a folder; it is not there")
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
        sent, there, count = sent + new, there + (not new), count + new * file.size
        bar.set_postfix_str(f"{there} there already", refresh=False)
        bar.update()

    files: dict[Future[bool], _File] = {}
    # concurrent.futures.wait takes the locks of all futures, and keeps them when it is interrupted.
    done: SimpleQueue[Future[bool]] = SimpleQueue()
    with (
        aws_errors(uri),
        tqdm(total=total, desc="upload", unit=" files", delay=0.5) as bar,
        ThreadPoolExecutor(CONNECTIONS) as pool,
    ):
        try:
            for file, etag in _beside_what_is_there(account, bucket, Path(folder), prefix):
                future = pool.submit(_send, account, bucket, file, etag)
                files[future] = file
                future.add_done_callback(done.put)
                if len(files) >= WAITING:
                    collect(done.get())
            while files:
                collect(done.get())
        except BaseException:
            # Those under way end; the others do not begin.
            pool.shutdown(cancel_futures=True)
            raise
    if unread:
        raise InputError(
            f"{folder}: {len(unread)} of {total} files cannot be read, such as {unread[0]}; "
            "mend them, and run it again: the others are there"
        )
    return Uploaded(sent, there, count)


def _folders(folder: Path, prefix: str) -> Iterator[list[_File]]:
    """The files of each folder, in order."""
    for root, names, files in os.walk(folder, onerror=_fail):
        names.sort()
        below = Path(root).relative_to(folder)
        found = []
        for name in sorted(files):
            path = Path(root, name)
            try:
                key = "/".join(part for part in (prefix, *below.parts, name) if part)
                key.encode()
                size = path.stat().st_size
            except (OSError, UnicodeEncodeError) as error:
                raise InputError(f"{path!a}: wanted a readable file; {error}") from None
            if size > MOST_BYTES:
                raise InputError(f"{path}: wanted at most 5 GiB; there are {size / 2**30:.1f}")
            found.append(_File(path, key, size))
        if found:
            yield found


def _fail(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be listed: {error.strerror}")


def _beside_what_is_there(
    account: Account, bucket: str, folder: Path, prefix: str
) -> Iterator[tuple[_File, str | None]]:
    """Each file with the ETag of the object of its name and size, if there is one."""
    for files in _folders(folder, prefix):
        above = files[0].key.rpartition("/")[0]
        within = f"{above}/" if above else ""
        objects = account.pages(
            *("s3", "list_objects_v2", "Contents"), Bucket=bucket, Prefix=within, Delimiter="/"
        )
        there = {item["Key"]: (item["Size"], item["ETag"].strip('"')) for item in objects}
        for file in files:
            size, etag = there.get(file.key, (None, None))
            yield file, etag if size == file.size else None


def _send(account: Account, bucket: str, file: _File, etag: str | None) -> bool:
    """Whether a file had to be sent."""
    client = account.client("s3")
    with file.path.open("rb") as content:
        if etag:
            # Without a key of KMS, the ETag is the MD5.
            if etag == hashlib.file_digest(content, _md5).hexdigest():
                return False
            content.seek(0)
        digest = hashlib.file_digest(content, "sha256").digest()
        sha256 = base64.b64encode(digest).decode()
        if etag:
            head = client.head_object(Bucket=bucket, Key=file.key, ChecksumMode="ENABLED")
            if head.get("ChecksumSHA256") == sha256:
                return False
        content.seek(0)
        answer = client.put_object(
            Bucket=bucket,
            Key=file.key,
            Body=content,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=sha256,
        )
    if answer.get("ChecksumSHA256") != sha256:
        raise CloudError(
            f"s3://{bucket}/{file.key}: wanted the SHA-256 {sha256}; the store answers "
            f"{answer.get('ChecksumSHA256')}; run it again"
        )
    return True


def _md5() -> "hashlib._Hash":
    # Not for security: allowed where a FIPS module forbids it.
    return hashlib.md5(usedforsecurity=False)
