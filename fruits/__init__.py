"""Folders of photographs to CNN features, components and a classifier, on Spark."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fruits.comparison.run_networks import compare
    from fruits.errors import (
        BackboneError,
        CloudError,
        ClusterError,
        ConfigError,
        FruitsError,
        InputError,
        OutputError,
        StorageError,
        WorkerError,
    )
    from fruits.features.table import open_features
    from fruits.planning.estimate import estimate
    from fruits.predictor.predictor import Predictor
    from fruits.runs.config import RunConfig
    from fruits.runs.pipeline import run

# The module of each name. A module is imported on first use: Spark takes a second to import.
_MODULES = {
    "BackboneError": "fruits.errors",
    "CloudError": "fruits.errors",
    "ClusterError": "fruits.errors",
    "ConfigError": "fruits.errors",
    "FruitsError": "fruits.errors",
    "InputError": "fruits.errors",
    "OutputError": "fruits.errors",
    "Predictor": "fruits.predictor.predictor",
    "RunConfig": "fruits.runs.config",
    "StorageError": "fruits.errors",
    "WorkerError": "fruits.errors",
    "compare": "fruits.comparison.run_networks",
    "estimate": "fruits.planning.estimate",
    "open_features": "fruits.features.table",
    "run": "fruits.runs.pipeline",
}
__all__ = [
    "BackboneError",
    "CloudError",
    "ClusterError",
    "ConfigError",
    "FruitsError",
    "InputError",
    "OutputError",
    "Predictor",
    "RunConfig",
    "StorageError",
    "WorkerError",
    "__version__",
    "compare",
    "estimate",
    "open_features",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("fruits")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
