#!/bin/bash
# Copies the notebook to where you may change it, with the options of make demo: a network whose
# weights are installed already, and the sample. The notebook that git tracks stays as it is.
#
#   deploy/local/copy-notebook.sh NOTEBOOK COPY      COPY lies two folders below the project's
#
# A copy that is there stays, unless NOTEBOOK is newer: then it is renamed, and a new one is made.
set -euo pipefail

notebook=$1 copy=$2
if [ -e "$copy" ] && ! [ "$notebook" -nt "$copy" ]; then exit; fi
if [ -e "$copy" ]; then
    old=${copy%.ipynb}-$(date +%Y%m%d-%H%M%S).ipynb
    mv "$copy" "$old"
    echo "the notebook has changed since your copy was made; your copy is now $old"
fi
mkdir -p "$(dirname "$copy")"
sed -e 's/backbone = \\"MobileNetV2\\"/backbone = \\"EfficientNetLite0\\"/' \
    -e 's/os\.chdir(\\"\.\.\\")/os.chdir(\\"..\/..\\")/' "$notebook" >"$copy"
