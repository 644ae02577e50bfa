"""Lists all objects below a folder in S3, page by page, several pages at the same time.

A page has a thousand objects and takes S3 about 0.1 seconds, and each page says where the next one
begins. So one request after the other lists ten thousand objects a second. Folders are listed in
parallel. If there are too few of them, or too many, the rest of a long listing is divided at a key
that S3 finds for a guess, see :class:`_Range`. Only the pages in progress are in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from fruits.errors import StorageError

Object = dict[str, Any]

REQUESTS = 16
"""Pages that are requested at the same time."""

_MOST_PREFIXES = 1_000
"""The most folders to list separately: each takes a request, even if it has only one object."""

_MOST_LEVELS = 4

_PAGES = 4
"""The pages of a range before it is divided, because short listings need no more requests."""

_MOST_BYTES = 1024
"""The maximum length of a key."""


@dataclass
class _Range:
    """Neighbouring keys that are listed page by page, in the order of their UTF-8 bytes.

    A long range is divided at a bound. After `in/007.jpg`, the bounds are `in/1`, `in/01` and
    `in/008`: one of the characters is increased. The keys after a bound are requested. If there are
    any, they become another range, and this one ends at the bound, which need not be a key. So each
    key is in one range, whatever the names. The best bound is the one of the fewest characters with
    keys after it, because it is the furthest one; a binary search finds it.

    Attributes:
        prefix: The first characters of all keys.
        shortest: After bounds with fewer equal characters, there are no keys.
        longest: After the bound with so many equal characters, there are keys; None if unknown.
        until: The last key that belongs to the range; None if there is no limit.
        token: The token of the next page; None for the first one.
        first: The first key of the last page.
        last: The last key of the last page.
        left: Whether there may be more pages.
        pages: The number of pages so far.
        wait: The number of pages before it is divided.
        divided: Whether it has been divided, or comes from a division.
        divisible: Whether it can be divided: the store lists keys in order.
        near: Whether the best bound has as many characters as that of the last division.
        tried: The bound after which keys are requested now, and the number of its equal characters.
    """

    prefix: str
    shortest: int
    longest: int | None = None
    until: str | None = None
    token: str | None = None
    first: str = ""
    last: str = ""
    left: bool = True
    pages: int = 0
    wait: int = _PAGES
    divided: bool = False
    divisible: bool = True
    near: bool = False
    tried: tuple[str, int] | None = None

    def take(self, page: Object) -> list[Object]:
        """The objects of the next page that belong to the range.

        Raises:
            StorageError: The store lists keys in another order, and the range has been divided.
        """
        found: list[Object] = page.get("Contents", [])
        keys = [self.last, *(one["Key"] for one in found)]
        if keys != sorted(keys):
            self.divisible = False
            if self.divided:
                raise StorageError(
                    f"images: wanted keys in the order of UTF-8; the store lists {self.prefix} in "
                    "another one, so images may be missed: name them in a table of paths instead"
                )
        mine = [one for one in found if self.until is None or one["Key"] <= self.until]
        self.pages += 1
        self.left = bool(page.get("IsTruncated")) and len(mine) == len(found)
        self.token = page.get("NextContinuationToken")
        if mine:
            self.first, self.last = mine[0]["Key"], mine[-1]["Key"]
        return mine

    def next_bound(self) -> str | None:
        """A bound after which there may be keys of this range; None if it is not divided now."""
        if self.tried or not self.left or not self.divisible or self.pages < self.wait:
            return None
        most = self._equal() if self.longest is None else self.longest
        bounds = [(self._bound(length), length) for length in range(self.shortest, most + 1)]
        able = [(bound, length) for bound, length in bounds if bound]
        if not able:
            self.wait, self.longest = 2 * self.pages, None
            return None
        self.shortest = able[0][1]
        self.tried = able[0 if self.near else (len(able) - 1) // 2]
        return self.tried[0]

    def _equal(self) -> int:
        """The number of first characters that are equal in the keys of the last page."""
        pairs = enumerate(zip(self.first, self.last, strict=False))
        return next((place for place, (one, other) in pairs if one != other), len(self.first))

    def _bound(self, length: int) -> str | None:
        """The bound with some characters of the last key; None if it is not within the range."""
        if length >= len(self.last) or self.last[length] == "\U0010ffff":
            return None
        following = ord(self.last[length]) + 1
        # Surrogates are not characters.
        bound = self.last[:length] + chr(0xE000 if following == 0xD800 else following)
        if len(bound.encode()) > _MOST_BYTES or (self.until is not None and bound >= self.until):
            return None
        return bound

    def divide(self, page: Object | None) -> tuple[_Range, list[Object]] | None:
        """Divides the range at the bound that was tried.

        Args:
            page: the first page after the bound; None if the store refuses it.

        Returns:
            The range after the bound and its first objects; None if the range is not divided.
        """
        assert self.tried
        (bound, length), self.tried = self.tried, None
        found = [] if page is None else page.get("Contents", [])
        if page is None or (found and found[0]["Key"] <= bound):
            self.divisible = False  # The store does not know StartAfter.
            return None
        if not self.divisible or not self.left or self.last >= bound:
            return None  # Its own pages have passed the bound meanwhile.
        if not found or (self.until is not None and found[0]["Key"] > self.until):
            self.shortest, self.near = length + 1, False
            return None
        if length > self.shortest:
            self.longest = length
            return None
        other = _Range(self.prefix, length, None, self.until, last=bound, divided=True, near=True)
        self.until, self.shortest, self.longest = bound, length + 1, None
        self.wait, self.divided, self.near = self.pages + _PAGES, True, True
        return other, other.take(page)


def bucket_and_prefix(path: str) -> tuple[str, str]:
    """The bucket of a folder, and the beginning of the keys of its objects.

    >>> bucket_and_prefix("bucket"), bucket_and_prefix("bucket/a"), bucket_and_prefix("bucket/")
    (('bucket', ''), ('bucket', 'a/'), ('bucket', '/'))
    """
    bucket, slash, key = path.partition("/")
    return bucket, key + slash


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
    bucket, prefix = bucket_and_prefix(path)
    prefixes, found = _prefixes(filesystem, bucket, prefix)
    yield from found
    todo = deque(_Range(prefix, len(prefix)) for prefix in prefixes)
    # The ranges of the requested pages, and the ranges whose bounds are tried.
    pages: dict[Future[Object], _Range] = {}
    tries: dict[Future[Object], _Range] = {}
    with ThreadPoolExecutor(REQUESTS) as pool:
        while todo or pages:
            while todo and len(pages) + len(tries) < REQUESTS:
                one = todo.popleft()
                pages[pool.submit(_page, filesystem, bucket, one.prefix, one.token)] = one
            for one in pages.values():
                if len(pages) + len(tries) >= REQUESTS:
                    break
                if bound := one.next_bound():
                    after = pool.submit(_page, filesystem, bucket, one.prefix, StartAfter=bound)
                    tries[after] = one
            done, _ = wait([*pages, *tries], return_when=FIRST_COMPLETED)
            for page in done & pages.keys():
                one = pages.pop(page)
                yield from one.take(page.result())
                if one.left:
                    todo.appendleft(one)
            for page in done & tries.keys():
                if divided := tries.pop(page).divide(_or_none(page)):
                    other, objects_there = divided
                    yield from objects_there
                    if other.left:
                        todo.append(other)


def objects_in(filesystem: Any, path: str, first: str, last: str | None) -> Iterator[Object]:
    """Yields the objects directly in a folder, page by page, without those of its subfolders.

    Args:
        filesystem: a :class:`fruits.storage.s3.RetryingS3`.
        path: bucket and key of the folder.
        first: the first name that is wanted; other names may be listed, too.
        last: the last name that is wanted, or None for all after the first one.

    Raises:
        OSError: the objects cannot be listed.
        StorageError: the store cannot be used.
    """
    bucket, prefix = bucket_and_prefix(path)
    options = {"Delimiter": "/"}
    # The keys after a name do not include it.
    before = {"StartAfter": prefix + first[:-1]} if first else {}
    try:
        page = _page(filesystem, bucket, prefix, **options, **before)
    except (FileNotFoundError, PermissionError):
        raise
    except OSError:  # The store does not know StartAfter.
        page = _page(filesystem, bucket, prefix, **options)
    is_ordered, passed = True, ""
    while True:
        found = page.get("Contents", [])
        yield from found
        keys = [passed, *(one["Key"] for one in found)]
        is_ordered = is_ordered and keys == sorted(keys)
        passed = keys[-1]
        folders = (one["Prefix"] for one in page.get("CommonPrefixes", ()))
        if not page.get("IsTruncated"):
            return
        if is_ordered and last is not None and max([passed, *folders]) > prefix + last:
            return
        page = _page(filesystem, bucket, prefix, page["NextContinuationToken"], **options)


def has_objects(filesystem: Any, path: str) -> bool:
    """Whether there is an object below a folder; see :func:`objects`."""
    bucket, prefix = bucket_and_prefix(path)
    return bool(_page(filesystem, bucket, prefix, MaxKeys=1).get("Contents"))


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


def _page(
    filesystem: Any, bucket: str, prefix: str, token: str | None = None, **options: str | int
) -> Object:
    if token:
        options["ContinuationToken"] = token
    answer: Object = filesystem.list_objects(Bucket=bucket, Prefix=prefix, **options)
    return answer


def _or_none(page: Future[Object]) -> Object | None:
    """A page; None if it cannot be listed: the pages that are needed report an error."""
    try:
        return page.result()
    except (OSError, StorageError):
        return None
