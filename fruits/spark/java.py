"""Checks that there is a Java that Spark can use."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from fruits.errors import ConfigError

OLDEST_JAVA = 17


def require_java() -> None:
    """Looks for Java where Spark's own scripts do: in ``JAVA_HOME``, else on the ``PATH``.

    Raises:
        ConfigError: There is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(str(Path(home) / "bin/java") if home else "java")
    if java is None:
        found = f"none in JAVA_HOME={home}" if home else "none"
    else:
        version = _version(java)
        # An unknown version may work.
        if version is None or version >= OLDEST_JAVA:
            return
        found = f"Java {version}, {java}"
    raise ConfigError(
        f"java: wanted Java {OLDEST_JAVA} or newer; found {found}; install one (Debian: apt "
        f"install default-jre-headless) or set JAVA_HOME"
    )


def _version(java: str) -> int | None:
    """The major version of a Java; 1.8 counts as 8."""
    # Most Javas have a file with their version, which is faster than starting Java.
    try:
        text = (Path(java).resolve().parents[1] / "release").read_text()
    except OSError:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
        text = done.stderr
    found = re.search(r'version[= ]"(?:1\.)?(\d+)', text, re.IGNORECASE)
    return int(found[1]) if found else None
