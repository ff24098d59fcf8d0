#!/usr/bin/env bash
# A Slurm of four nodes in network namespaces, an array job of four shards on them, and the same load from one process: equal requests,
# tokens and bytes in every round, rates and percentiles within noise, or exit 1. All of it is in a network and a mount namespace of its own,
# which end with it. Needs root, and Debian's slurmctld, slurmd, slurm-client and munge.
#   deploy/try/slurm.sh /tmp/slurm results/distributed/slurm
# REQUESTS (160) and ROUNDS (5) make it shorter.
set -euo pipefail
dir=${1:?a folder for the cluster}
out=${2:?where the results go}
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${OWN_NETWORK:-}" = "" ]; then
  for tool in slurmctld slurmd sbatch munged ip nsenter unshare; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install slurmctld slurmd slurm-client munge iproute2 util-linux" >&2; exit 1; }
  done
  if ! why=$(unshare --net --mount true 2>&1); then echo "this place forbids network namespaces: $why" >&2; exit 1; fi
  OWN_NETWORK=1 exec unshare --net --mount "$0" "$@"
fi
requests=${REQUESTS:-160}
rounds=${ROUNDS:-5}
mkdir -p "$dir/state" "$dir/log" "$dir/shared" "$out"
ip link set lo up
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
pids=()
host=$(hostname -s)
end() {
  # Tasks outlive the daemons that started them.
  for i in 1 2 3 4; do ip netns pids "slurm$i" 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true; done
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
}
trap end EXIT
ip link add slurmbr type bridge
ip addr add 10.177.0.1/24 dev slurmbr
ip link set slurmbr up
for i in 1 2 3 4; do
  ip netns add "slurm$i"
  ip link add "slurmv$i" type veth peer name eth0 netns "slurm$i"
  ip link set "slurmv$i" master slurmbr up
  ip -n "slurm$i" addr add "10.177.0.1$i/24" dev eth0
  ip -n "slurm$i" link set eth0 up
  ip -n "slurm$i" link set lo up
done
[ -s /etc/munge/munge.key ] || dd if=/dev/urandom bs=1 count=1024 of=/etc/munge/munge.key status=none
chown munge:munge /etc/munge/munge.key
chmod 400 /etc/munge/munge.key
install -d -o munge -g munge /run/munge /var/log/munge
if [ ! -S /run/munge/munge.socket.2 ] || ! munge -n >/dev/null 2>&1; then
  setpriv --reuid munge --regid munge --clear-groups munged --force --foreground & pids+=($!)
  for _ in $(seq 1 50); do munge -n >/dev/null 2>&1 && break; sleep 0.1; done
fi
cat > "$dir/slurm.conf" <<CONF
ClusterName=try
SlurmctldHost=$host(10.177.0.1)
SlurmctldPort=27817
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
ReturnToService=2
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld
SlurmdLogFile=$dir/log/slurmd-%n
SlurmctldParameters=enable_configless
$(for i in 1 2 3 4; do echo "NodeName=n$i NodeHostname=$host NodeAddr=10.177.0.1$i Port=$((27820 + i)) CPUs=2 State=UNKNOWN"; done)
PartitionName=all Nodes=n[1-4] Default=YES MaxTime=10 State=UP
CONF
export SLURM_CONF="$dir/slurm.conf"
slurmctld -D -c > /dev/null 2>&1 & pids+=($!)
for i in 1 2 3 4; do mkdir -p "$dir/spool-n$i"; nsenter --net="/run/netns/slurm$i" slurmd -D -N "n$i" > /dev/null 2>&1 & pids+=($!); done
for _ in $(seq 1 100); do [ "$(sinfo -h -t idle -o %D 2>/dev/null)" = 4 ] && break; sleep 0.2; done
sinfo
[ "$(sinfo -h -t idle -o %D)" = 4 ] || { tail -n 5 "$dir"/log/slurm* >&2; echo "the four nodes did not come up" >&2; exit 1; }
node "$root/dist/cli.js" serve --host 10.177.0.1 --protocol h1:18480 --ttft 30 --itl 10 --stamps --warm --quiet & pids+=($!)
for _ in $(seq 1 100); do curl -s -o /dev/null http://10.177.0.1:18480/health/ready && break; sleep 0.1; done
load=(--url http://10.177.0.1:18480/v1 --scenario stream --protocol h1 --streams 16 --requests "$requests" --rounds "$rounds" --keep-disturbed)
export FAKEAI="node $root/dist/cli.js" RESULTS_DIR="$dir/shared" RENDEZVOUS_HOST=-
began=$(date +%s)
job=$(sbatch --parsable --array=1-4 --cpus-per-task=1 --output="$dir/log/task-%a" "$root/deploy/slurm/bench.sbatch" "${load[@]}")
# sbatch --wait looks every few seconds only.
while [ -n "$(squeue -h -j "$job" -t PENDING,RUNNING,COMPLETING 2>/dev/null)" ]; do sleep 0.3; done
echo "the array job took $(($(date +%s) - began)) s"
[ -s "$dir/shared/$job/result.json" ] || { tail -n 20 "$dir"/log/task-* >&2; exit 1; }
cp "$dir/shared/$job/result.json" "$out/array.json"
node "$root/dist/cli.js" bench "${load[@]}" --out "$dir/one" > /dev/null 2> "$dir/log/one" || true
cp "$dir/one/result.json" "$out/one.json"
python3 - "$requests" "$rounds" "$out/array.json" "$out/one.json" <<'PY'
import json, statistics, sys
requests, rounds = (int(text) for text in sys.argv[1:3])
many, one = (json.load(open(path)) for path in sys.argv[3:])
assert many["shards"]["of"] == 4, many["shards"]
print("shards", many["shards"]["of"], "clock bounds us", [round(m["clock"]["boundUs"], 1) for m in many["shards"]["members"]])
arms = [result["scenarios"][0]["arms"][0] for result in (many, one)]
assert many["scenarios"][0]["prompts"] == one["scenarios"][0]["prompts"], "other prompts were sent"
assert [len(arm["rounds"]) for arm in arms] == [rounds, rounds]
for name, arm in zip(("array", "one"), arms):
    for r in arm["rounds"]:
        m = r["metrics"]
        print(name, "round", r["round"] + 1, "completed", r["requests"]["completed"], [s["requests"]["completed"] for s in r.get("shards", [])],
              "tokens", r["work"]["tokens"], "bytes", r["work"]["contentBytes"], "req/s %.1f" % m["requestsPerSecond"]["mean"],
              "ttft p50 %.1f p99 %.1f ms" % (m["ttft"]["p50"] / 1000, m["ttft"]["p99"] / 1000), "itl p50 %.2f ms" % (m["itl"]["p50"] / 1000),
              *(["not valid as a figure:", r["invalid"]] if r["invalid"] else []))
# What was sent does not depend on how busy this machine was. The same requests of the same seeds have the same answers, to the byte.
for a, b in zip(arms[0]["rounds"], arms[1]["rounds"]):
    for r in (a, b):
        assert (r["requests"]["completed"], r["requests"]["failed"]) == (requests, 0), r["requests"]
    assert [s["requests"]["completed"] for s in a["shards"]] == [requests // 4] * 4, a["shards"]
    assert (a["work"]["tokens"], a["work"]["contentBytes"]) == (b["work"]["tokens"], b["work"]["contentBytes"]), (a["work"], b["work"])
print("same requests, tokens and bytes in each of", rounds, "rounds")
# Rates and percentiles: the middle of the rounds, as far apart as rounds of one process are, or 15%.
for metric, key in (("requestsPerSecond", "mean"), ("ttft", "p50"), ("itl", "p50"), ("itl", "p90")):
    a, b = ([r["metrics"][metric][key] for r in arm["rounds"]] for arm in arms)
    apart, noise = abs(statistics.median(a) - statistics.median(b)), max(max(a) - min(a), max(b) - min(b), 0.15 * statistics.median(b))
    print("%s %s: array %.1f, one %.1f: %.1f%% apart, noise %.1f%%" % (metric, key, statistics.median(a), statistics.median(b), 100 * apart / statistics.median(b), 100 * noise / statistics.median(b)))
    assert apart <= noise, (metric, key, a, b)
print("rates and percentiles within noise")
PY
