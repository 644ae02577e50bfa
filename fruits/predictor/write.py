"""Writes the folder of a predictor, in one pass over the training images."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fruits.classify.model import Classifier
from fruits.networks.graph import CompiledGraph
from fruits.predictor.files import upload, write_manifest
from fruits.predictor.model_info import classification_model
from fruits.predictor.write_images import write_images
from fruits.reduction.fit import Reduction
from fruits.storage.location import Location


def write_predictor(
    place: Location,
    graph: CompiledGraph,
    reduction: Reduction,
    classifier: Classifier,
    rows: Iterable[pa.RecordBatch],
    thumbnails: Iterable[pa.RecordBatch],
    about: dict[str, Any],
) -> None:
    """Writes a predictor, which needs no Spark, into a folder, ``predictor.json`` last.

    Args:
        place: the folder, which is created.
        graph: the backbone.
        reduction: the reduction of its features to k components.
        classifier: the classifier of its features.
        rows: the training images sorted by path, with the columns path, label, sha256 and pca (k
            numbers); they are streamed.
        thumbnails: thumbnails with the SHA-256 of their images, with the columns sha256 and
            thumbnail (binary), from :meth:`fruits.features.table.FeatureTable.thumbnails`; those of
            other images are ignored.
        about: more information about the run, as plain values for JSON.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(place.path if place.is_local else temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in _models(graph, reduction, classifier).items():
            (folder / name).write_bytes(content)
        count = write_images(folder, rows, thumbnails, reduction.components)
        description = _description(graph, classifier) | {
            "components": reduction.components,
            "neighbours": count,
            "about": _plain(about),
        }
        write_manifest(folder, description)
        if not place.is_local:
            upload(folder, place)


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
        **classifier.described,
        "versions": {name: version(name) for name in ("fruits", "numpy", "openvino")},
    }


def _plain(value: Any) -> Any:
    """Converts a value for JSON; infinity and NaN, which JSON does not have, become null."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
