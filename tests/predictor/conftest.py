"""A predictor for synthetic pictures of fruit, made without Spark, and its inputs."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from fruits.classify.fit import Discriminant
from fruits.classify.model import Classifier
from fruits.classify.transforms import transform_features
from fruits.features.moments import Moments
from fruits.features.rows import lists
from fruits.networks.graph import CompiledGraph
from fruits.networks.runtime import featurize
from fruits.predictor import Predictor, write_predictor
from fruits.reduction.fit import Reduction, fit_reduction
from fruits.reduction.transform import affine
from fruits.sample import draw_sample
from fruits.storage.location import Location

SHRINKAGE, TEMPERATURE = 0.2, 1.7


@dataclass(frozen=True)
class Trained:
    """The results at the end of a run: the training images, and the fitted models."""

    graph: CompiledGraph
    paths: list[str]
    labels: list[str]
    contents: list[bytes]
    features: NDArray[np.float32]
    reduction: Reduction
    classifier: Classifier
    tested: list[bytes]
    tested_features: NDArray[np.float32]

    @property
    def digests(self) -> list[str]:
        return [hashlib.sha256(content).hexdigest() for content in self.contents]

    @property
    def components(self) -> NDArray[np.float32]:
        return affine(self.features, self.reduction.weights, self.reduction.offset)

    def rows(self, size: int = 10) -> Iterator[pa.RecordBatch]:
        """Yields the training images in batches, as a run does."""
        columns = {
            "path": self.paths,
            "label": self.labels,
            "sha256": self.digests,
            "pca": lists(self.components),
        }
        yield from pa.table(columns).to_batches(size)

    def thumbnails(self) -> Iterator[pa.RecordBatch]:
        """Thumbnails in another order: none of the first image, some repeated, one of no image."""
        some = [(digest, b"jpeg of " + digest.encode()) for digest in self.digests[:0:-1]]
        some += [*some[:3], ("0" * 64, b"of an image of the other side")]
        for start in range(0, len(some), 7):
            digests, pictures = zip(*some[start : start + 7], strict=True)
            yield pa.record_batch(
                {"sha256": pa.array(digests), "thumbnail": pa.array(pictures, pa.binary())}
            )

    def write(self, place: str) -> None:
        """Writes a predictor to a path or URI."""
        about = {"counts": {"found": len(self.paths)}, "evaluation": {"log_loss": float("nan")}}
        write_predictor(
            Location.of(place),
            self.graph,
            self.reduction,
            self.classifier,
            self.rows(),
            self.thumbnails(),
            about,
        )


@pytest.fixture(scope="session")
def trained(graph: CompiledGraph, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("sample")
    draw_sample(str(root), classes=4, per_class=12)
    files, others = (sorted((root / side).rglob("*.jpg")) for side in ("Training", "Test"))
    contents, tested = ([file.read_bytes() for file in some] for some in (files, others))
    features, tested_features = (np.stack(list(featurize(c, graph))) for c in (contents, tested))  # type: ignore[arg-type]
    labels = [file.parent.name for file in files]
    learned = Discriminant.of(Moments.of(transform_features(features, "sqrt"), labels))
    threshold = float(learned.classifier(SHRINKAGE, "sqrt").distances(features).max())
    return Trained(
        graph=graph,
        paths=[f"file:{file}" for file in files],
        labels=labels,
        contents=contents,
        features=features,
        reduction=fit_reduction(Moments.of(features), "minmax", 0.97),
        classifier=learned.classifier(SHRINKAGE, "sqrt", TEMPERATURE, threshold),
        tested=tested,
        tested_features=tested_features,
    )


@pytest.fixture(scope="session")
def folder(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("output")
    trained.write(f"file:{output}/predictor")
    return output / "predictor"


@pytest.fixture(scope="session")
def predictor(folder: Path) -> Predictor:
    return Predictor.load(str(folder))
