#!/bin/bash
# Bootstrap action of EMR: installs the package and its dependencies on a node, from S3 only.
#
#   bootstrap.sh --wheels s3://BUCKET/software/HEX --sha256 HEX --python /opt/fruits/bin/python
#                [--notebooks s3://...] [--history s3://...]
#
# wheels.sh made the folder and printed HEX, the SHA-256 of its requirements.txt, which contains the
# SHA-256 of each wheel. HEX comes from the stack, not from the bucket: so only these wheels can be
# installed, even if somebody else can write to the bucket. The role of the nodes cannot.
#
# --python     the interpreter that PYSPARK_PYTHON names; if it does not exist, an environment is made.
#              PySpark is provided by EMR, and is not among the wheels
# --notebooks  on the primary node: JupyterLab on port 8888 of the loopback, and where its notebooks
#              are kept
# --history    on the primary node: the folder of Spark's event logs, which must exist for Spark
#
# The script is idempotent. Any failure ends the bootstrap, and so the node, with one line.
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
[[ $wheels == s3://?*/?* ]] || fail "--wheels: wanted a folder such as s3://bucket/software/...; got '$wheels'"
[[ $sha256 =~ ^[0-9a-f]{64}$ ]] || fail "--sha256: wanted what wheels.sh printed; got '$sha256'"
[[ $python == /*/bin/python ]] || fail "--python: wanted a path such as /opt/fruits/bin/python; got '$python'"
[[ -z $notebooks || $notebooks == s3://?*/?* ]] || fail "--notebooks: wanted a folder such as s3://bucket/fruits/notebooks; got '$notebooks'"
[[ -z $history || $history == s3://?*/?* ]] || fail "--history: wanted a folder such as s3://bucket/fruits/emr/history; got '$history'"

# The root of the file system; tests use another one.
root=${FRUITS_ROOT:-}
environment=${python%/bin/python}
done_mark=$environment/installed-$sha256
primary=false
if grep -qE '"isMaster": *true' "$root/mnt/var/lib/info/instance.json"; then primary=true; fi

# EMR runs this as hadoop, who may use sudo; tests run it as their own user.
as_root() {
    if [ -n "$root" ] || [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# S3 may not answer for a moment.
retry() {
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
    # shellcheck disable=SC2064  # the folder's present value
    trap "rm -rf '$folder'" EXIT
    retry aws s3 cp --only-show-errors "${wheels%/}/requirements.txt" "$folder/requirements.txt"
    echo "$sha256  $folder/requirements.txt" | sha256sum --check --strict --quiet ||
        fail "$wheels/requirements.txt does not have the SHA-256 of --sha256: give the stack the sum that wheels.sh printed"
    retry aws s3 cp --only-show-errors --recursive --exclude '*' --include '*.whl' "${wheels%/}/" "$folder/"

    local base
    base=$(sed -n 's/^# python \(3\.[0-9]*\) .*/\1/p' "$folder/requirements.txt")
    [ -n "$base" ] || fail "$wheels/requirements.txt does not name the Python of its wheels"
    if ! [ -x "$python" ]; then
        command -v "python$base" >/dev/null || fail "the wheels need python$base, which this release does not have"
        as_root "python$base" -m venv "$environment"
    fi
    # The wheels are complete: pip uses no other source, and checks the hash of each wheel.
    as_root "$python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-index \
        --find-links "$folder" --no-deps --require-hashes -r "$folder/requirements.txt"
    # The modules that work without PySpark, which EMR installs after the bootstrap.
    "$python" -I -c 'import fruits.errors, fruits.networks.runtime' || fail "the package is installed and cannot be imported"
    # The program that starts jobs: a file of root on this node, not one in the bucket.
    printf 'import sys\n\nfrom fruits.cli import main\n\nsys.exit(main())\n' | as_root tee "$environment/run.py" >/dev/null
    as_root chmod 0644 "$environment/run.py"
    as_root touch "$done_mark"
}

# Commands that use this environment and EMR's Spark: fruits and JupyterLab.
write_commands() {
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

# A bucket has no folders, and Spark does not write event logs to a folder that does not exist.
make_history() {
    local rest=${history#s3://}
    retry aws s3api put-object --bucket "${rest%%/*}" --key "${rest#*/}/" --output text >/dev/null
}

# JupyterLab with its token. Notebooks are copied from S3 once, and to S3 each minute and at the end.
# Only *.ipynb is copied from there: jobs can write to that folder, and JupyterLab and kernels would
# load modules and settings from it automatically. A notebook only runs when a person runs it.
write_workbench() {
    local home=$root/home/hadoop
    install -d -m 0700 "$home/notebooks" "$home/.jupyter"
    retry aws s3 sync --only-show-errors --exclude '*' --include '*.ipynb' "${notebooks%/}/" "$home/notebooks"
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
Description=Copies notebooks to S3
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
write_commands
if $primary && [ -n "$history" ]; then make_history; fi
if $primary && [ -n "$notebooks" ]; then write_workbench; fi
echo "bootstrap: $python is ready"
