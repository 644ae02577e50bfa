"""Writes the folder of a predictor, in one pass over the training images."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from fruits.classify.model import Classifier
from fruits.features.rows import matrix
from fruits.networks.graph import CompiledGraph
from fruits.predictor.files import upload, write_manifest
from fruits.predictor.model_info import classification_model
from fruits.reduction.fit import Reduction
from fruits.storage.location import Location

NAMES = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("sha256", pa.string()),
        ("norm", pa.float64()),
        ("thumbnail_offset", pa.int64()),
        ("thumbnail_length", pa.int32()),
    ]
)
"""Of ``neighbours.parquet``: the length of each row, and its thumbnail or null."""


def write_predictor(
    place: str,
    graph: CompiledGraph,
    reduction: Reduction,
    classifier: Classifier,
    rows: Iterable[pa.RecordBatch],
    thumbnails: Iterable[pa.RecordBatch],
    about: dict[str, Any],
) -> None:
    """Writes all that recognises images without Spark into a folder, ``predictor.json`` last.

    Args:
        place: path or URI of the folder, which is made.
        graph: the backbone.
        reduction: from its features to k components.
        classifier: of its features.
        rows: the training images in the order of their paths, with the columns path, label, sha256
            and pca (k numbers); they are read once and written as they come.
        thumbnails: pictures by the SHA-256 of images, with the columns sha256 and thumbnail
            (binary), from :meth:`fruits.features.table.FeatureTable.thumbnails`; those of other
            images are left out.
        about: what else is known of the run, plain values for JSON.
    """
    location = Location.of(place)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(location.path if location.is_local else temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in _models(graph, reduction, classifier).items():
            (folder / name).write_bytes(content)
        count = _write_neighbours(folder, rows, thumbnails, reduction.components)
        description = _description(graph, classifier) | {
            "components": reduction.components,
            "neighbours": count,
            "about": _plain(about),
        }
        write_manifest(folder, description)
        if not location.is_local:
            upload(folder, location)


def _models(graph: CompiledGraph, reduction: Reduction, classifier: Classifier) -> dict[str, bytes]:
    with tempfile.SpooledTemporaryFile() as file:
        np.savez(file, allow_pickle=False, weights=reduction.weights, offset=reduction.offset)
        file.seek(0)
        arrays = file.read()
    files = {"reduction.npz": arrays, "classifier.npz": classifier.to_bytes(), **graph.parts}
    if graph.engine == "openvino":
        files |= classification_model(graph, classifier)
    return files


def _description(graph: CompiledGraph, classifier: Classifier) -> dict[str, Any]:
    return {
        "graph": graph.describe(),
        "labels": list(classifier.labels),
        "classifier": classifier.kind,
        "temperature": classifier.temperature,
        "threshold": _plain(classifier.threshold),
        "versions": {name: version(name) for name in ("fruits", "numpy", "openvino")},
    }


def _write_neighbours(
    folder: Path,
    rows: Iterable[pa.RecordBatch],
    thumbnails: Iterable[pa.RecordBatch],
    width: int,
) -> int:
    """Writes components, names and thumbnails; returns the number of rows."""
    names = []
    with (folder / "neighbours.npy").open("wb") as file:
        _write_header(file, 0, width)
        for batch in rows:
            components = matrix(batch["pca"]).astype(np.float32, copy=False).reshape(-1, width)
            components.tofile(file)
            names.append(
                pa.table(
                    {
                        **{name: batch[name] for name in ("path", "label", "sha256")},
                        "norm": _norms(components),
                    }
                )
            )
        table = pa.concat_tables([NAMES.empty_table().select(range(4)), *names])
        # NumPy leaves room in the header for a number that is known at the end only.
        file.seek(0)
        _write_header(file, table.num_rows, width)
    pictures = _write_thumbnails(folder / "thumbnails.bin", thumbnails, table["sha256"])
    found = pc.index_in(table["sha256"], pictures["sha256"])
    for name in ("thumbnail_offset", "thumbnail_length"):
        table = table.append_column(name, pictures[name].take(found))
    pq.write_table(table.cast(NAMES), folder / "neighbours.parquet", use_dictionary=["label"])
    return int(table.num_rows)


def _write_header(file: BinaryIO, rows: int, width: int) -> None:
    about = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    npy.write_array_header_1_0(file, about)


def _norms(components: NDArray[np.float32]) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.linalg.norm(components.astype(np.float64), axis=1)
    return norms


def _write_thumbnails(
    path: Path, thumbnails: Iterable[pa.RecordBatch], wanted: pa.ChunkedArray
) -> pa.Table:
    """Writes the pictures of some contents one after the other, each once; returns their places."""
    left = set(wanted.to_pylist())
    digests, lengths = [], []
    with path.open("wb") as file:
        for batch in thumbnails:
            for digest, picture in zip(
                batch["sha256"].to_pylist(), batch["thumbnail"].to_pylist(), strict=True
            ):
                if digest in left and picture:
                    left.remove(digest)
                    digests.append(digest)
                    lengths.append(file.write(picture))
    offsets = np.cumsum([0, *lengths], dtype=np.int64)[:-1]
    columns = {"sha256": digests, "thumbnail_offset": offsets, "thumbnail_length": lengths}
    return pa.table(columns, schema=pa.schema([NAMES.field(name) for name in columns]))


def _plain(value: Any) -> Any:
    """A value for JSON, which knows neither infinity nor what is not a number: null."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
