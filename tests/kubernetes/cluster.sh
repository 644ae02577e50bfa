#!/usr/bin/env bash
# A Kubernetes cluster of one node, on this machine and as root: cluster.sh up|down FOLDER
# FOLDER/bin has the programs (build.sh); FOLDER/run gets the rest, with admin.conf for kubectl.
set -euo pipefail
bin=$(cd "$2" && pwd)/bin
run=${bin%/bin}/run
socket=/run/fruits-containerd/containerd.sock
NODE=10.245.0.1 SERVICES=10.96.0.0/16 PODS=10.244.0.0/24 PORT=16443
export KUBECONFIG=$run/admin.conf

start() { # NAME COMMAND...
    PATH=$bin:$PATH setsid "${@:2}" >"$run/log/$1" 2>&1 </dev/null &
    echo $! >"$run/pid/$1"
}

wait_for() { # SECONDS COMMAND...
    for _ in $(seq "$1"); do
        "${@:2}" >/dev/null 2>&1 && return
        sleep 1
    done
    "${@:2}"
}

# A key and a certificate: NAME USER GROUP
certificate() {
    local key=$run/pki/$1.key names="DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$NODE,IP:10.96.0.1"
    openssl req -newkey rsa:2048 -nodes -subj "/O=$3/CN=$2" -keyout "$key" 2>/dev/null |
        openssl x509 -req -CA "$run/pki/ca.pem" -CAkey "$run/pki/ca.key" -days 2 -out "$run/pki/$1.pem" \
            -extfile <(printf '%s\n' extendedKeyUsage=serverAuth,clientAuth "subjectAltName=$names") 2>/dev/null
    local config=(kubectl config --kubeconfig "$run/$1.conf")
    "${config[@]}" set-cluster c --server "https://127.0.0.1:$PORT" --certificate-authority "$run/pki/ca.pem" --embed-certs
    "${config[@]}" set-credentials u --client-certificate "$run/pki/$1.pem" --client-key "$key" --embed-certs
    "${config[@]}" set-context c --cluster c --user u --namespace fruits
    "${config[@]}" use-context c
}

control_plane() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout "$run/pki/ca.key" -out "$run/pki/ca.pem" 2>/dev/null
    openssl genrsa -out "$run/pki/accounts.key" 2048 2>/dev/null
    certificate server kube-apiserver fruits
    certificate admin admin system:masters
    certificate manager system:kube-controller-manager fruits
    certificate scheduler system:kube-scheduler fruits
    certificate proxy system:kube-proxy fruits
    certificate node system:node:node1 system:nodes
    start etcd etcd --data-dir "$run/etcd" --unsafe-no-fsync --listen-peer-urls http://127.0.0.1:12380 \
        --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379
    start server kube-apiserver --etcd-servers http://127.0.0.1:12379 --secure-port $PORT --advertise-address $NODE \
        --service-cluster-ip-range $SERVICES --authorization-mode Node,RBAC --client-ca-file "$run/pki/ca.pem" \
        --tls-cert-file "$run/pki/server.pem" --tls-private-key-file "$run/pki/server.key" \
        --kubelet-client-certificate "$run/pki/admin.pem" --kubelet-client-key "$run/pki/admin.key" \
        --kubelet-preferred-address-types InternalIP --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file "$run/pki/accounts.key" --service-account-signing-key-file "$run/pki/accounts.key"
    wait_for 120 kubectl get --raw /readyz
    start manager kube-controller-manager --kubeconfig "$run/manager.conf" --use-service-account-credentials \
        --service-account-private-key-file "$run/pki/accounts.key" --root-ca-file "$run/pki/ca.pem" --leader-elect=false
    start scheduler kube-scheduler --kubeconfig "$run/scheduler.conf" --leader-elect=false
}

node() {
    cat >"$run/containerd.toml" <<TOML
version = 3
root = "$run/containerd"
state = "${socket%/*}"
[grpc]
address = "$socket"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "localhost/pause:1"
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "$run/cni"
TOML
    cat >"$run/cni/pods.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "fruits1", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "$run/addresses"}}]}
JSON
    cat >"$run/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {x509: {clientCAFile: $run/pki/ca.pem}}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$socket
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1Gi, imagefs.available: 1Gi}
YAML
    cat >"$run/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $run/proxy.conf}
clusterCIDR: $PODS
hostnameOverride: node1
conntrack: {maxPerCore: 0}
YAML
    ip link add fruits0 type bridge
    ip address add $NODE/32 dev fruits0
    ip link set fruits0 up
    # The Docker engine drops what is not from its own containers.
    iptables -I FORWARD -i fruits1 -j ACCEPT
    iptables -I FORWARD -o fruits1 -j ACCEPT
    start containerd containerd --config "$run/containerd.toml"
    wait_for 30 "$bin/ctr" -a "$socket" version
    start kubelet kubelet --config "$run/kubelet.yaml" --kubeconfig "$run/node.conf" --root-dir "$run/kubelet" \
        --hostname-override node1 --node-ip $NODE
    start proxy kube-proxy --config "$run/proxy.yaml"
    wait_for 60 kubectl wait --for=condition=Ready node/node1 --timeout=1s
}

# Copies an image of Docker to the node.
image() {
    docker save "$1" | "$bin/ctr" -a "$socket" -n k8s.io images import - >/dev/null 2>&1
}

images() {
    local name
    for name in pause coredns; do
        printf 'FROM scratch\nCOPY %s /program\nENTRYPOINT ["/program"]\n' $name |
            docker build -q -t "localhost/$name:1" -f - "$bin" >/dev/null
        image "localhost/$name:1"
    done
    for name in "$@"; do
        image "$name"
    done
}

up() {
    mkdir -p "$run"/{pki,log,pid,cni}
    control_plane >/dev/null
    node
    images "$@"
}

down() {
    local signal table
    local -a left
    kubectl delete deployments --all -A >/dev/null 2>&1 || true
    kubectl delete pods --all -A --grace-period=1 --timeout=60s >/dev/null 2>&1 || true
    left=($(cat "$run"/pid/* 2>/dev/null; pgrep -f "containerd-shim-runc-v2 .*$socket" || true))
    for signal in TERM KILL; do
        [ ${#left[@]} = 0 ] || kill -$signal "${left[@]}" 2>/dev/null || true
        # A server that still ends would keep its port.
        sleep 3
    done
    "$bin/kube-proxy" --cleanup >/dev/null 2>&1 || true
    # The kubelet leaves these behind.
    for table in filter mangle nat; do
        iptables-save -t $table | grep -v KUBE- | iptables-restore -T $table
        ip6tables-save -t $table | grep -v KUBE- | ip6tables-restore -T $table
    done
    iptables -D FORWARD -i fruits1 -j ACCEPT 2>/dev/null || true
    iptables -D FORWARD -o fruits1 -j ACCEPT 2>/dev/null || true
    ip link delete fruits0 2>/dev/null || true
    ip link delete fruits1 2>/dev/null || true
    awk -v run="$run/" -v state="${socket%/*}/" 'index($2, run) == 1 || index($2, state) == 1 { print $2 }' /proc/mounts |
        sort -r | xargs -r umount
    rm -rf "$run" "${socket%/*}"
}

"$1" "${@:3}"
