"""Downloads the files of Keras' ImageNet weights.

They are stored in Keras' own cache (``$KERAS_HOME/models``, by default ``~/.keras/models``), where
Keras finds them and downloads nothing itself. If a server does not respond, the download fails
within seconds.
"""

import hashlib
import os
import shutil
import tempfile
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path

# Timeout in seconds, for the request of the header and for each read of the content.
DOWNLOAD_TIMEOUT_SECONDS = 10


KERAS_SITE = "https://storage.googleapis.com/"


_TENSORFLOW = "tensorflow/keras-applications/"


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights that Keras publishes.

    Attributes:
        folder: The folder in :data:`KERAS_SITE`.
        name: The name of the file.
        md5: The MD5 that Keras publishes for the content; None if there is none.
    """

    folder: str
    name: str
    md5: str | None

    @property
    def url(self) -> str:
        """The URL of the file."""
        return f"{KERAS_SITE}{self.folder}{self.name}"

    def path(self) -> Path:
        """The path where Keras looks for it."""
        home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
        return Path(home) / "models" / self.name

    def is_whole(self, path: Path) -> bool:
        """Whether a file exists and has the right digest, if that is known."""
        if not path.exists():
            return False
        with path.open("rb") as file:
            return self.md5 in (None, hashlib.file_digest(file, "md5").hexdigest())


# The weights without the last layer of each network of the catalogue that Keras publishes.
IMAGENET = {
    "MobileNetV2": PublishedFile(
        f"{_TENSORFLOW}mobilenet_v2/",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        None,
    ),
    "MobileNetV3Large": PublishedFile(
        f"{_TENSORFLOW}mobilenet_v3/",
        "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389",
    ),
    "ResNet50": PublishedFile(
        f"{_TENSORFLOW}resnet/",
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
    "ResNet50V2": PublishedFile(
        f"{_TENSORFLOW}resnet/",
        "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "fac2f116257151a9d068a22e544a4917",
    ),
    "EfficientNetB0": PublishedFile(
        "keras-applications/", "efficientnetb0_notop.h5", "50bc09e76180e00e4465e1a485ddc09d"
    ),
    "EfficientNetV2B0": PublishedFile(
        f"{_TENSORFLOW}efficientnet_v2/",
        "efficientnetv2-b0_notop.h5",
        "893217f2bb855e2983157299931e43ff",
    ),
    "InceptionV3": PublishedFile(
        f"{_TENSORFLOW}inception_v3/",
        "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "bcbd6486424b2319ff4ef7d526e38f63",
    ),
    "VGG16": PublishedFile(
        f"{_TENSORFLOW}vgg16/",
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
    ),
}


def fetch(file: PublishedFile, path: Path) -> None:
    """Downloads a file atomically.

    Raises:
        OSError: the server does not respond, refuses, or closes the connection too early.
        ValueError: the digest of the content is wrong.
    """
    _require_answer(file.url)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / file.name
        try:
            with (
                urllib.request.urlopen(file.url, timeout=DOWNLOAD_TIMEOUT_SECONDS) as response,
                part.open("wb") as target,
            ):
                shutil.copyfileobj(response, target)
                announced = response.headers.get("Content-Length")
        except OSError as error:
            raise OSError(f"{file.url}: {error}") from error
        size = part.stat().st_size
        if announced is not None and size != int(announced):
            raise OSError(f"{file.url}: the download ended after {size} of {announced} bytes")
        if not file.is_whole(part):
            raise ValueError(f"{file.url}: its MD5 is not {file.md5}")
        part.replace(path)


def _require_answer(url: str) -> None:
    """Raises OSError unless the server responds within :data:`DOWNLOAD_TIMEOUT_SECONDS`.

    It uses a thread, because looking up a host name has no timeout.
    """
    seconds = DOWNLOAD_TIMEOUT_SECONDS
    outcome: list[Exception] = [TimeoutError(f"{url}: no answer within {seconds} s")]

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            # Longer than the caller waits, so that the message is always the one above.
            urllib.request.urlopen(request, timeout=2 * seconds).close()
            outcome.clear()
        except Exception as error:
            outcome[:] = [OSError(f"{url}: {error}")]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if outcome:
        raise outcome[0]
