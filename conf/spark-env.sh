# Sourced by every Spark command before its JVM starts, with the command's own arguments.

# Spark asks for a module of which Java warns each time ("Using incubator modules:
# jdk.incubator.vector"), and nothing in Java switches that off: the line does not help a user.
exec 2> >(exec grep --line-buffered -v "^WARNING: Using incubator modules" >&2)

# The driver of a local run, and its web page, listen on this machine's loopback only. Spark has no
# setting for the page's address, only this variable. A cluster's driver must be reachable, and so
# must its daemons.
local_driver() {
    case ${1:-} in
    org.apache.spark.deploy.SparkSubmit) ;;
    org.apache.*) return 1 ;;
    esac
    local argument previous='' master='' file=${SPARK_CONF_DIR:-$SPARK_HOME/conf}/spark-defaults.conf
    for argument in "$@"; do
        [ "$previous" != --master ] || master=$argument
        [ "$previous" != --properties-file ] || file=$argument
        case $argument in
        --master=* | spark.master=*) master=${argument#*=} ;;
        --properties-file=*) file=${argument#*=} ;;
        esac
        previous=$argument
    done
    [ -n "$master" ] || master=$(sed -nE \
        's/^[[:space:]]*spark\.master[[:space:]=:]+([^[:space:]]+).*/\1/p' "$file" 2>/dev/null | tail -1)
    [[ ${master:-local} == local* ]]
}
if [ -z "${SPARK_LOCAL_IP:-}" ] && local_driver "$@"; then export SPARK_LOCAL_IP=127.0.0.1; fi
unset -f local_driver
