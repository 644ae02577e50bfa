#!/bin/sh
# What Spark has a pod do before it is stopped: spark.kubernetes.decommission.script.
exec /usr/local/bin/roles decommission
