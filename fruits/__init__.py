"""Folders of photographs to CNN features and reduced features, on Spark."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fruits.errors import (
        BackboneError,
        CloudError,
        ConfigError,
        FruitsError,
        InputError,
        OutputError,
        StorageError,
        WorkerError,
    )
    from fruits.runs.config import RunConfig
    from fruits.runs.pipeline import run

# Where each name is. Nothing is imported before it is used: Spark takes a second.
_HOMES = {
    "BackboneError": "fruits.errors",
    "CloudError": "fruits.errors",
    "ConfigError": "fruits.errors",
    "FruitsError": "fruits.errors",
    "InputError": "fruits.errors",
    "OutputError": "fruits.errors",
    "RunConfig": "fruits.runs.config",
    "StorageError": "fruits.errors",
    "WorkerError": "fruits.errors",
    "run": "fruits.runs.pipeline",
}
__all__ = [
    "BackboneError",
    "CloudError",
    "ConfigError",
    "FruitsError",
    "InputError",
    "OutputError",
    "RunConfig",
    "StorageError",
    "WorkerError",
    "__version__",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("fruits")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
