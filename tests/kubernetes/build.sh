#!/usr/bin/env bash
# Builds the programs of a Kubernetes cluster from their Go modules into FOLDER/bin: build.sh FOLDER
# Needs Go 1.26; the first time, it takes a quarter of an hour on two cores.
set -euo pipefail
mkdir -p "$1/bin" "$1/source"
folder=$(cd "$1" && pwd)
KUBERNETES=1.37.2 ETCD=3.7.3 CONTAINERD=2.3.7 DNS=1.14.7
PROGRAMS="kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet"
export CGO_ENABLED=0
options=(-trimpath -buildvcs=false -p 2)

kubernetes() {
    local module source=$folder/source/kubernetes version=k8s.io/component-base/version flags
    [ -d "$source" ] || {
        cp -r "$(go mod download -json "k8s.io/kubernetes@v$KUBERNETES" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')" "$source"
        chmod -R u+w "$source"
        rm -rf "$source"/{vendor,go.work,go.work.sum}
    }
    cd "$source"
    # The module contains no copies of these, but all of them are published.
    for module in $(sed -nE 's|^\s*(k8s.io/[a-z0-9-]+) => ./staging.*|\1|p' go.mod); do
        go mod edit -replace "$module=$module@v0.${KUBERNETES#1.}"
    done
    flags="-s -w -X $version.gitMajor=1 -X $version.gitMinor=37 -X $version.gitVersion=v$KUBERNETES"
    for program in $PROGRAMS; do
        go build "${options[@]}" -mod=mod -ldflags "$flags" -o "$folder/bin/" "./cmd/$program"
    done
}

# A program from a main package of its own: NAME MODULE@VERSION, with the source on stdin.
program() {
    mkdir -p "$folder/source/$1" && cd "$folder/source/$1"
    cat >main.go
    [ -f go.mod ] || { go mod init "$1" && ${2:+go get "$2"} && go mod tidy; }
    go build "${options[@]}" -ldflags "-s -w" -o "$folder/bin/$1" .
}

kubernetes
program etcd "go.etcd.io/etcd/server/v3@v$ETCD" <<'GO'
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
GO
program coredns "github.com/coredns/coredns@v$DNS" <<'GO'
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() {
	dnsserver.Directives = []string{"ready", "errors", "kubernetes"}
	coremain.Run()
}
GO
program pause '' <<'GO'
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}
GO

for name in containerd containerd-shim-runc-v2 ctr; do
    GOBIN=$folder/bin go install "${options[@]}" -tags "no_btrfs no_zfs no_devmapper" -ldflags "-s -w" \
        "github.com/containerd/containerd/v2/cmd/$name@v$CONTAINERD"
done
