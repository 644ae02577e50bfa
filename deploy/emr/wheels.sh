#!/bin/bash
# Makes the folder that bootstrap.sh installs from: the package, all wheels of requirements.lock
# except PySpark, which EMR provides, and a list of their hashes.
#
#   deploy/emr/wheels.sh FOLDER [PYTHON]      PYTHON is the version of the nodes, by default 3.11
#
# It prints the SHA-256 of FOLDER/requirements.txt, which is the stack's WheelsSha256. Run it on Linux,
# on the same type of processor as the nodes (x86-64, or arm64 for Graviton).
set -euo pipefail

folder=${1:?wanted a folder, such as data/wheels}
# A name that begins with a hyphen must not be read as an option.
[[ $folder != -* ]] || folder=./$folder
python=python${2:-3.11}
source=$(cd "$(dirname "$0")/../.." && pwd)
command -v "$python" >/dev/null || { echo "wheels: wanted $python; install it, or name another version" >&2; exit 2; }
[ -z "$(ls -A "$folder" 2>/dev/null)" ] || { echo "wheels: wanted an empty folder; $folder is not empty" >&2; exit 2; }
mkdir -p "$folder"
machine=$(uname -m)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# An entry of the lock begins at the left margin; its hashes follow, indented.
awk '/^[^ #]/ { keep = !/^(pyspark|py4j)==/ } keep' "$source/requirements.lock" >"$work/lock"

# Wheels that run with glibc 2.34, the one of Amazon Linux 2023.
platforms=(--platform "manylinux2014_$machine")
for minor in $(seq 17 34); do platforms+=(--platform "manylinux_2_${minor}_$machine"); done
"$python" -m venv "$work/venv"
pip=("$work/venv/bin/pip" --quiet --disable-pip-version-check)
"${pip[@]}" download --no-deps --require-hashes --only-binary :all: "${platforms[@]}" -d "$folder" -r "$work/lock"

# The tools that build the package are in the lock too.
"${pip[@]}" install --no-index --no-deps --upgrade --find-links "$folder" setuptools wheel packaging
mkdir "$work/source"
cp -r "$source"/{pyproject.toml,README.md,LICENSE,NOTICE,fruits} "$work/source"
rm -r "$work/source/fruits/sample"  # Nodes draw no photographs.
"${pip[@]}" wheel --no-deps --no-index --no-build-isolation -w "$folder" "$work/source"

"$work/venv/bin/python" - "$folder" "$machine" <<'PYTHON'
import hashlib, pathlib, sys

folder, machine = pathlib.Path(sys.argv[1]), sys.argv[2]
lines = [f"# python {sys.version_info[0]}.{sys.version_info[1]} {machine}\n"]
for wheel in sorted(folder.glob("*.whl")):
    name, version = wheel.name.split("-")[:2]
    lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
(folder / "requirements.txt").write_text("".join(lines))
print(hashlib.sha256("".join(lines).encode()).hexdigest())
PYTHON
