# Sourced by every Spark command before its JVM starts.
# Spark asks for a module of which Java warns each time ("Using incubator modules:
# jdk.incubator.vector"), and nothing in Java switches that off: the line tells a user nothing.
exec 2> >(exec grep --line-buffered -v "^WARNING: Using incubator modules" >&2)
