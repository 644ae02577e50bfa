#!/bin/sh
# Prints the path of a suitable Python, or one line that says what to install.
set -u

found=none
for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    found_now=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    found="Python $found_now"
    case $found_now in
    3.11 | 3.12 | 3.13)
        if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            command -v "$python"
            exit 0
        fi
        found="$found without venv"
        ;;
    esac
done
echo "fruits: wanted Python 3.11, 3.12 or 3.13 with venv, found $found: install one (Debian: apt install python3 python3-venv) or name it with make PYTHON=..." >&2
exit 2
