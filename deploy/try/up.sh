#!/usr/bin/env bash
# Starts a Kubernetes of one node on this machine: etcd, API server, scheduler, controllers, containerd, kubelet, kube-proxy, and names of
# Services (dns.py). Needs root, runc, containerd, containernetworking-plugins and iptables (Debian), the programs of build.sh and the images of
# images.sh. Writes $1/kubeconfig; $1/pids has what down.sh ends.
set -euo pipefail
dir=${1:?the folder of the cluster}
here=$(cd "$(dirname "$0")" && pwd)
export PATH="$dir/bin:$PATH"
log="$dir/log"
mkdir -p "$log" "$dir/cni" "$dir/pki" "$dir/kubelet"
: > "$dir/pids"
bridge=172.31.77.1
node_name=one
keep() { echo $! >> "$dir/pids"; }
until_true() { for _ in $(seq 1 240); do if "$@" >/dev/null 2>&1; then return 0; fi; sleep 0.5; done; echo "not in time: $*" >&2; return 1; }

if [ ! -s "$dir/token" ]; then
  head -c 24 /dev/urandom | base64 | tr -d '+/=' > "$dir/token"
  openssl genrsa -out "$dir/pki/sa.key" 2048 2>/dev/null
  openssl rsa -in "$dir/pki/sa.key" -pubout -out "$dir/pki/sa.pub" 2>/dev/null
fi
token=$(cat "$dir/token")
echo "$token,admin,1,\"system:masters\"" > "$dir/pki/tokens.csv"
cat > "$dir/kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: here, cluster: {server: "https://127.0.0.1:16443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: "$token"}}]
contexts: [{name: here, context: {cluster: here, user: admin}}]
current-context: here
YAML
chmod 600 "$dir/kubeconfig" "$dir/pki/tokens.csv"

ip link show fakeai0 >/dev/null 2>&1 || { ip link add fakeai0 type bridge; ip addr add "$bridge/24" dev fakeai0; ip link set fakeai0 up; }
sysctl -qw net.ipv4.ip_forward=1

rm -rf "$dir/etcd"
etcd --data-dir "$dir/etcd" --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379 \
  --listen-peer-urls http://127.0.0.1:12380 > "$log/etcd" 2>&1 & keep
kube-apiserver --etcd-servers http://127.0.0.1:12379 --secure-port 16443 --bind-address 127.0.0.1 --advertise-address "$bridge" \
  --cert-dir "$dir/pki" --token-auth-file "$dir/pki/tokens.csv" --authorization-mode RBAC --endpoint-reconciler-type none \
  --service-cluster-ip-range 10.96.0.0/16 --service-account-issuer https://here --service-account-key-file "$dir/pki/sa.pub" \
  --service-account-signing-key-file "$dir/pki/sa.key" --kubelet-preferred-address-types InternalIP \
  --disable-admission-plugins ServiceAccount > "$log/apiserver" 2>&1 & keep
until_true kubectl --kubeconfig "$dir/kubeconfig" get --raw /readyz
kube-controller-manager --kubeconfig "$dir/kubeconfig" --service-account-private-key-file "$dir/pki/sa.key" --leader-elect=false \
  --use-service-account-credentials=false > "$log/controllers" 2>&1 & keep
kube-scheduler --kubeconfig "$dir/kubeconfig" --leader-elect=false > "$log/scheduler" 2>&1 & keep

cat > "$dir/cni/10-here.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "here", "plugins": [{"type": "bridge", "bridge": "fakeai0", "isGateway": false, "ipMasq": false,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "172.31.77.0/24", "rangeStart": "172.31.77.10", "gateway": "$bridge"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
cat > "$dir/containerd.toml" <<TOML
version = 2
root = "$dir/containerd"
state = "/run/fakeai-containerd"
[grpc]
address = "/run/fakeai-containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
disable_apparmor = true
sandbox_image = "localhost/pause:try"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$dir/cni"
TOML
containerd --config "$dir/containerd.toml" > "$log/containerd" 2>&1 & keep
until_true ctr --address /run/fakeai-containerd.sock version
cat > "$dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failSwapOn: false
enforceNodeAllocatable: []
containerRuntimeEndpoint: unix:///run/fakeai-containerd.sock
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
clusterDNS: ["$bridge"]
clusterDomain: cluster.local
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}
YAML
kubelet --config "$dir/kubelet.yaml" --kubeconfig "$dir/kubeconfig" --root-dir "$dir/kubelet" --hostname-override "$node_name" \
  --node-ip "$bridge" > "$log/kubelet" 2>&1 & keep
ready() { kubectl --kubeconfig "$dir/kubeconfig" get node "$node_name" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -q True; }
until_true ready
# Answers go back by the node also where both pods are on one bridge: --masquerade-all.
kube-proxy --kubeconfig "$dir/kubeconfig" --proxy-mode iptables --masquerade-all --cluster-cidr 172.31.77.0/24 --hostname-override "$node_name" \
  --conntrack-max-per-core 0 --healthz-bind-address "" > "$log/proxy" 2>&1 & keep
python3 "$here/dns.py" "$bridge" "$dir/kubeconfig" > "$log/dns" 2>&1 & keep
for image in "$dir"/images/*.tar; do ctr --address /run/fakeai-containerd.sock -n k8s.io images import "$image" > /dev/null; done
echo "ready: KUBECONFIG=$dir/kubeconfig"
