"""Computes features of image files, or of the boxes that a detector finds in them.

A photograph is decoded once, at full scale; the detector gets all of it, the network each box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fruits.images.crop import Box
from fruits.images.decode import decode_whole
from fruits.images.resize import resize
from fruits.images.size_limits import RejectedImage, rejection
from fruits.images.thumbnail import thumbnail
from fruits.networks import runtime
from fruits.networks.boxes import boxes_of
from fruits.networks.graph import CompiledGraph
from fruits.networks.graph_check import require_safe_openvino
from fruits.networks.openvino_network import Network, compile_openvino
from fruits.networks.runtime import Keep
from fruits.sources.boxes import fragment

NO_OBJECT = "no object found"
"""The reason for rejecting a photograph without boxes."""

# Finds the boxes of an upright photograph.
Finder = Callable[[Image.Image], list[Box]]


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects in a photograph.

    Attributes:
        boxes: The n boxes, the one with the highest score first.
        features: float32 of shape (n, d), the features of the boxes.
        thumbnails: The thumbnails of the boxes.
    """

    boxes: list[Box]
    features: NDArray[np.float32]
    thumbnails: list[bytes]


@dataclass(frozen=True, eq=False)
class FeatureRow:
    """A row of features.

    Attributes:
        fragment: The suffix of the photograph's path; empty for the whole photograph.
        features: float32 of shape (d,), the features.
        thumbnail: The thumbnail as JPEG.
    """

    fragment: str
    features: NDArray[np.float32]
    thumbnail: bytes | None


Result = NDArray[np.float32] | Objects | str


def featurize(
    contents: Iterable[bytes | Exception], graph: CompiledGraph, keep: Keep | None = None
) -> Iterator[Result]:
    """Like :func:`fruits.networks.runtime.featurize`; with a detector, yields :class:`Objects`.

    Args:
        contents: the contents of the files; an exception for a file that could not be read.
        graph: the backbone, with its detector if it has one.
        keep: called with a thumbnail of each image before its features are yielded, or with None
            for :class:`Objects`, which have their own thumbnails.

    Yields:
        float32 of shape (graph.dimension,), objects, or the reason for a rejection.
    """
    if graph.detector is None:
        yield from runtime.featurize(contents, graph, keep)
        return
    for found in find_objects(runtime.load(graph), load_finder(graph), contents, graph):
        if keep:
            keep(None)
        yield found


def find_objects(
    network: Network,
    find: Finder,
    contents: Iterable[bytes | Exception],
    graph: CompiledGraph,
) -> Iterator[Objects | str]:
    """Yields the objects in photographs, in order, or the reasons for rejections."""
    for content in contents:
        try:
            if isinstance(content, Exception):
                raise rejection(content)
            image = decode_whole(content)
            if not (boxes := find(image)):
                raise RejectedImage(NO_OBJECT)
        except RejectedImage as rejected:
            yield str(rejected)
            continue
        yield _objects(network, image, boxes, graph)


def parts_of(result: NDArray[np.float32] | Objects, picture: bytes | None) -> list[FeatureRow]:
    """The rows of features of a photograph; ``picture`` is its thumbnail if it has no boxes."""
    if not isinstance(result, Objects):
        return [FeatureRow("", result, picture)]
    rows = zip(result.boxes, result.features, result.thumbnails, strict=True)
    return [FeatureRow(fragment(box), features, picture) for box, features, picture in rows]


def load_finder(graph: CompiledGraph) -> Finder:
    """The detector of a graph, compiled for this machine and cached for the next task."""
    if graph.digest not in _loaded:
        _loaded.clear()
        _loaded[graph.digest] = finder_of(graph)
    return _loaded[graph.digest]


_loaded: dict[str, Finder] = {}


def finder_of(graph: CompiledGraph) -> Finder:
    """Compiles the detector of a graph; only one thread may use it at a time."""
    import openvino

    detector = graph.detector
    assert detector is not None
    xml, constants = graph.parts["detector.xml"], graph.parts["detector.bin"]
    require_safe_openvino(xml, constants)
    model = openvino.Core().read_model(model=xml, weights=constants)
    compiled = compile_openvino(model, "f32", runtime.task_threads())
    request = compiled.create_infer_request()

    def find(image: Image.Image) -> list[Box]:
        pixels = np.asarray(resize(image, detector.input))[np.newaxis]
        answer = request.infer([pixels])
        outputs = [np.array(answer[place]) for place in range(len(compiled.outputs))]
        boxes = boxes_of(outputs, detector, *image.size)
        return boxes or ([(0, 0, *image.size)] if detector.empty == "whole" else [])

    return find


def _objects(
    network: Network, image: Image.Image, boxes: list[Box], graph: CompiledGraph
) -> Objects | str:
    pixels = np.stack([np.asarray(resize(image.crop(box), graph.input)) for box in boxes])
    features = network(pixels)
    if not np.isfinite(features).all():
        return "no features: the network gave values that are not finite"
    return Objects(boxes, features, [thumbnail(one, b"") for one in pixels])
