#!/bin/sh
# Prints a Python that fits, or says in one line what to install.
set -u

java=${JAVA_HOME:+$JAVA_HOME/bin/}java
version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
if [ -z "$version" ]; then
    echo "fruits: wanted Java 17 or newer, found none: install a JDK or JRE (Debian: apt install default-jre-headless) or set JAVA_HOME" >&2
    exit 2
elif [ "$version" -lt 17 ]; then
    echo "fruits: wanted Java 17 or newer, found Java $version: install a newer one (Debian: apt install default-jre-headless) or set JAVA_HOME" >&2
    exit 2
fi

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
