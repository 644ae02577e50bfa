import os

# Before NumPy is imported. The threads of its linear algebra wait for each other by spinning. While
# another process of tests uses the other core, two threads take ten times as long as one.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import fcntl
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from small_pictures import draw_pictures

from fruits.networks.compile import compile_backbone
from fruits.networks.graph import CompiledGraph
from fruits.spark.workers import SparkWorkers
from fruits.tasks.local import LocalWorkers
from fruits.tasks.workers import Workers

# These are set before the first session: two cores on any machine, and no web server.
os.environ["PYSPARK_SUBMIT_ARGS"] = (
    "--master local[2] --conf spark.ui.enabled=false "
    "--conf spark.sql.shuffle.partitions=4 pyspark-shell"
)
# The tests are too short to benefit from Java's second compiler and from its parallel collector.
os.environ["SPARK_SUBMIT_OPTS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

# Whether pytest-xdist runs the tests in several processes.
IN_PARALLEL = "PYTEST_XDIST_WORKER" in os.environ

# Programs that a shell starts in the background ignore Ctrl-C, and so would their child processes.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The files that take longest, of which the processes of tests take whole ones: a long file that
# starts last would run alone. The archive of the first one makes Java start faster in all others.
LONGEST = [
    Path(__file__).parent / name
    for name in (
        "runs/test_class_archive.py",
        "runs/test_pipeline.py",
        "runs/test_faults.py",
        "runs/test_classify.py",
        "comparison/test_run_networks.py",
        "networks/test_isolation.py",
        "spark/test_foreign_session.py",
        "runs/test_parts.py",
        "spark/test_models.py",
        "tasks/test_cross_validation.py",
        "runs/test_notebook.py",
        "runs/test_reused_rows.py",
        "spark/test_softmax.py",
    )
]

# Folders whose tests take minutes, because they start servers, browsers or TensorFlow.
SLOW = {Path(__file__).parent / name for name in ("aws", "networks", "serve")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by their fixtures and folders; other slow and Spark tests have own markers."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if SLOW & set(item.path.parents) or {"graph", "s3_server"} & fixtures:
            item.add_marker(pytest.mark.slow)
        if {"spark", "executed"} & fixtures:
            item.add_marker(pytest.mark.spark)
    places = {path: place for place, path in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session", autouse=True)
def class_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the archive of Java's classes, which test_class_archive.py writes.

    Each Java that a test starts later, in any of the processes, uses it.
    """
    path = shared_folder(tmp_path_factory) / "fruits-test" / "a name.jsa"
    path.parent.mkdir(exist_ok=True)
    os.environ["FRUITS_CLASS_ARCHIVE"] = str(path)
    return path


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary folder that all processes of tests have in common."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if IN_PARALLEL else folder


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    from fruits.spark.session import get_spark

    session = get_spark()
    yield session
    session.stop()


@pytest.fixture(scope="session")
def local_workers() -> Iterator[LocalWorkers]:
    with LocalWorkers(2) as workers:
        yield workers


@pytest.fixture(params=["local", pytest.param("spark", marks=pytest.mark.spark)])
def workers(request: pytest.FixtureRequest) -> Workers:
    """Workers of each kind."""
    if request.param == "spark":
        return SparkWorkers(request.getfixturevalue("spark"))
    local: LocalWorkers = request.getfixturevalue("local_workers")
    return local


@pytest.fixture(params=["local", "spark"])
def kind_of_workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Lets runs in other processes use workers of each kind."""
    kind: str = request.param
    if kind == "local":
        without_java(monkeypatch)
    return kind


def without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of someone who has not configured Spark, on a machine without Java."""
    monkeypatch.delenv("PYSPARK_SUBMIT_ARGS")
    for name in ("SPARK_CONF_DIR", "SPARK_HOME", "PYSPARK_GATEWAY_PORT", "SPARK_REMOTE", "MASTER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JAVA_HOME", "/nonexistent")


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> CompiledGraph:
    """EfficientNetLite0 with its ImageNet weights; runs in the tests use it from the cache."""
    folder = shared_folder(tmp_path_factory)  # Of all processes, the first one compiles.
    os.environ["FRUITS_CACHE"] = str(folder / "graphs")
    with (folder / "graphs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return compile_backbone("EfficientNetLite0")


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes small, different JPEG pictures to a folder, and returns the folder."""

    def draw(labels: dict[str, int], folder: str = "images", seed: int = 0) -> Path:
        return draw_pictures(tmp_path / folder, labels, seed)

    return draw


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The empty bucket "fruits" on a server with the API of S3."""
    import boto3  # type: ignore[import-untyped]

    from fruits.storage.s3 import RetryingS3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    RetryingS3.clear_instance_cache()
    bucket = boto3.resource("s3", region_name="us-east-1").create_bucket(Bucket="fruits")
    yield bucket
    bucket.objects.all().delete()
    RetryingS3.clear_instance_cache()
