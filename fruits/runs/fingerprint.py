"""Digests of everything that determines the results of a run: equal digests mean equal results.

A run whose digests equal those of the last run in its output has nothing to do; see
:mod:`fruits.runs.unchanged`.
"""

from __future__ import annotations

import hashlib
import json
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow as pa

import fruits
from fruits.features.table import FOLDER, FeatureTable
from fruits.networks.processor import instruction_sets
from fruits.predictor.files import MANIFEST
from fruits.runs.basis import CLASSIFIER_FILE, MOMENTS_FILE, SETTINGS_FILE
from fruits.runs.config import RunConfig
from fruits.runs.versions import package_versions
from fruits.sources.parts import Found, Parts
from fruits.storage.location import Location

# Options that do not change the results.
WITHOUT_EFFECT = frozenset(["output", "overwrite", "chunk", "allow_removed"])

# Packages that affect results, in addition to those in run.json.
_PACKAGES = ("bokeh", "matplotlib", "pillow-heif", "pyspark", "scipy", "tensorflow")

_ROWS = 65_536
"""Rows of a listing that are hashed at a time."""

Fingerprint = dict[str, str]
"""The hexadecimal SHA-256 of each input, by name."""


def fingerprint(config: RunConfig, found: Found, identity: dict[str, str]) -> Fingerprint:
    """The digests of everything that determines the results of a run.

    Args:
        config: The options.
        found: All images, including those that ``limit`` leaves out.
        identity: The identity of the backbone,
            :attr:`fruits.networks.graph.CompiledGraph.identity`.

    Raises:
        StorageError: The model that is to be used cannot be read.
    """
    return {
        "images": _of_images(found.images),
        "options": options_digest(config),
        "network": _of(identity),
        "model": _of(_model(config.model) if config.model else None),
        "versions": _of(package_versions() | {name: _version(name) for name in _PACKAGES}),
        "code": _of_code(Path(fruits.__file__).parent),
        "processor": _of(instruction_sets()),
    }


def options_digest(config: RunConfig) -> str:
    """The digest of the options that change results."""
    return _of({k: v for k, v in config.as_dict().items() if k not in WITHOUT_EFFECT})


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


def _model(output: str) -> dict[str, str | None]:
    """The digests of the files that a run takes from the run whose model it uses."""
    place = Location.of(output)
    table = FeatureTable(place / "features")
    manifests = [name.rpartition("/")[2] for name in table.manifests()]
    names = [SETTINGS_FILE, MOMENTS_FILE, CLASSIFIER_FILE, f"predictor/{MANIFEST}"]
    return {name: _digest(place / name) for name in names} | {
        name: _digest(table.root / FOLDER / name) for name in manifests
    }


def _digest(place: Location) -> str | None:
    try:
        content: bytes = place.filesystem.cat_file(place.path)
    except FileNotFoundError:
        return None
    return hashlib.sha256(content).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        # EMR provides a PySpark that pip does not know.
        return str(import_module(package).__version__) if package == "pyspark" else None


def _of_code(package: Path) -> str:
    """The digest of this package's files, which change during development without a new version."""
    digest = hashlib.sha256()
    files = (file for file in package.rglob("*") if file.is_file())
    for file in sorted(file for file in files if "__pycache__" not in file.parts):
        digest.update(f"{file.relative_to(package)} {file.stat().st_size}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
