"""Prints a CycloneDX list of the packages in the image where it runs: Debian, Python and Java.

It needs only Python's standard library: docker run --rm -i --entrypoint python IMAGE - <sbom.py
"""

import hashlib
import json
import re
import subprocess
import zipfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import quote

# The version of the CycloneDX format; cyclonedx-py writes the same one.
SPEC_VERSION = "1.6"


def main() -> None:
    """Prints the list."""
    components = {c["bom-ref"]: c for c in (*debian(), *python(), *java())}
    print(
        json.dumps(
            {
                "bomFormat": "CycloneDX",
                "specVersion": SPEC_VERSION,
                "version": 1,
                "metadata": {"component": component("container", "fruits", version("fruits"))},
                "components": [components[ref] for ref in sorted(components)],
            },
            indent=1,
        )
    )


def debian() -> Iterator[dict[str, object]]:
    """The packages of dpkg."""
    fields = "${Package}\t${Version}\t${Architecture}\n"
    query = ["dpkg-query", "--show", f"--showformat={fields}"]
    listed = subprocess.run(query, capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        name, release, architecture = line.split("\t")
        purl = f"pkg:deb/debian/{name}@{quote(release)}?arch={architecture}"
        yield component("library", name, release, purl)


def python() -> Iterator[dict[str, object]]:
    """The packages of this interpreter, including fruits itself."""
    for package in distributions():
        name = re.sub(r"[-_.]+", "-", package.name).lower()
        yield component("library", name, package.version, f"pkg:pypi/{name}@{package.version}")


def java() -> Iterator[dict[str, object]]:
    """The jars of PySpark, which are in its Python package, and those for S3A."""
    for jar in sorted(Path("/opt/fruits").rglob("*.jar")):
        group, name, release = coordinates(jar)
        purl = f"pkg:maven/{group}/{name}@{release}" if group else None
        made = component("library", name, release, purl)
        made["hashes"] = [
            {"alg": "SHA-256", "content": hashlib.sha256(jar.read_bytes()).hexdigest()}
        ]
        if group:
            made["group"] = group
        yield made


def coordinates(jar: Path) -> tuple[str | None, str, str]:
    """Group, name and version, from Maven's properties in the jar, or else from the file name."""
    with zipfile.ZipFile(jar) as archive:
        records = [n for n in archive.namelist() if n.endswith("/pom.properties")]
        for record in records:
            pairs = dict(
                line.split("=", 1)
                for line in archive.read(record).decode(errors="replace").splitlines()
                if "=" in line and not line.startswith("#")
            )
            # A jar may contain others; its own properties have the name of the file.
            name, release = pairs.get("artifactId", ""), pairs.get("version", "")
            if jar.name == f"{name.strip()}-{release.strip()}.jar":
                return pairs["groupId"].strip(), name.strip(), release.strip()
    found = re.fullmatch(r"(.+?)-(\d[^/]*)\.jar", jar.name)
    return (None, found[1], found[2]) if found else (None, jar.stem, "unknown")


def component(kind: str, name: str, release: str, purl: str | None = None) -> dict[str, object]:
    """One entry in the format of CycloneDX."""
    made: dict[str, object] = {
        "type": kind,
        "bom-ref": purl or f"{name}@{release}",
        "name": name,
        "version": release,
    }
    return made | ({"purl": purl} if purl else {})


def version(name: str) -> str:
    """The version of a Python package."""
    return next(p.version for p in distributions() if p.name == name)


if __name__ == "__main__":
    main()
