"""A file system with any number of image files, and a network that takes no time.

Only :mod:`benchmarks.scale` uses them instead of real ones, to measure all other parts of a run.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
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
CHANGED = 1_700_000_000.0
DIMENSION = 16


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
    """Files with computed names and lengths; file n is in folder n modulo the number of folders."""

    protocol = PROTOCOL
    cachable = False

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        shape = Shape.read()
        path = self._strip_protocol(path).rstrip("/")
        if path == "images":
            names = [f"images/label {n:07}" for n in range(min(shape.folders, shape.files))]
            found = [{"name": name, "size": 0, "type": "directory"} for name in names]
        else:
            numbers = range(int(path.rpartition(" ")[2]), shape.files, shape.folders)
            found = [_about(path, number, shape.name_bytes) for number in numbers]
        return found if detail else [one["name"] for one in found]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return {"name": self._strip_protocol(path), "size": 0, "type": "directory"}


def _about(folder: str, number: int, name_bytes: int) -> dict[str, Any]:
    name = f"{number:010}.jpg".rjust(name_bytes, "x")
    size = 3000 + number % 4001
    return {"name": f"{folder}/{name}", "size": size, "type": "file", "mtime": CHANGED}


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
    from fruits.predictor import write
    from fruits.runs import estimate, prepare
    from fruits.runs import extract as runs_extract
    from fruits.runs.probe import Probe
    from fruits.tasks import extract

    fsspec.register_implementation(PROTOCOL, SyntheticFiles, clobber=True)
    for module in (estimate, prepare):
        _replace(module, "compile_network", lambda config, stages: graph())
    costs = {"read": 0.0, "decode": 0.0, "network": 0.0, "load": 0.0, "row": 160.0}
    probed = Probe(48, 0, memory=0, thumbnail=0.0, pixels=1, most_pixels=1, **costs)
    _replace(estimate, "probe", lambda listing, graph: probed)
    _replace(extract, "featurize", featurize)
    _replace(runs_extract, "extract", partial(extract.extract, contents=contents_of))
    # OpenVINO would read the network, which does not exist.
    _replace(write, "classification_model", lambda graph, classifier: {})


def timed(work: Any, *arguments: Any) -> tuple[Any, float]:
    """The result of a call, and its seconds."""
    begin = time.perf_counter()
    result = work(*arguments)
    return result, time.perf_counter() - begin
