"""A file system with any number of image files, and a network that takes no time.

Only :mod:`benchmarks.scale` uses them instead of real ones, to measure all other parts of a run.
"""

import hashlib
import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
from fsspec.spec import AbstractFileSystem
from numpy.typing import NDArray

from fruits.networks.graph import CompiledGraph, InputSpec
from fruits.networks.runtime import Keep

PROTOCOL = "synthetic"
PLACE = f"{PROTOCOL}://images"
SHAPE = "FRUITS_BENCHMARK_SHAPE"
CHANGED = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
PAGE = 1_000
DIMENSION = 16

# After all keys with a prefix, which are ASCII.
_LAST = "\x7f"


@dataclass(frozen=True)
class Shape:
    """The number of files and folders, and the length of their names in bytes."""

    files: int
    folders: int
    name_bytes: int

    @classmethod
    def read(cls) -> "Shape":
        return cls(*map(int, os.environ[SHAPE].split(",")))

    def variables(self) -> dict[str, str]:
        return {SHAPE: f"{self.files},{self.folders},{self.name_bytes}"}


class SyntheticFiles(AbstractFileSystem):
    """A bucket whose objects are computed: the product lists it like one in S3, page by page.

    File n is in folder n modulo the number of folders. Keys are in the order of their bytes.
    """

    protocol = (PROTOCOL, "s3")
    cachable = False

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return {"name": self._strip_protocol(path), "size": 0, "type": "directory"}

    def split_path(self, path: str) -> tuple[str, str, None]:
        bucket, _, key = self._strip_protocol(path).partition("/")
        return bucket, key, None

    def list_objects(self, **options: str) -> dict[str, Any]:
        """One page, with the options and in the form of S3's ``ListObjectsV2``."""
        keys, prefix = _Keys(Shape.read()), options.get("Prefix", "")
        start = max(keys.after(options.get("StartAfter", "")), keys.at(prefix))
        place = int(options.get("ContinuationToken", start))
        stop, delimiter = keys.at(prefix + _LAST), options.get("Delimiter")
        contents: list[dict[str, Any]] = []
        folders: list[dict[str, str]] = []
        while place < stop and len(contents) + len(folders) < PAGE:
            key, number = keys[place], keys.number(place)
            if delimiter and (end := key.find(delimiter, len(prefix)) + 1):
                folders.append({"Prefix": key[:end]})
                place = keys.at(key[:end] + _LAST)
            else:
                size = 3000 + number % 4001
                contents.append({"Key": key, "Size": size, "LastModified": CHANGED})
                place += 1
        page = {"Contents": contents, "CommonPrefixes": folders, "IsTruncated": place < stop}
        return page | ({"NextContinuationToken": str(place)} if place < stop else {})


class _Keys(Sequence[str]):
    """All keys in order; each one is computed when it is needed."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        # The first folders have one file more.
        self._least, self._longer = divmod(shape.files, shape.folders)
        self._in_longer = self._longer * (self._least + 1)

    def __len__(self) -> int:
        return self._shape.files

    def __getitem__(self, place: int) -> str:  # type: ignore[override]
        number = self.number(place)
        name = f"{number:010}.jpg".rjust(self._shape.name_bytes, "x")
        return f"label {number % self._shape.folders:07}/{name}"

    def number(self, place: int) -> int:
        """The number of the file at a place."""
        if place < self._in_longer:
            folder, row = divmod(place, self._least + 1)
        else:
            folder, row = divmod(place - self._in_longer, self._least)
            folder += self._longer
        return folder + row * self._shape.folders

    def at(self, text: str) -> int:
        """The place of the first key that is not before a text."""
        return bisect_left(self, text)

    def after(self, text: str) -> int:
        """The place of the first key after a text."""
        return bisect_right(self, text)


def contents_of(items: pa.Table) -> Iterator[bytes | OSError]:
    """Instead of the contents of :class:`SyntheticFiles`, which have none, their names."""
    return (path.encode() for path in items["path"].to_pylist())


def graph() -> CompiledGraph:
    """A stub of a compiled network, which cannot be loaded."""
    parts = {"graph.bin": b"", "graph.xml": b""}
    return CompiledGraph("Stub", "0" * 64, "openvino", "f32", InputSpec(8), DIMENSION, parts)


def featurize(
    contents: Iterable[bytes | Exception], graph: CompiledGraph, keep: Keep | None = None
) -> Iterator[NDArray[np.float32] | str]:
    """Numbers computed from the content of each file, instead of features of a network."""
    _name_what_runs()
    for content in contents:
        if keep:
            keep(None)
        digest = hashlib.sha256(content if isinstance(content, bytes) else b"").digest()
        yield np.frombuffer(digest, np.uint16).astype(np.float32)[:DIMENSION] / np.float32(2**16)


def _name_what_runs() -> None:
    """Lets a worker name the processor's instructions without loading a network."""
    from fruits.tasks import extract

    _replace(extract, "what_ran", lambda graph: "stub")


def _replace(module: ModuleType, name: str, stub: Any) -> None:
    setattr(module, name, stub)


def install() -> None:
    """Installs the file system and the network in this process, before a run begins."""
    from fruits.planning import estimate
    from fruits.planning.probe import Probe
    from fruits.predictor import write
    from fruits.runs import prepare
    from fruits.tasks import extract

    fsspec.register_implementation(PROTOCOL, SyntheticFiles, clobber=True)
    for module in (estimate, prepare):
        _replace(module, "compile_network", lambda config, stages: graph())
    costs = {"read": 0.0, "decode": 0.0, "network": 0.0, "load": 0.0, "row": 160.0}
    probed = Probe(48, 0, memory=0, thumbnail=0.0, pixels=1, most_pixels=1, **costs)
    _replace(estimate, "probe", lambda listing, graph: probed)
    _replace(extract, "featurize", featurize)
    _replace(extract, "contents_of", contents_of)
    # OpenVINO would read the network, which does not exist.
    _replace(write, "classification_model", lambda graph, classifier: {})


def timed(work: Any, *arguments: Any) -> tuple[Any, float]:
    """The result of a call, and its seconds."""
    begin = time.perf_counter()
    result = work(*arguments)
    return result, time.perf_counter() - begin
