"""Lists all objects below a folder in S3, page by page, several folders at the same time.

A page has a thousand objects and takes S3 about 0.1 seconds, and each page says where the next one
begins. So one folder is listed at ten thousand objects a second. Several folders are listed in
parallel, and only the pages in progress are in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

Object = dict[str, Any]

REQUESTS = 16
"""Pages that are requested at the same time."""

_MOST_PREFIXES = 1_000
"""The most folders to list separately: each takes a request, even if it has only one object."""

_MOST_LEVELS = 4


def objects(filesystem: Any, path: str) -> Iterator[Object]:
    """Yields every object below a folder, in no particular order.

    Args:
        filesystem: a :class:`fruits.storage.s3.RetryingS3`.
        path: bucket and key of the folder.

    Yields:
        S3's entry for each object: ``Key`` (without the bucket), ``Size``, ``LastModified``.

    Raises:
        OSError: the objects cannot be listed.
        StorageError: the store cannot be used.
    """
    bucket, key, _ = filesystem.split_path(path)
    prefixes, found = _prefixes(filesystem, bucket, f"{key}/" if key else "")
    yield from found
    todo: deque[tuple[str, str | None]] = deque((prefix, None) for prefix in prefixes)
    pages: dict[Future[Object], str] = {}
    with ThreadPoolExecutor(REQUESTS) as pool:
        while todo or pages:
            while todo and len(pages) < REQUESTS:
                prefix, token = todo.popleft()
                pages[pool.submit(_page, filesystem, bucket, prefix, token)] = prefix
            done, _ = wait(pages, return_when=FIRST_COMPLETED)
            for page in done:
                prefix, answer = pages.pop(page), page.result()
                if answer.get("IsTruncated"):
                    todo.appendleft((prefix, answer["NextContinuationToken"]))
                yield from answer.get("Contents", ())


def _prefixes(filesystem: Any, bucket: str, root: str) -> tuple[list[str], list[Object]]:
    """Folders to list in parallel, and the objects that are in none of them."""
    prefixes, found = [root], list[Object]()
    for _ in range(_MOST_LEVELS):
        if len(prefixes) >= REQUESTS:
            break
        finer, objects_there, whole = list[str](), list[Object](), True
        for prefix in prefixes:
            answer = _page(filesystem, bucket, prefix, None, Delimiter="/")
            whole = whole and not answer.get("IsTruncated")
            finer += [one["Prefix"] for one in answer.get("CommonPrefixes", ())]
            objects_there += answer.get("Contents", ())
        if not whole or len(finer) > _MOST_PREFIXES:
            break
        prefixes, found = finer, found + objects_there
    return prefixes, found


def _page(filesystem: Any, bucket: str, prefix: str, token: str | None, **options: str) -> Object:
    if token:
        options["ContinuationToken"] = token
    answer: Object = filesystem.list_objects(Bucket=bucket, Prefix=prefix, **options)
    return answer
