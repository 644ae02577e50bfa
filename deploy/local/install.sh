#!/bin/bash
# Installs the packages of a lock file, checks their hashes, and shows the progress.
#
#   deploy/local/install.sh PYTHON LOCK
set -euo pipefail

python=$1 lock=$2
install=("$python" -m pip --disable-pip-version-check install --no-deps --require-hashes)
# PySpark is built from source: its build tools are pinned by the same lock, and installed first.
tools=$(mktemp)
trap 'rm -f "$tools"' EXIT
awk '/^(setuptools|wheel)==/, /[^\\]$/' "$lock" >"$tools"
"${install[@]}" --quiet -r "$tools"

# A universal lock contains some packages twice, and some that this platform does not need.
total=$(grep -c '^[A-Za-z0-9].*==' "$lock")
if [ -t 1 ]; then start=$'\r\033[K' end=''; else start='' end=$'\n'; fi
count=0 said=-1
say() { printf '%s  %s%s' "$start" "$1" "$end"; }
PYTHONUNBUFFERED=1 "${install[@]}" --no-build-isolation --progress-bar off -r "$lock" |
    while read -r what name rest; do
        case $what in
        Collecting | Requirement | Ignoring)
            count=$((count + 1))
            [ "$what" != Requirement ] || name=${rest#satisfied: }
            # One line that changes on a terminal, ten lines in a log.
            if [ -n "$start" ]; then
                say "$((count * 100 / total)) %  ${name%%[=: (]*}"
            elif [ $((count * 10 / total)) != "$said" ]; then
                said=$((count * 10 / total))
                say "$((count * 100 / total)) %"
            fi
            ;;
        Building) [ "$name" != wheels ] || say "building ${rest##* }" ;;
        Installing) say "unpacking; the longest part" ;;
        Successfully) [ "$name" != installed ] || say "installed" ;;
        esac
    done
[ -z "$start" ] || echo
