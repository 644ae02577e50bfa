#!/bin/sh
# Exits with one line and status 2 if there is no Java that Spark can use.
set -u

java=${JAVA_HOME:+$JAVA_HOME/bin/}java
version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
if [ -z "$version" ]; then
    found=none
    [ -z "${JAVA_HOME:-}" ] || found="none in JAVA_HOME=$JAVA_HOME"
elif [ "$version" -lt 17 ]; then
    found="Java $version"
else
    exit 0
fi
echo "fruits: wanted Java 17 or newer, found $found: install one (Debian: apt install default-jre-headless) or set JAVA_HOME" >&2
exit 2
