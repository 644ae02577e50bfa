#!/bin/bash
# Makes a copy of the notebook that you may change, with the options of make demo: a network with
# installed weights, and the sample. The notebook that git tracks is not changed.
#
#   deploy/local/copy-notebook.sh NOTEBOOK COPY      COPY is below the project folder
#
# An existing copy is kept, unless NOTEBOOK is newer: then it is renamed, and a new copy is made.
set -euo pipefail

notebook=$1 copy=$2
if [ -e "$copy" ] && ! [ "$notebook" -nt "$copy" ]; then exit; fi
if [ -e "$copy" ]; then
    old=${copy%.ipynb}-$(date +%Y%m%d-%H%M%S).ipynb
    mv "$copy" "$old"
    echo "the notebook has changed since your copy was made; your copy is now $old"
fi
mkdir -p "$(dirname "$copy")"
sed 's/backbone = \\"MobileNetV2\\"/backbone = \\"EfficientNetLite0\\"/' "$notebook" >"$copy"
