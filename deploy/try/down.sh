#!/usr/bin/env bash
# Ends what up.sh started.
set -uo pipefail
dir=${1:?the folder of the cluster}
export PATH="$dir/bin:$PATH"
kubectl --kubeconfig "$dir/kubeconfig" delete deployments,jobs,pods --all --grace-period=1 --timeout=20s >/dev/null 2>&1
tac "$dir/pids" | while read -r pid; do kill "$pid" 2>/dev/null; done
ctr --address /run/fakeai-containerd.sock -n k8s.io tasks ls -q 2>/dev/null | xargs -r -n1 ctr --address /run/fakeai-containerd.sock -n k8s.io tasks kill -s KILL 2>/dev/null
kube-proxy --cleanup >/dev/null 2>&1
ip link del fakeai0 2>/dev/null
rm -rf "$dir/etcd"
