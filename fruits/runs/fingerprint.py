"""Digests of everything that determines the results of a run: equal digests mean equal results.

A run whose digests equal those of the last run in its output has nothing to do; see
:mod:`fruits.runs.unchanged`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa

import fruits
from fruits.errors import OutputError, one_line
from fruits.networks.processor import instruction_sets
from fruits.options import options
from fruits.predictor.files import MANIFEST
from fruits.runs.basis import BASELINES_FILE, CLASSIFIER_FILE, MOMENTS_FILE, SETTINGS_FILE
from fruits.runs.config import RunConfig
from fruits.runs.versions import package_versions, version_of
from fruits.sources.parts import Found, Parts
from fruits.storage.failures import store_errors
from fruits.storage.location import Location

_OPTIONS = [option.name for option in options(RunConfig) if option.changes_results]

# Packages that affect results, in addition to those in run.json.
_PACKAGES = ("bokeh", "matplotlib", "pillow-heif", "pyspark", "scipy", "tensorflow")

_ROWS = 65_536
"""Rows of a listing that are hashed at a time."""

Fingerprint = dict[str, str]
"""The hexadecimal SHA-256 of each input, by name."""


def fingerprint(
    config: RunConfig, found: Found, identity: dict[str, str], model: str
) -> Fingerprint:
    """The digests of everything that determines the results of a run.

    Args:
        config: The options.
        found: All images, including those that ``limit`` leaves out.
        identity: The identity of the backbone,
            :attr:`fruits.networks.graph.CompiledGraph.identity`.
        model: The digest of the model that is used, from before it was read: :func:`model_digest`.

    Raises:
        StorageError: The features of the model cannot be read.
    """
    return {
        "images": _of_images(found.images),
        "options": options_digest(config),
        "network": _of(identity),
        "model": model,
        "versions": _of(package_versions() | {name: version_of(name) for name in _PACKAGES}),
        "code": _of_code(Path(fruits.__file__).parent),
        "processor": _of(instruction_sets()),
    }


def options_digest(config: RunConfig) -> str:
    """The digest of the options that change results."""
    return _of({name: getattr(config, name) for name in _OPTIONS})


def _of(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _of_images(images: Parts) -> str:
    """The digest of all columns of a listing, row by row."""
    digest = hashlib.sha256(json.dumps(images.schema.names).encode())
    place = images.schema.get_field_index("modified")
    for rows in images.chunks(_ROWS):
        rows = rows.set_column(place, "modified", rows["modified"].cast(pa.int64()))
        digest.update(json.dumps(rows.to_pydict()).encode())
    return digest.hexdigest()


def model_digest(config: RunConfig) -> str:
    """The digest of the files of the model that a run uses.

    Raises:
        OutputError: A file cannot be read.
        StorageError: The store cannot be used.
    """
    if config.model is None:
        return _of(None)
    place = Location.of(config.model)
    files = (SETTINGS_FILE, MOMENTS_FILE, CLASSIFIER_FILE, BASELINES_FILE)
    names = [*files, f"predictor/{MANIFEST}"]
    try:
        with store_errors(place.uri):
            return _of({name: _digest(place / name) for name in names})
    except OSError as error:
        raise OutputError(f"model: {place} cannot be read: {one_line(error)}") from error


def require_same_model(config: RunConfig, had: Fingerprint) -> None:
    """Checks that the model of a run is still the one with which the run began.

    Args:
        config: The options.
        had: The fingerprint of the run.

    Raises:
        OutputError: The model was fitted again, or cannot be read.
        StorageError: The store cannot be used.
    """
    if model_digest(config) != had["model"]:
        raise OutputError(
            f"model: wanted the one that was in {config.model} when this run began; it was fitted "
            "again meanwhile: run again; the features are reused"
        )


def _digest(place: Location) -> str | None:
    try:
        content: bytes = place.filesystem.cat_file(place.path)
    except FileNotFoundError:
        return None
    return hashlib.sha256(content).hexdigest()


def _of_code(package: Path) -> str:
    """The digest of this package's files, which change during development without a new version."""
    digest = hashlib.sha256()
    files = (file for file in package.rglob("*") if file.is_file())
    for file in sorted(file for file in files if "__pycache__" not in file.parts):
        digest.update(f"{file.relative_to(package)} {file.stat().st_size}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
