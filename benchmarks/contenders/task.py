"""The common part of all contenders: the task, its timing, the network, a reduction in memory.

It also runs in the environments of the other tools, so it imports neither the package nor Spark.
"""

import contextlib
import functools
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 224
DIMENSION = 1280
# The number of images for each call of the network, if a contender can choose it.
BATCH = 32


@dataclass(frozen=True)
class Task:
    """The task of a contender.

    Attributes:
        images: a folder with a folder of JPEG files for each label.
        weights: a file with the weights of Keras' MobileNetV2.
        graph: a file with the same network, compiled by ``fruits``.
        precision: the precision of this graph.
        output: an existing, empty folder for the results.
        components: the number of components of the PCA.
        cores: the number of cores that the contender may use.
        launched: when its process was started, in seconds since the epoch.
    """

    images: str
    weights: str
    graph: str
    precision: str
    output: str
    components: int
    cores: int
    launched: float

    def to_json(self) -> str:
        """The task as an argument of the command line."""
        return json.dumps(asdict(self))

    @property
    def paths(self) -> list[str]:
        """The image files, in order."""
        return sorted(str(path) for path in Path(self.images).glob("*/*.jpg"))


class Stages:
    """The seconds of each stage; the time before the first stage is the start."""

    def __init__(self, launched: float) -> None:
        self.seconds: dict[str, float] = {}
        self._launched = launched

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measures the time of a block."""
        begin = time.time()
        self.seconds.setdefault("start", begin - self._launched)
        yield
        self.seconds[name] = time.time() - begin


def main(run: Callable[[Task, Stages], dict[str, Any] | None]) -> None:
    """Runs the task from the command line, and writes the figures into its output."""
    task = Task(**json.loads(sys.argv[1]))
    stages = Stages(task.launched)
    more = run(task, stages) or {}
    figures = {"seconds": stages.seconds} | more
    Path(task.output, "figures.json").write_text(json.dumps(figures))


def label_of(path: str) -> str:
    """The name of the folder that a file is in."""
    return path.split("/")[-2]


def pixels_of(content: bytes) -> NDArray[np.uint8]:
    """An image file as uint8 RGB of shape (SIDE, SIDE, 3)."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB").resize((SIDE, SIDE)))


def load_weights(path: str) -> list[NDArray[np.float32]]:
    """The arrays of a file of weights, to be sent to workers."""
    arrays: list[NDArray[np.float32]] = kept_model(path).get_weights()
    return arrays


def build_model(weights: Sequence[NDArray[np.float32]]) -> Any:
    """Keras' MobileNetV2 without its top."""
    model = _mobilenet()
    model.set_weights(weights)
    return model


def preprocess(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The pixels as the network requires them."""
    from keras.applications.mobilenet_v2 import preprocess_input

    scaled: NDArray[np.float32] = preprocess_input(pixels.astype(np.float32))
    return scaled


@functools.cache
def kept_model(path: str) -> Any:
    """The model with the weights from a file, built once in each process."""
    model = _mobilenet()
    model.load_weights(path)
    return model


def features_of(pixels: NDArray[np.uint8], weights: str) -> NDArray[np.float32]:
    """The features of a batch, by the fastest way in Keras: without the loop of ``predict``."""
    features: NDArray[np.float32] = kept_model(weights).predict_on_batch(preprocess(pixels))
    return features


def reduce_in_memory(features: NDArray[np.float32], components: int) -> NDArray[np.float32]:
    """Min-max scaling and PCA by scikit-learn, for engines that do not have them."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import MinMaxScaler

    scaled = MinMaxScaler().fit_transform(features)
    reduced = PCA(components, svd_solver="covariance_eigh").fit_transform(scaled)
    return reduced.astype(np.float32)


def _mobilenet() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow as tf

    # Each core has a worker, so each worker uses one thread. TensorFlow accepts this setting only
    # before the first model is built.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    return keras.applications.MobileNetV2(
        weights=None, include_top=False, pooling="avg", input_shape=(SIDE, SIDE, 3)
    )
