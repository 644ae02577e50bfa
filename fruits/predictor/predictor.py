"""Predicts images with the results of a run, without Spark."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fruits.classify.model import Classifier
from fruits.errors import BackboneError, ConfigError, InputError
from fruits.features.label_sums import Array
from fruits.images.crop import Box
from fruits.networks.graph import (
    ENGINES,
    PRECISIONS,
    CompiledGraph,
    names_of_parts,
    values_of,
)
from fruits.networks.objects import Finder, Objects, find_objects, finder_of
from fruits.networks.openvino_network import Network
from fruits.networks.runtime import compiled_network, featurize_with
from fruits.predictor.files import MANIFEST, Folder
from fruits.predictor.images import Neighbour, TrainingImages
from fruits.reduction.blas import one_blas_thread
from fruits.reduction.transform import affine
from fruits.storage.location import Location

Given = TypeVar("Given")
Made = TypeVar("Made")

_GROUP = 32
"""The number of images that :meth:`Predictor.predict_many` reads at a time."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction for an image.

    Attributes:
        label: The most probable label.
        confidence: The probability of the label, 0 to 1.
        unknown: Whether the image is farther from all labels than 99 % of held-out training images
            (of images of new objects, more than 1 % are); then the label means little.
        distance: The Mahalanobis distance to the nearest label's mean, which decides ``unknown``.
        top: Up to five labels and their probabilities, the most probable first.
        components: float32 of shape (k,), as in the table ``pca/``.
        neighbours: The five nearest training images, the nearest first.
        box: The predicted part of the photograph, as left, top, right, bottom in pixels; None for
            the whole photograph.
    """

    label: str
    confidence: float
    unknown: bool
    distance: float
    top: tuple[tuple[str, float], ...]
    components: NDArray[np.float32]
    neighbours: tuple[Neighbour, ...]
    box: Box | None = None


class Predictor:
    """A network, a classifier and the training images of a finished run.

    Create it with :meth:`load`. It is safe to use from several threads. For the same bytes, it
    gives the same bits as the tables ``pca/`` and ``predictions/`` of the run, on processors with
    the same instructions.

    Attributes:
        about: Information: ``backbone``, ``engine``, ``precision``, ``weights_sha256``, ``input``,
            ``labels``, ``temperature``, ``threshold`` (None if it was not fitted), ``components``,
            ``neighbours`` (the number of images among which the nearest ones are found),
            ``versions``, ``computed_by`` (engine, precision and instructions on this machine), and
            values from the run: counts, classifier (with the number of training images),
            evaluation.
    """

    def __init__(
        self,
        network: Network,
        graph: CompiledGraph,
        reduction: tuple[Array, Array],
        classifier: Classifier,
        images: TrainingImages,
        about: dict[str, Any],
        find: Finder | None = None,
    ) -> None:
        self.about = about
        self._find = find
        self._network, self._graph = network, graph
        self._reduction, self._classifier, self._images = reduction, classifier, images

    @classmethod
    def load(cls, place: str | os.PathLike[str]) -> Predictor:
        """Loads a predictor and verifies each of its files; no code in them is executed.

        Args:
            place: path or URI of the output of a run, or of its folder ``predictor``. Files in a
                store are downloaded into ``$FRUITS_CACHE``, by default ``~/.cache/fruits``.

        Raises:
            OutputError: there is no predictor, or a file is missing, damaged, or differs from
                ``predictor.json``.
            BackboneError: this machine cannot run the network.
            StorageError: the store cannot be used.
        """
        folder = Folder.of(Location.of(os.fspath(place)))
        with ThreadPoolExecutor(2) as pool:
            # Verifying the large files and compiling the network use a core each.
            waiting = pool.submit(TrainingImages.read, folder)
            graph = _graph(folder)
            # First, so that the memory for reading them can be used again.
            classifier, reduction = _classifier(folder, graph), _reduction(folder, graph)
            network, ran = compiled_network(graph, one_by_one=True)
            find = _one_at_a_time(finder_of(graph)) if graph.detector else None
            images = waiting.result()
        about = _about(folder, graph) | {"computed_by": ran}
        return cls(_one_at_a_time(network), graph, reduction, classifier, images, about, find)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the classifier."""
        return self._classifier.labels

    def predict(self, content: bytes) -> Prediction:
        """Predicts an image.

        Args:
            content: the bytes of a file of any format that a run reads.

        Raises:
            InputError: the file is not an image or is damaged; with the reason.
            ConfigError: the model has a detector, so a photograph may have several objects.
        """
        [prediction] = self.predict_many([content])
        if isinstance(prediction, str):
            raise InputError(prediction)
        return prediction

    def predict_many(self, contents: Iterable[bytes]) -> Iterator[Prediction | str]:
        """Predicts images in order; yields the reason for an image that cannot be used.

        It reads a few dozen contents ahead.

        Raises:
            ConfigError: see :meth:`predict`.
        """
        if self.finds_objects:
            raise ConfigError(
                "model: wanted a model without a detector, with one prediction per photograph; got "
                "one that may find several objects: call predict_objects"
            )
        stream = iter(contents)
        while some := list(islice(stream, _GROUP)):
            results = list(featurize_with(self._network, some, self._graph))
            good = [result for result in results if not isinstance(result, str)]
            predicted = iter(self._of_features(np.stack(good)) if good else [])
            for result in results:
                yield result if isinstance(result, str) else next(predicted)

    @property
    def finds_objects(self) -> bool:
        """Whether it has a detector and predicts objects instead of whole photographs."""
        return self._find is not None

    def predict_objects(self, contents: Iterable[bytes]) -> Iterator[list[Prediction] | str]:
        """Predicts the objects in photographs, in order: one prediction for each detected box.

        Without a detector, there is one prediction without a box for each photograph.

        Yields:
            Predictions, the box with the highest score first, or the reason for a photograph that
            cannot be used.
        """
        if self._find is None:
            for one in self.predict_many(contents):
                yield one if isinstance(one, str) else [one]
            return
        for found in find_objects(self._network, self._find, contents, self._graph):
            yield self._of_objects(found) if isinstance(found, Objects) else found

    def _of_objects(self, found: Objects) -> list[Prediction]:
        predictions = self._of_features(found.features)
        return [replace(one, box=box) for one, box in zip(predictions, found.boxes, strict=True)]

    def _of_features(self, features: NDArray[np.float32]) -> list[Prediction]:
        with one_blas_thread():
            components = affine(features, *self._reduction)
            predictions, labels = self._classifier.predict(features), self.labels
        with nullcontext() if self._images.are_many else one_blas_thread():
            nearest = list(self._images.nearest(components))
        return [
            Prediction(
                label=labels[predictions.predicted[row]],
                confidence=float(predictions.confidence[row]),
                unknown=bool(predictions.unknown[row]),
                distance=float(predictions.distance[row]),
                top=tuple(
                    (labels[index], float(probability))
                    for index, probability in zip(
                        predictions.top[row], predictions.top_probability[row], strict=True
                    )
                ),
                components=components[row],
                neighbours=neighbours,
            )
            for row, neighbours in enumerate(nearest)
        ]


def _one_at_a_time(function: Callable[[Given], Made]) -> Callable[[Given], Made]:
    lock = threading.Lock()

    def run(given: Given) -> Made:
        with lock:
            return function(given)

    return run


_GRAPH_TYPES = {"backbone": str, "weights_sha256": str, "dimension": int, "exact_decode": bool}


def _graph(folder: Folder) -> CompiledGraph:
    try:
        about = folder.manifest["graph"]
        for name, known in (("engine", ENGINES), ("precision", PRECISIONS)):
            if about[name] not in known:
                raise ValueError(f"wanted one of {', '.join(known)}; got {about[name]!r}")
        for name, kind in _GRAPH_TYPES.items():
            if type(about[name]) is not kind:
                raise TypeError(f"wanted {name} as {kind.__name__}; got {about[name]!r:.100}")
        names = names_of_parts(about["engine"], bool(about.get("detector")))
        return CompiledGraph(**values_of(about), parts={name: folder.read(name) for name in names})
    except (KeyError, TypeError, ValueError, BackboneError) as error:
        raise folder.damaged(MANIFEST, repr(error)) from error


def _classifier(folder: Folder, graph: CompiledGraph) -> Classifier:
    try:
        found = Classifier.from_bytes(folder.read("classifier.npz"))
        labels, width = len(found.labels), graph.dimension
        shapes = {
            "coefficients": (labels, width),
            "intercept": (labels,),
            "mean": (width,),
            "whitening": (width, width),
            "centres": (labels, width),
        }
        for name, shape in shapes.items():
            _require_array(getattr(found, name), shape, name)
        for name, value in found.described.items():
            if folder.manifest[name] != value:
                raise ValueError(f"its {name} is not what {MANIFEST} says")
    except (KeyError, TypeError, ValueError) as error:
        raise folder.damaged("classifier.npz", error) from error
    return found


def _reduction(folder: Folder, graph: CompiledGraph) -> tuple[Array, Array]:
    try:
        with np.load(io.BytesIO(folder.read("reduction.npz")), allow_pickle=False) as file:
            weights, offset = file["weights"], file["offset"]
        count = folder.manifest["components"]
        _require_array(weights, (graph.dimension, count), "weights")
        _require_array(offset, (count,), "offset")
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise folder.damaged("reduction.npz", error) from error
    return weights, offset


def _require_array(array: Array, shape: tuple[int, ...], name: str) -> None:
    if array.dtype != np.float64 or array.shape != shape:
        raise ValueError(f"{name}: wanted float64 {shape}; got {array.dtype} {array.shape}")


def _about(folder: Folder, graph: CompiledGraph) -> dict[str, Any]:
    manifest = folder.manifest
    names = ("labels", "temperature", "threshold", "components", "neighbours")
    try:
        return {
            **manifest["about"],
            **graph.identity,
            "input": asdict(graph.input),
            **{name: manifest[name] for name in names},
            "versions": manifest["about"].get("versions", {}) | manifest["versions"],
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise folder.damaged(MANIFEST, repr(error)) from error
