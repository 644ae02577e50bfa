#!/bin/sh
# Spark calls this in a pod before the pod is stopped: spark.kubernetes.decommission.script.
exec /usr/local/bin/roles decommission
