#!/usr/bin/env bash
# On the cluster of up.sh: the chart is checked by its API server and applied, three servers run, four shards make one load, one of them is
# killed in a round, and a rollout drains under streams. There is no DNS and no kube-proxy here, so addresses of pods stand for Services.
#   deploy/try/show.sh /tmp/cluster results/distributed/kubernetes
set -euo pipefail
dir=${1:?the folder of the cluster}
out=${2:?where the results go}
here=$(cd "$(dirname "$0")/.." && pwd)
export PATH="$dir/bin:$PATH" KUBECONFIG="$dir/kubeconfig"
mkdir -p "$out"
say() { echo "[$(date -u +%H:%M:%S)] $*"; }
chart="$here/helm/fakeai"
image=(--set image.repository=localhost/fakeai --set image.tag=try --set image.pullPolicy=Never)
small=(--set serve.resources.requests.cpu=10m --set serve.resources.requests.memory=64Mi --set bench.resources.requests.cpu=10m --set bench.resources.requests.memory=64Mi)

say "kubernetes $(kubectl version -o json | python3 -c 'import json,sys; print(json.load(sys.stdin)["serverVersion"]["gitVersion"])'), $(kubectl get nodes --no-headers | wc -l) node"
helm lint "$chart" --set bench.enabled=true
say "every object of the chart, checked by the API server (dry run)"
helm template --kube-version 1.31.0 check "$chart" "${image[@]}" --set bench.enabled=true --set serve.adminToken=secret | kubectl apply --dry-run=server -f -
if helm template --kube-version 1.31.0 bad "$chart" --set serve.replicas=0 > "$dir/bad" 2>&1; then say "the schema let 0 replicas pass"; exit 1; fi
grep -m1 replicas "$dir/bad"

say "serve: 3 replicas"
serve=(--set serve.replicas=3 --set-json 'serve.args=["--ttft","50","--itl","20"]')
helm upgrade --install try "$chart" "${image[@]}" "${small[@]}" "${serve[@]}"
kubectl rollout status deployment/try-fakeai --timeout=120s
pods() { kubectl get pods -l app.kubernetes.io/component=serve --field-selector=status.phase=Running -o 'jsonpath={range .items[*]}{.metadata.deletionTimestamp}{"|"}{.status.podIP}{"\n"}{end}' | sed -n 's/^|//p'; }
mapfile -t addresses < <(pods)
say "pods: ${addresses[*]}"

# run NAME: four shards over h1 and h2c, five rounds.
run() {
  local name=$1 first=${addresses[0]} hosts
  hosts=$(IFS='\'; echo "${addresses[*]}" | sed 's/\\/\\,/g')
  local values=("${image[@]}" "${small[@]}" --set serve.enabled=false --set bench.enabled=true --set bench.token=try-token-of-this-machine
    --set "bench.url=http://$first:8000/v1\,http://$first:8080/v1" --set bench.barrierSeconds=60
    --set-json "bench.args=[\"--scenario\",\"stream\",\"--protocol\",\"h1,h2c\",\"--streams\",\"24\",\"--requests\",\"240\",\"--rounds\",\"5\",\"--keep-disturbed\",\"--target-hosts\",\"$(IFS=,; echo "${addresses[*]}")\"]")
  helm template --kube-version 1.31.0 "$name" "$chart" "${values[@]}" > "$dir/$name.yaml"
  # The rendezvous first: without DNS its address is not known before.
  python3 - "$dir/$name.yaml" "$dir/$name-first.yaml" <<'PY'
import sys
parts = [part for part in open(sys.argv[1]).read().split("\n---\n") if "bench\n" not in part or "kind: Secret" in part or "-rendezvous\n" in part]
open(sys.argv[2], "w").write("\n---\n".join(part for part in parts if "kind: NetworkPolicy" not in part and "completionMode" not in part))
PY
  kubectl apply -f "$dir/$name-first.yaml"
  local ip=""
  for _ in $(seq 1 120); do
    ip=$(kubectl get pods -l "app.kubernetes.io/component=rendezvous,app.kubernetes.io/instance=$name" -o 'jsonpath={.items[0].status.podIP}' 2>/dev/null || true)
    [ -n "$ip" ] && break
    sleep 0.5
  done
  helm template --kube-version 1.31.0 "$name" "$chart" "${values[@]}" --set "bench.rendezvous.host=$ip" | kubectl apply -f -
}
collect() {
  local name=$1
  kubectl wait --for=condition=complete --for=condition=failed "job/$name-fakeai-rendezvous" --timeout=1s >/dev/null 2>&1 || true
  for _ in $(seq 1 480); do
    [ -n "$(kubectl get job "$name-fakeai-rendezvous" -o 'jsonpath={.status.succeeded}{.status.failed}')" ] && break
    sleep 0.5
  done
  # What a user types: one line for the merged result.
  kubectl logs "job/$name-fakeai-rendezvous" | tail -n 1 > "$out/$name.json"
  kubectl logs "job/$name-fakeai-rendezvous" | sed '$d'
  kubectl get pods -l "app.kubernetes.io/component=bench,app.kubernetes.io/instance=$name" -o wide --no-headers || true
}
figures() {
  python3 - "$1" <<'PY'
import json, sys
result = json.load(open(sys.argv[1]))
print("complete", result["complete"], "invalid", result["invalid"], "shards", result["shards"]["of"], "clock bound us", [round(m["clock"]["boundUs"], 1) for m in result["shards"]["members"] if m["clock"]])
for scenario in result["scenarios"]:
    for arm in scenario["arms"]:
        for r in arm["rounds"]:
            m = r["metrics"]
            p = lambda name, key: round(m[name][key], 1) if m.get(name) else None
            print(arm["id"], "round", r["round"] + 1, "completed", r["requests"]["completed"], "by shard", [s["requests"]["completed"] for s in r.get("shards", [])],
                  "req/s", p("requestsPerSecond", "mean"), "ttft p50", p("ttft", "p50"), "p99", p("ttft", "p99"), "late us", [round(s["lateUs"]) if s["lateUs"] is not None else None for s in r.get("shards", [])],
                  "by server", [(s["connections"], s["completed"]) for s in r.get("servers", [])], "invalid", r["invalid"])
PY
}

say "an Indexed Job of 4 shards, h1 and h2c, 5 rounds"
run plain
collect plain
figures "$out/plain.json"

say "the same, and the pod of index 2 is killed in the third round"
run killed
for _ in $(seq 1 240); do kubectl logs job/killed-fakeai-rendezvous 2>/dev/null | grep -q "all 4 shards" && break; sleep 0.5; done
sleep 12
victim=$(kubectl get pods -l "app.kubernetes.io/component=bench,app.kubernetes.io/instance=killed,batch.kubernetes.io/job-completion-index=2" -o 'jsonpath={.items[0].metadata.name}')
say "killing $victim"
kubectl delete pod "$victim" --grace-period=0 --force
collect killed
figures "$out/killed.json"

say "a rollout under 60 streams of 6 s"
node "$here/try/streams.mjs" 60 300 "${addresses[@]/#/http://}" > "$dir/streams" 2>&1 &
streams=$!
sleep 2
kubectl rollout restart deployment/try-fakeai
kubectl rollout status deployment/try-fakeai --timeout=180s
wait "$streams" && cat "$dir/streams"
say "done"
