# Sourced by every Spark command before its JVM starts, with the command's own arguments.

# Spark uses a module for which Java prints a warning each time ("Using incubator modules:
# jdk.incubator.vector"). Java has no option to turn it off, and the line does not help a user.
exec 2> >(exec grep --line-buffered -v "^WARNING: Using incubator modules" >&2)

# The driver of a local run and its web page listen on loopback only. Spark has no setting for the
# address of the page, only this variable. The driver and the daemons of a cluster must be reachable.
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

# The Java of a local driver loads Spark's classes from an archive, if there is one, instead of
# reading and verifying them (fruits/runs/class_archive.py). Java refuses an archive if the class path
# contains a folder with files. So the configuration is passed by options, unless its folder contains
# other files.
class_archive() {
    local file archive=${FRUITS_CLASS_ARCHIVE:-$SPARK_HOME/fruits-classes.jsa}
    [ "${1:-}" = org.apache.spark.deploy.SparkSubmit ] || return 1
    [ -n "${FRUITS_NEW_CLASS_ARCHIVE:-}" ] || [ -r "$archive" ] || return 1
    case " $* " in *" --properties-file"*) return 1 ;; esac
    for file in "$SPARK_CONF_DIR"/*; do
        case ${file##*/} in
        jars | log4j2.properties | spark-defaults.conf | spark-env.sh) ;;
        *) return 1 ;;
        esac
    done
    if [ -n "${FRUITS_NEW_CLASS_ARCHIVE:-}" ]; then
        archive=-XX:ArchiveClassesAtExit=$FRUITS_NEW_CLASS_ARCHIVE
    else
        archive=-XX:SharedArchiveFile=$archive
    fi
    # Java would print a warning about an archive of another version, which it ignores.
    SPARK_SUBMIT_OPTS="${SPARK_SUBMIT_OPTS:-} \"$archive\" -Xlog:cds*=off -Xlog:class*=off"
    file=$SPARK_CONF_DIR/log4j2.properties
    [ ! -f "$file" ] || SPARK_SUBMIT_OPTS+=" \"-Dlog4j2.configurationFile=$file\""
}
if local_driver "$@"; then
    export SPARK_LOCAL_IP=${SPARK_LOCAL_IP:-127.0.0.1}
    if class_archive "$@"; then
        set -- "$1" --properties-file "$SPARK_CONF_DIR/spark-defaults.conf" "${@:2}"
        SPARK_CONF_DIR=$SPARK_HOME/fruits-no-conf
    fi
fi
unset -f local_driver class_archive
