#!/usr/bin/env bash
# On the cluster of up.sh, in parts that can be run apart (each below four minutes, so that each can have the machine for itself):
#   check    the chart's objects by the API server, the schema of its values
#   lines    the two lines of docs/deploy.md, as they stand there
#   serve    three servers
#   service  the same load through the Service and by the pods' addresses: which pod gets what
#   plain    an Indexed Job of four shards over h1 and h2c, five rounds
#   killed   the same, and the pod of index 2 is killed in the third round
#   rollout  a rollout under 60 streams
#   deploy/try/show.sh /tmp/cluster results/distributed/kubernetes check serve plain
set -euo pipefail
dir=${1:?the folder of the cluster}
out=${2:?where the results go}
shift 2
here=$(cd "$(dirname "$0")/.." && pwd)
export PATH="$dir/bin:$PATH" KUBECONFIG="$dir/kubeconfig"
mkdir -p "$out"
say() { echo "[$(date -u +%H:%M:%S)] $*"; }
chart="$here/helm/fakeai"
image=(--set image.repository=localhost/fakeai --set image.tag=try --set image.pullPolicy=Never)
small=(--set serve.resources.requests.cpu=10m --set serve.resources.requests.memory=64Mi --set bench.resources.requests.cpu=10m --set bench.resources.requests.memory=64Mi)
# What four generators, three servers and a control plane on two cores carry without being late.
streams=${STREAMS:-24} requests=${REQUESTS:-240}

# A look at the cluster takes CPU time from what is measured: these wait for what the API server tells, and do not ask again and again.
pods() { kubectl get pods -l app.kubernetes.io/instance=try,app.kubernetes.io/component=serve --field-selector=status.phase=Running -o 'jsonpath={range .items[*]}{.metadata.deletionTimestamp}{"|"}{.status.podIP}{"\n"}{end}' | sed -n 's/^|//p'; }
# A Job's pod is made a moment after the Job.
begun() {
  for _ in $(seq 1 40); do [ -n "$(kubectl get pods -l "job-name=$1" -o name)" ] && break; sleep 0.5; done
  kubectl wait --for=condition=Ready pod -l "job-name=$1" --timeout=60s > /dev/null
}

check() {
  say "kubernetes $(kubectl version -o json | python3 -c 'import json,sys; print(json.load(sys.stdin)["serverVersion"]["gitVersion"])'), $(kubectl get nodes --no-headers | wc -l) node"
  helm lint "$chart" --set bench.enabled=true
  say "every object of the chart, checked by the API server (dry run)"
  helm template --kube-version 1.31.0 check "$chart" "${image[@]}" --set bench.enabled=true --set serve.adminToken=secret | kubectl apply --dry-run=server -f -
  for wrong in serve.replicas=0 bench.shards=0 serve.nonsense=1 serve.ports.h1=80 bench.url=ftp://x; do
    if helm template --kube-version 1.31.0 bad "$chart" --set "$wrong" > "$dir/bad" 2>&1; then say "the schema let $wrong pass"; exit 1; fi
    tail -n 2 "$dir/bad" | grep .
  done
}

# As in docs/deploy.md; before them only what a user's registry does: the image has another name here.
lines() {
  helm uninstall try --wait > /dev/null 2>&1 || true
  say "helm install try deploy/helm/fakeai --set serve.replicas=3 --set bench.enabled=true --set bench.shards=4"
  (cd "$here/.." && helm install try deploy/helm/fakeai --set serve.replicas=3 --set bench.enabled=true --set bench.shards=4 "${image[@]}" "${small[@]}")
  begun try-fakeai-rendezvous
  say "kubectl logs -f job/try-fakeai-rendezvous | tail -n 1 > result.json"
  (cd "$out" && kubectl logs -f job/try-fakeai-rendezvous | tee "$dir/lines.log" | tail -n 1 > result.json && mv result.json lines.json)
  sed '$d' "$dir/lines.log"
  figures "$out/lines.json"
  (cd "$out" && node "$here/../dist/cli.js" report lines.json --out lines.html)
  say "root is read-only, nobody is root:"
  kubectl exec deployment/try-fakeai -- node -e 'try { require("fs").writeFileSync("/app/x", "") } catch (error) { console.log(error.code, "uid", process.getuid()) }'
  helm uninstall try --wait
}

serve() {
  say "serve: 3 replicas"
  helm upgrade --install try "$chart" "${image[@]}" "${small[@]}" --set serve.replicas=3 --set-json 'serve.args=["--ttft","50","--itl","20"]'
  kubectl rollout status deployment/try-fakeai --timeout=120s
  say "pods: $(pods | xargs)"
  say "each sample of a pod's /metrics says whose it is:"
  for pod in $(pods); do curl -s "http://$pod:8000/metrics" | grep '^fakeai_open_connections' | head -n 1; done
}

# run NAME: four shards over h1 and h2c, five rounds.
run() {
  local name=$1 hosts
  hosts=$(pods | paste -sd,)
  helm install "$name" "$chart" "${image[@]}" "${small[@]}" --set serve.enabled=false --set bench.enabled=true \
    --set 'bench.url=http://try-fakeai:8000/v1\,http://try-fakeai:8080/v1' \
    --set-json "bench.args=[\"--scenario\",\"stream\",\"--protocol\",\"h1,h2c\",\"--streams\",\"$streams\",\"--requests\",\"$requests\",\"--rounds\",\"5\",\"--keep-disturbed\",\"--target-hosts\",\"$hosts\"]" > /dev/null
}
collect() {
  local name=$1
  kubectl logs -f "job/$name-fakeai-rendezvous" > "$dir/$name.log"
  tail -n 1 "$dir/$name.log" > "$out/$name.json"
  sed '$d' "$dir/$name.log"
  kubectl get pods -l "app.kubernetes.io/component=bench,app.kubernetes.io/instance=$name" -o wide --no-headers
  helm uninstall "$name" > /dev/null
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
                  "req/s", p("requestsPerSecond", "mean"), "ttft us p50", p("ttft", "p50"), "p99", p("ttft", "p99"), "late us", [round(s["lateUs"]) if s["lateUs"] is not None else None for s in r.get("shards", [])],
                  "by server", [(s["connections"], s["completed"]) for s in r.get("servers", [])], "invalid", r["invalid"])
PY
}

service() {
  local address; address=$(kubectl get service try-fakeai -o 'jsonpath={.spec.clusterIP}')
  counted() { for pod in $(pods); do curl -s "http://$pod:8000/metrics" | sed -n 's/^vllm:request_success_total{.*} //p' | paste -sd+ | bc; done | xargs; }
  one() {
    local title=$1 before after; shift
    before=$(counted)
    node "$here/../dist/cli.js" bench --scenario stream --streams 24 --requests 240 --rounds 1 --warmup 0 --keep-disturbed --out "$dir/service" "$@" > /dev/null 2>&1 || true
    after=$(counted)
    python3 -c 'import sys; a, b = (list(map(int, text.split())) for text in sys.argv[2:]); print(sys.argv[1], [y - x for x, y in zip(a, b)])' "$title" "$before" "$after"
  }
  say "240 requests through the Service $address (kube-proxy, iptables), by pod"
  one "h1, 24 connections" --url "http://$address:8000/v1" --protocol h1
  for i in 1 2 3; do one "h2c, 1 connection" --url "http://$address:8080/v1" --protocol h2c --connections 1; done
  one "h2c, 12 connections" --url "http://$address:8080/v1" --protocol h2c --connections 12
  one "h2c, 3 connections, --target-hosts" --url "http://$address:8080/v1" --protocol h2c --connections 3 --target-hosts "$(pods | paste -sd,)"
}

plain() {
  say "an Indexed Job of 4 shards, h1 and h2c, 5 rounds"
  run plain
  begun plain-fakeai-rendezvous
  collect plain
  figures "$out/plain.json"
}

killed() {
  say "the same, and the pod of index 2 is killed in the third round"
  run killed
  begun killed-fakeai-rendezvous
  grep -q -m1 "all 4 shards" <(kubectl logs -f job/killed-fakeai-rendezvous)
  sleep "${KILL_AFTER:-18}"
  local victim; victim=$(kubectl get pods -l "app.kubernetes.io/component=bench,app.kubernetes.io/instance=killed,batch.kubernetes.io/job-completion-index=2" -o 'jsonpath={.items[0].metadata.name}')
  say "killing $victim"
  kubectl delete pod "$victim" --grace-period=0 --force 2>/dev/null
  collect killed
  figures "$out/killed.json"
}

rollout() {
  local origins; origins=$(pods | sed 's#^#http://#' | xargs)
  say "a rollout under 60 streams of 6 s, opened at the pods $origins"
  # shellcheck disable=SC2086
  node "$here/try/streams.mjs" 60 300 $origins > "$dir/streams" 2>&1 &
  local streams=$!
  sleep 2
  kubectl rollout restart deployment/try-fakeai
  kubectl rollout status deployment/try-fakeai --timeout=180s
  wait "$streams" && cat "$dir/streams"
  say "pods: $(pods | xargs)"
}

for part in "${@:-check serve service plain killed rollout}"; do for name in $part; do "$name"; done; done
say "done"
