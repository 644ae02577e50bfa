#!/bin/bash
# Packs the package and its dependencies into an archive for spark.archives, without PySpark, which the
# cluster provides. The nodes of the cluster then need only Spark, Java, and PYTHON.
#
#   deploy/yarn/pack.sh ENVIRONMENT.tar.gz [PYTHON]      PYTHON is the version of the nodes, by default 3.11
#
# Run it on Linux, on the same type of processor as the nodes. docs/yarn.md shows how to use it.
set -euo pipefail

archive=${1:?wanted a file to write, such as data/environment.tar.gz}
[[ $archive != -* ]] || archive=./$archive
python=${2:-3.11}
here=$(cd "$(dirname "$0")" && pwd)
[[ $archive == *.tar.gz ]] || { echo "pack: wanted a name that ends in .tar.gz, by which YARN knows how to unpack it; got '$archive'" >&2; exit 2; }
mkdir -p "$(dirname "$archive")"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The wheels are the same as for EMR: pinned, with hashes, and old enough for its glibc.
"$here/../emr/wheels.sh" "$work/wheels" "$python" >/dev/null
# bin/python is a link to the interpreter of the node; it finds the packages next to the link.
"python$python" -m venv "$work/environment"
"$work/environment/bin/pip" --quiet --disable-pip-version-check install \
    --no-index --find-links "$work/wheels" --no-deps --no-compile --require-hashes -r "$work/wheels/requirements.txt"
# Headers and pip are left out: they are half of the files, and each node unpacks all of them.
tar -C "$work/environment" --exclude include --exclude xla_aot_runtime_src --exclude '*/site-packages/pip' -c . |
    gzip -1 >"$archive.part"
mv "$archive.part" "$archive"
echo "$archive: $(du -h "$archive" | cut -f1), for python$python on $(uname -m)"
