"""The versions in run.json."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PACKAGES = ("fruits", "openvino", "keras", "numpy", "pillow", "pyarrow")


def package_versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that affect results."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):  # Networks of other origin need no Keras.
            found[name] = version(name)
    return found


def spark_version(session: SparkSession | None) -> str:
    """The version of Spark in a session; without one, that of the PySpark that would be used."""
    if session:
        return session.version
    try:
        return version("pyspark")
    except PackageNotFoundError:  # It was not installed by pip, as on EMR.
        import pyspark

        return pyspark.__version__
