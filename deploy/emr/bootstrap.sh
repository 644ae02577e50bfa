#!/bin/bash
# Bootstrap action of EMR: puts the package and what it needs on a node, from S3 alone.
#
#   bootstrap.sh --wheels s3://BUCKET/PREFIX/emr/wheels --sha256 HEX --python /opt/fruits/bin/python
#                [--notebooks s3://...] [--history s3://...]
#
# wheels.sh made the folder and printed HEX, the SHA-256 of its requirements.txt, which in turn holds
# that of each wheel: what is installed is what was built, whoever can write to the bucket.
#
# --python     the interpreter that PYSPARK_PYTHON names; an environment is made for it where there is
#              none. PySpark itself is EMR's, and not among the wheels
# --notebooks  on the primary node: JupyterLab on port 8888 of the loopback, its notebooks kept there
# --history    on the primary node: the folder of Spark's event logs, which Spark wants to exist
#
# A second run changes nothing. Whatever fails ends the bootstrap, and with it the node, with a line.
set -Eeuo pipefail

fail() {
    echo "bootstrap: $*" >&2
    exit 1
}
trap 'fail "line $LINENO failed: $BASH_COMMAND"' ERR

wheels='' sha256='' python='' notebooks='' history=''
while [ $# -gt 0 ]; do
    case $1 in
    --wheels) wheels=${2-} ;;
    --sha256) sha256=${2-} ;;
    --python) python=${2-} ;;
    --notebooks) notebooks=${2-} ;;
    --history) history=${2-} ;;
    *) fail "unknown option $1" ;;
    esac
    shift $(($# > 1 ? 2 : 1))
done
[[ $wheels == s3://?*/?* ]] || fail "--wheels: wanted a folder such as s3://bucket/fruits/emr/wheels; got '$wheels'"
[[ $sha256 =~ ^[0-9a-f]{64}$ ]] || fail "--sha256: wanted what wheels.sh printed; got '$sha256'"
[[ $python == /*/bin/python ]] || fail "--python: wanted a path such as /opt/fruits/bin/python; got '$python'"

# Where the node's own files are; tests have another place.
root=${FRUITS_ROOT:-}
environment=${python%/bin/python}
done_mark=$environment/installed-$sha256
primary=false
if grep -qE '"isMaster": *true' "$root/mnt/var/lib/info/instance.json"; then primary=true; fi

# EMR runs this as hadoop, who may use sudo; tests run it as who they are.
as_root() {
    if [ -n "$root" ] || [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# S3 may be away for a moment.
persist() {
    local try
    for try in 1 2 3 4 5; do
        "$@" && return
        [ "$try" = 5 ] || sleep "${FRUITS_PAUSE:-10}"
    done
    fail "gave up: $*"
}

install_wheels() {
    local folder
    folder=$(mktemp -d)
    # shellcheck disable=SC2064  # the folder of now
    trap "rm -rf '$folder'" EXIT
    persist aws s3 cp --only-show-errors "${wheels%/}/requirements.txt" "$folder/requirements.txt"
    echo "$sha256  $folder/requirements.txt" | sha256sum --check --strict --quiet ||
        fail "$wheels/requirements.txt is not the one of --sha256: give the stack the sum of the wheels that are there"
    persist aws s3 cp --only-show-errors --recursive --exclude '*' --include '*.whl' "${wheels%/}/" "$folder/"

    local base
    base=$(sed -n 's/^# python \(3\.[0-9]*\) .*/\1/p' "$folder/requirements.txt")
    [ -n "$base" ] || fail "$wheels/requirements.txt does not say which Python its wheels are for"
    if ! [ -x "$python" ]; then
        command -v "python$base" >/dev/null || fail "the wheels are for python$base, which this release does not have"
        as_root "python$base" -m venv "$environment"
    fi
    # The wheels are the whole closure: nothing is looked up, and each has its hash.
    as_root "$python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-index \
        --find-links "$folder" --no-deps --require-hashes -r "$folder/requirements.txt"
    # The modules that work without PySpark, which EMR installs after the bootstrap.
    "$python" -I -c 'import fruits.errors, fruits.networks.runtime' || fail "the package is installed and cannot be imported"
    as_root touch "$done_mark"
}

# Everything of this environment: fruits and JupyterLab on the driver's node use EMR's own Spark.
write_command() {
    as_root install -d "$root/usr/local/bin"
    as_root tee "$root/usr/local/bin/fruits-env" >/dev/null <<END
#!/bin/bash
# fruits-env COMMAND...: with this package's Python and with EMR's Spark
export SPARK_HOME=\${SPARK_HOME:-/usr/lib/spark} PYSPARK_PYTHON=$python
export PYTHONPATH=\$SPARK_HOME/python:\$(echo "\$SPARK_HOME"/python/lib/py4j-*-src.zip)
export PATH=$environment/bin:\$PATH
exec "\$@"
END
    printf '#!/bin/bash\nexec fruits-env fruits "$@"\n' | as_root tee "$root/usr/local/bin/fruits" >/dev/null
    as_root chmod 0755 "$root/usr/local/bin/fruits-env" "$root/usr/local/bin/fruits"
}

# A bucket has no folders, and Spark does not write event logs into one that is not there.
make_history() {
    local rest=${history#s3://}
    persist aws s3api put-object --bucket "${rest%%/*}" --key "${rest#*/}/" --output text >/dev/null
}

# JupyterLab with its token; notebooks come from S3 once, and go there each minute and at the end.
write_workbench() {
    local home=$root/home/hadoop
    install -d -m 0700 "$home/notebooks" "$home/.jupyter"
    persist aws s3 sync --only-show-errors "${notebooks%/}/" "$home/notebooks"
    if ! [ -e "$home/.jupyter/jupyter_server_config.json" ]; then
        (umask 077 && printf '{"IdentityProvider": {"token": "%s"}}\n' "$(od -An -tx1 -N24 /dev/urandom | tr -d ' \n')" \
            >"$home/.jupyter/jupyter_server_config.json")
    fi
    local units=$root/etc/systemd/system
    as_root install -d "$units"
    as_root tee "$units/fruits-notebook.service" >/dev/null <<END
[Unit]
Description=JupyterLab on the loopback
After=network-online.target
[Service]
User=hadoop
WorkingDirectory=/home/hadoop/notebooks
ExecStart=/usr/local/bin/fruits-env jupyter lab --no-browser --ip=127.0.0.1 --port=8888 --ServerApp.port_retries=0
ExecStopPost=/usr/bin/aws s3 sync --only-show-errors /home/hadoop/notebooks ${notebooks%/}/
Restart=on-failure
[Install]
WantedBy=multi-user.target
END
    as_root tee "$units/fruits-keep.service" >/dev/null <<END
[Unit]
Description=Keeps notebooks in S3
[Service]
Type=oneshot
User=hadoop
ExecStart=/usr/bin/aws s3 sync --only-show-errors /home/hadoop/notebooks ${notebooks%/}/
END
    as_root tee "$units/fruits-keep.timer" >/dev/null <<END
[Timer]
OnBootSec=1min
OnUnitActiveSec=1min
[Install]
WantedBy=timers.target
END
    as_root systemctl daemon-reload
    as_root systemctl enable --now fruits-notebook.service fruits-keep.timer
}

if [ -e "$done_mark" ]; then
    echo "bootstrap: $environment has these wheels already"
else
    install_wheels
fi
write_command
if $primary && [ -n "$history" ]; then make_history; fi
if $primary && [ -n "$notebooks" ]; then write_workbench; fi
echo "bootstrap: $python is ready"
