"""The versions in run.json."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("fruits", "openvino", "keras", "numpy", "pillow", "pyarrow")


def package_versions() -> dict[str, str]:
    """The versions of Python and of the packages that affect results."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def spark_version() -> str:
    """The version of PySpark, also if it was not installed by pip, as on EMR."""
    try:
        return version("pyspark")
    except PackageNotFoundError:
        import pyspark

        return pyspark.__version__
