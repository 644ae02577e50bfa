"""The versions in run.json."""

import platform
from importlib.metadata import version

PACKAGES = ("fruits", "openvino", "keras", "numpy", "pillow", "pyarrow")


def package_versions() -> dict[str, str]:
    """The versions of Python and of the packages that affect results."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
