#!/bin/bash
# Packs the package and what it needs, without PySpark, which is the cluster's own, into an archive
# for spark.archives: nodes of a YARN cluster then need nothing but Spark's Java and PYTHON.
#
#   deploy/yarn/pack.sh ENVIRONMENT.tar.gz [PYTHON]      PYTHON is 3.11, or what the nodes have
#
# Run it on Linux, on a processor of the kind that the nodes have. docs/yarn.md says how it is used.
set -euo pipefail

archive=${1:?wanted a file to write, such as data/environment.tar.gz}
python=${2:-3.11}
here=$(cd "$(dirname "$0")" && pwd)
[[ $archive == *.tar.gz ]] || { echo "pack: wanted a name that ends in .tar.gz, by which YARN knows how to unpack; got '$archive'" >&2; exit 2; }
mkdir -p "$(dirname "$archive")"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The same wheels that EMR's nodes are given: pinned, hashed, and old enough for their glibc.
"$here/../emr/wheels.sh" "$work/wheels" "$python" >/dev/null
# bin/python is a link to the node's own interpreter, and finds the packages from where it is.
"python$python" -m venv "$work/environment"
"$work/environment/bin/pip" --quiet --disable-pip-version-check install \
    --no-index --find-links "$work/wheels" --no-deps --no-compile --require-hashes -r "$work/wheels/requirements.txt"
# Without headers and pip, which are half of the files: a node unpacks each of them.
tar -C "$work/environment" --exclude include --exclude xla_aot_runtime_src --exclude '*/site-packages/pip' -c . |
    gzip -1 >"$archive.part"
mv "$archive.part" "$archive"
echo "$archive: $(du -h "$archive" | cut -f1), for python$python on $(uname -m)"
