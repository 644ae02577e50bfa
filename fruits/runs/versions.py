"""The versions in run.json."""

from __future__ import annotations

import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("fruits", "openvino", "keras", "numpy", "pillow", "pyarrow")


def package_versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that affect results."""
    # Networks of other origin need no Keras.
    found = {name: own for name in PACKAGES if (own := version_of(name))}
    return {"python": platform.python_version()} | found


def version_of(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        # EMR provides a PySpark that pip does not know.
        return str(import_module(package).__version__) if package == "pyspark" else None
