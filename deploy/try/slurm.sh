#!/usr/bin/env bash
# A Slurm of four nodes in network namespaces of this machine, an array job of four shards on them, and the same load from one process.
# Needs root, and Debian's slurmctld, slurmd, slurm-client and munge. Ends what it started.
#   deploy/try/slurm.sh /tmp/slurm results/distributed/slurm
set -euo pipefail
dir=${1:?a folder for the cluster}
out=${2:?where the results go}
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$dir/state" "$dir/log" "$dir/shared" "$out"
pids=()
host=$(hostname -s)
end() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  for i in 1 2 3 4; do ip netns del "slurm$i" 2>/dev/null || true; done
  ip link del slurmbr 2>/dev/null || true
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
chown munge:munge /etc/munge/munge.key && chmod 400 /etc/munge/munge.key
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
node "$root/dist/cli.js" serve --host 10.177.0.1 --protocol h1:18480 --ttft 30 --itl 10 --stamps --quiet & pids+=($!)
for _ in $(seq 1 100); do curl -s -o /dev/null http://10.177.0.1:18480/health && break; sleep 0.1; done
load=(--url http://10.177.0.1:18480/v1 --scenario stream --protocol h1 --streams 16 --requests 160 --rounds 5 --keep-disturbed)
export FAKEAI="node $root/dist/cli.js" RESULTS_DIR="$dir/shared" RENDEZVOUS_HOST=-
began=$(date +%s)
sbatch --wait --array=1-4 --cpus-per-task=1 --output="$dir/log/task-%a" "$root/deploy/slurm/bench.sbatch" "${load[@]}" || true
echo "the array job took $(($(date +%s) - began)) s"
job=$(ls "$dir/shared" | sort -n | tail -1)
cp "$dir/shared/$job/result.json" "$out/array.json"
node "$root/dist/cli.js" bench "${load[@]}" --out "$dir/one" > /dev/null 2> "$dir/log/one" || true
cp "$dir/one/result.json" "$out/one.json"
python3 - "$out/array.json" "$out/one.json" <<'PY'
import json, sys
many, one = (json.load(open(path)) for path in sys.argv[1:])
print("shards", many["shards"]["of"], "clock bounds us", [round(m["clock"]["boundUs"], 1) for m in many["shards"]["members"]])
prompts = [result["scenarios"][0]["prompts"] for result in (many, one)]
assert prompts[0] == prompts[1], "other prompts were sent"
for name, result in (("array", many), ("one", one)):
    arm = result["scenarios"][0]["arms"][0]
    assert len(arm["rounds"]) == 5, arm["rounds"]
    for r in arm["rounds"]:
        m = r["metrics"]
        if r["invalid"]:
            print(name, "round", r["round"] + 1, "is left out:", r["invalid"])
            continue
        assert r["requests"]["completed"] == 160, r["requests"]
        print(name, "round", r["round"] + 1, "completed", r["requests"]["completed"], [s["requests"]["completed"] for s in r.get("shards", [])],
              "tokens", r["work"]["tokens"], "bytes", r["work"]["contentBytes"], "req/s %.1f" % m["requestsPerSecond"]["mean"],
              "ttft p50 %.1f p99 %.1f ms" % (m["ttft"]["p50"] / 1000, m["ttft"]["p99"] / 1000), "itl p50 %.2f ms" % (m["itl"]["p50"] / 1000))
# The same requests of the same seeds have the same answers: every byte of text is accounted for.
for a, b in zip(many["scenarios"][0]["arms"][0]["rounds"], one["scenarios"][0]["arms"][0]["rounds"]):
    if a["invalid"] or b["invalid"]: continue
    assert (a["work"]["tokens"], a["work"]["contentBytes"]) == (b["work"]["tokens"], b["work"]["contentBytes"])
print("same requests, tokens and bytes in each round")
PY
