#!/usr/bin/env bash
# On the cluster of up.sh, in parts that can be run apart (each below four minutes, so that each can have the machine for itself). Each says
# what it saw, and ends with 1 where that is not what docs/deploy.md and docs/machines.md say:
#   check    the chart's objects by the API server, the schema of its values
#   lines    the two lines of docs/deploy.md, as they stand there; it removes what serve has started
#   serve    three servers, /admin with its token alone, /metrics by pod
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
fail() { echo "does not hold: $*" >&2; exit 1; }
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
    if helm template --kube-version 1.31.0 bad "$chart" --set "$wrong" > "$dir/bad" 2>&1; then fail "the schema let $wrong pass"; fi
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
  figures "$out/lines.json" lines
  (cd "$out" && node "$here/../dist/cli.js" report lines.json --out lines.html)
  say "root is read-only, nobody is root:"
  local seen; seen=$(kubectl exec deployment/try-fakeai -- node -e 'try { require("fs").writeFileSync("/app/x", "") } catch (error) { console.log(error.code, "uid", process.getuid()) }')
  echo "$seen"
  [ "$seen" = "EROFS uid 65532" ] || fail "a pod's root can be written to, or it is another user"
  helm uninstall try --wait
}

serve() {
  say "serve: 3 replicas"
  helm upgrade --install try "$chart" "${image[@]}" "${small[@]}" --set serve.replicas=3 --set serve.adminToken=of-this-try \
    --set-json 'serve.args=["--ttft","50","--itl","20"]'
  kubectl rollout status deployment/try-fakeai --timeout=120s
  say "pods: $(pods | xargs)"
  say "each sample of a pod's /metrics says whose it is:"
  local pod sample bare open
  [ "$(pods | wc -l)" = 3 ] || fail "there are not three pods"
  for pod in $(pods); do
    sample=$(curl -s "http://$pod:8000/metrics" | grep '^fakeai_open_connections' | sed -n 1p)
    echo "$sample"
    [[ "$sample" == *'pod="try-fakeai-'* && "$sample" == *'namespace="default"'* ]] || fail "a sample does not say whose it is"
    bare=$(curl -s -o /dev/null -w '%{http_code}' "http://$pod:8000/admin/config")
    open=$(curl -s -o /dev/null -w '%{http_code}' -H 'authorization: Bearer of-this-try' "http://$pod:8000/admin/config")
    echo "/admin/config without its token: $bare, with it: $open"
    [ "$bare $open" = "401 200" ] || fail "/admin is open, or closed, where it should not be"
  done
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
# figures FILE PART: what a result says, and whether it is what the part is there to show. What was sent and counted does not depend on how
# busy this machine is; how long it took does, and is only told.
figures() {
  REQUESTS=$requests python3 - "$1" "$2" <<'PY'
import json, os, sys
result, part, requests = json.load(open(sys.argv[1])), sys.argv[2], int(os.environ["REQUESTS"])
wrong = []
def holds(what, *shown):
    if not what: wrong.append(" ".join(map(str, shown)))
shards = result["shards"]
bounds = [round(m["clock"]["boundUs"] / 1000, 2) if m["clock"] else None for m in shards["members"]]
print("complete", result["complete"], "invalid", result["invalid"], "shards", shards["of"], "clocks known to ms", bounds)
holds(result["complete"], "the run is not complete")
holds(shards["of"] == 4 and len(bounds) == 4 and None not in bounds, "four shards with known clocks", bounds)
gone, valid, rounds = [], 0, 0
for scenario in result["scenarios"]:
    for arm in scenario["arms"]:
        for r in arm["rounds"]:
            name, m = f"{arm['id']} round {r['round'] + 1}", r["metrics"]
            p = lambda metric, key: round(m[metric][key] / 1000, 1) if m.get(metric) else None
            own = {s["shard"]: s["requests"]["completed"] for s in r["shards"]}
            servers = [(s["connections"], s["completed"]) for s in r.get("servers", [])]
            rate = m["requestsPerSecond"]["mean"] if m.get("requestsPerSecond") else None
            print(name, "completed", r["requests"]["completed"], "by shard", list(own.values()), "req/s", rate and round(rate, 1), "ttft ms p50", p("ttft", "p50"), "p99", p("ttft", "p99"),
                  "late ms", [s["lateUs"] and round(s["lateUs"] / 1000, 1) for s in r["shards"]], "by server (connections, requests)", servers, "invalid", r["invalid"])
            rounds += 1
            valid += not r["invalid"]
            holds(r["requests"]["failed"] == 0, name, "requests failed", r["requests"])
            if any("gone in the round" in reason for reason in r["invalid"]):
                gone.append(name)
                holds(any(reason.startswith("shard 3 of 4: gone in the round") for reason in r["invalid"]), name, r["invalid"])
                continue
            if any("late: not at the barrier" in reason or "late: the others" in reason for reason in r["invalid"]):
                # The successor took longer than a barrier waits: its round is left out too.
                gone.append(name)
                continue
            holds(sorted(own) == [1, 2, 3, 4], name, "shards", sorted(own))
            holds(sum(own.values()) == r["requests"]["completed"], name, "the shards' sum")
            if part == "lines": continue
            holds(list(own.values()) == [requests // 4] * 4, name, "by shard", own)
            if arm["id"] == "h1":
                holds(len({c for c, _ in servers}) == 1, name, "connections", servers)
            else:
                holds(sorted(c for c, _ in servers) == [1, 1, 2], name, "connections", servers)
            holds(sum(n for _, n in servers) == requests, name, "the servers' sum", servers)
print("rounds", rounds, "valid as figures", valid, *(["without shard 3:", gone] if gone else []))
if part != "lines": holds(rounds == 10, "ten rounds", rounds)
if part == "killed": holds(len(gone) >= 1, "no round without shard 3: it was killed between two, run this part again")
else: holds(not gone, "a shard was gone", gone)
for one in wrong: print("does not hold:", one)
sys.exit(1 if wrong else 0)
PY
}

service() {
  local address; address=$(kubectl get service try-fakeai -o 'jsonpath={.spec.clusterIP}')
  counted() { for pod in $(pods); do curl -s "http://$pod:8000/metrics" | awk '/^vllm:request_success_total[{]/ { sum += $NF } END { print sum + 0 }'; done | xargs; }
  # one TITLE HOLDS ...: HOLDS is python of what the three servers got, the most first.
  one() {
    local title=$1 holds=$2 before after; shift 2
    before=$(counted)
    node "$here/../dist/cli.js" bench --scenario stream --streams 24 --requests 240 --rounds 1 --warmup 0 --keep-disturbed --out "$dir/service" "$@" > /dev/null 2>&1 || true
    after=$(counted)
    # A warm-up round and a round, each on connections of its own; one or two requests are the bench's question what the server is.
    python3 -c 'import sys; a, b = (list(map(int, text.split())) for text in sys.argv[3:]); got = [y - x for x, y in zip(a, b)]; x, y, z = sorted(got, reverse=True); print(sys.argv[1], got, "busiest %d%%" % round(100 * x / max(1, sum(got)))); sys.exit(0 if 480 <= sum(got) <= 484 and eval(sys.argv[2]) else 1)' \
      "$title" "$holds" "$before" "$after" || fail "$title: not $holds"
  }
  # kube-proxy writes its rules a moment after the Service is there.
  curl -s -o "$dir/answer" --retry 20 --retry-connrefused --retry-delay 1 --max-time 30 "http://$address:8000/health"
  say "two loads of 240 requests through the Service $address (kube-proxy, iptables), by pod"
  one "h1, 24 connections" "z > 0" --url "http://$address:8000/v1" --protocol h1
  for i in 1 2 3; do one "h2c, 1 connection" "all(n % 240 <= 4 for n in got)" --url "http://$address:8080/v1" --protocol h2c --connections 1; done
  one "h2c, 12 connections" "y > 4" --url "http://$address:8080/v1" --protocol h2c --connections 12
  one "h2c, 3 connections, --target-hosts" "x - z <= 4" --url "http://$address:8080/v1" --protocol h2c --connections 3 --target-hosts "$(pods | paste -sd,)"
}

plain() {
  say "an Indexed Job of 4 shards, h1 and h2c, 5 rounds"
  run plain
  begun plain-fakeai-rendezvous
  collect plain
  figures "$out/plain.json" plain
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
  figures "$out/killed.json" killed
}

rollout() {
  local before; before=$(pods | xargs)
  local origins; origins=$(pods | sed 's#^#http://#' | xargs)
  say "a rollout under 60 streams of 6 s, opened at the pods $origins"
  # shellcheck disable=SC2086
  node "$here/try/streams.mjs" 60 300 $origins > "$dir/streams" 2>&1 &
  local streams=$!
  sleep 2
  kubectl rollout restart deployment/try-fakeai
  kubectl rollout status deployment/try-fakeai --timeout=180s
  wait "$streams" || { cat "$dir/streams"; fail "a stream was lost in the rollout"; }
  cat "$dir/streams"
  local pod after; after=$(pods | xargs)
  say "pods: $after"
  for pod in $before; do [[ " $after " != *" $pod "* ]] || fail "the pod $pod was not replaced"; done
}

for part in "${@:-check lines serve service plain killed rollout}"; do for name in $part; do "$name"; done; done
say "done"
