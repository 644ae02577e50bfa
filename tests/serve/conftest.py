from collections.abc import Iterator
from pathlib import Path

import pytest
from models import Server, served, write_model

from fruits.networks.graph import CompiledGraph
from fruits.sample import draw_sample


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample")
    draw_sample(str(root), classes=4, per_class=12)
    return root


@pytest.fixture(scope="session")
def training(sample: Path) -> list[Path]:
    return sorted((sample / "Training").rglob("*.jpg"))


@pytest.fixture(scope="session")
def photographs(sample: Path) -> list[bytes]:
    """The photographs in Test."""
    return [file.read_bytes() for file in sorted((sample / "Test").rglob("*.jpg"))]


@pytest.fixture(scope="session")
def model(
    graph: CompiledGraph,
    training: list[Path],
    photographs: list[bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The output of a run with only its predictor."""
    output = tmp_path_factory.mktemp("output")
    write_model(output / "predictor", graph, training, photographs, 0.3)
    return output


@pytest.fixture(scope="session")
def other(
    graph: CompiledGraph,
    training: list[Path],
    photographs: list[bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A predictor with other predictions."""
    folder = tmp_path_factory.mktemp("other") / "predictor"
    write_model(folder, graph, training, photographs, 0.9)
    return folder


@pytest.fixture(scope="session")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(model, tmp_path_factory.mktemp("server")) as server:
        yield server
