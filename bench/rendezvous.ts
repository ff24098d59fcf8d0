/**
 * What the rendezvous of a load costs: `fakeai rendezvous` as a process, and one script that is all shards of it, each on a connection of
 * its own. They come, meet for every round and every end, hand in each round and at last their whole results, which are merged. What they
 * hand in is what a shard of a real run wrote: two arms, five rounds, against a server of this machine.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { clockTickUs } from "../src/base/proc.ts";
import type { BenchResult } from "../src/results/types.ts";
import { type FromShard, Link, messagesVersion, type ToShard } from "../src/shards/messages.ts";

const { values, positionals } = parseArgs({
  options: { rounds: { type: "string", default: "20" } },
  allowPositionals: true,
});
const counts = positionals.length > 0 ? positionals.map(Number) : [100, 1000];
const rounds = Number(values.rounds);
const folder = mkdtempSync(join(tmpdir(), "fakeai-rendezvous-"));

/** A shard: what it was told last of each kind is waited for. */
class Shard {
  readonly #link: Link;
  readonly #waiting = new Map<ToShard["kind"], () => void>();

  private constructor(link: (shard: Shard) => Link) {
    this.#link = link(this);
  }

  static async come(port: number, shard: number, of: number): Promise<{ readonly shard: Shard; readonly begun: Promise<void> }> {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    await once(socket, "connect");
    const own = new Shard((self) => {
      const told = (message: unknown): void => self.#receive(message as ToShard);
      const link = new Link(socket, told, (reason) => {
        if (!self.isDone) throw new Error(`shard ${shard}: ${reason}`);
      });
      link.admit();
      return link;
    });
    const begun = own.told("begin");
    own.say({ kind: "hello", version: messagesVersion, shard, of, token: null, plan: { "--requests": "1000" }, patienceMs: 60_000 });
    return { shard: own, begun };
  }

  isDone = false;

  say(message: FromShard): void {
    this.#link.send(message);
  }

  told(kind: ToShard["kind"]): Promise<void> {
    return new Promise((resolve) => this.#waiting.set(kind, resolve));
  }

  end(): void {
    this.#link.end();
  }

  #receive(message: ToShard): void {
    if (message.kind === "refused" || message.kind === "end" || message.kind === "skip") throw new Error(JSON.stringify(message));
    const resolve = this.#waiting.get(message.kind);
    this.#waiting.delete(message.kind);
    resolve?.();
  }
}

const cli = (args: readonly string[], stdio: "ignore" | "inherit" = "ignore"): ChildProcess =>
  spawn(process.execPath, ["dist/cli.js", ...args], { stdio: ["ignore", "pipe", stdio] });

/** What a shard of a real run wrote. */
async function template(): Promise<BenchResult> {
  const server = cli(["serve", "--json", "--protocol", "h1:0,h2c:0", "--ttft", "20", "--itl", "5", "--stamps"]);
  const [line] = (await once(server.stdout!, "data")) as [Buffer];
  const { listening } = JSON.parse(line.toString()) as { listening: { url: string }[] };
  const out = join(folder, "template");
  const load = [
    "--scenario",
    "stream",
    "--protocol",
    "h1,h2c",
    "--streams",
    "100",
    "--requests",
    "400",
    "--rounds",
    "5",
    "--keep-disturbed",
  ];
  const url = listening.map(({ url: origin }) => `${origin}/v1`).join(",");
  const shards = [1, 2].map((shard) =>
    cli(["bench", "--shard", `${shard}/2`, "--rendezvous", "127.0.0.1:17699", "--url", url, ...load, "--out", out]),
  );
  await Promise.all(shards.map((shard) => once(shard.stdout!.resume(), "close")));
  server.kill();
  return JSON.parse(readFileSync(join(out, "shard-1", "result.json"), "utf8")) as BenchResult;
}

const median = (list: readonly number[]): number => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]!;
const cpuMs = (pid: number): number => {
  const { utime, stime } = cpuOf(pid);
  return ((utime + stime) * clockTickUs()!) / 1000;
};

function cpuOf(pid: number): { readonly utime: number; readonly stime: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
    .replace(/^.*\) /s, "")
    .split(" ");
  return { utime: Number(fields[11]), stime: Number(fields[12]) };
}

function peakMb(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]) / 1024;
}

async function measure(of: number, result: BenchResult): Promise<void> {
  const port = 17_700;
  const out = join(folder, `of-${of}`);
  const listen = `127.0.0.1:${port}`;
  const rendezvous = spawn(process.execPath, ["dist/cli.js", "rendezvous", "--shards", String(of), "--listen", listen, "--out", out], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(rendezvous, "exit");
  await once(rendezvous.stderr, "data");
  rendezvous.stderr.resume();
  const { pid } = rendezvous;
  const cameAt = performance.now();
  const cpuBefore = cpuMs(pid!);
  const come = await Promise.all(Array.from({ length: of }, (_, i) => Shard.come(port, i + 1, of)));
  await Promise.all(come.map(({ begun }) => begun));
  const comeMs = performance.now() - cameAt;
  const comeCpuMs = cpuMs(pid!) - cpuBefore;
  const shards = come.map(({ shard }) => shard);
  // A real shard says every second that it lives.
  const beat = setInterval(() => shards.forEach((shard) => shard.say({ kind: "time", t1: 0 })), 1000);
  const all = async (kind: ToShard["kind"], message: (index: number) => FromShard): Promise<number> => {
    const told = shards.map((shard) => shard.told(kind));
    const from = performance.now();
    shards.forEach((shard, i) => shard.say(message(i)));
    await Promise.all(told);
    return performance.now() - from;
  };
  const [barriers, ends]: [number[], number[]] = [[], []];
  const cpuOfRounds = cpuMs(pid!);
  for (let round = 0; round < rounds; round++) {
    const key = `stream//h2c/${round}`;
    barriers.push(await all("go", () => ({ kind: "arrive", round: key, run: 0 })));
    const report = { invalid: [], completed: 10, durationUs: 1e6, dead: false };
    ends.push(await all("settled", () => ({ kind: "ended", round: key, report })));
  }
  const perRoundMs = (cpuMs(pid!) - cpuOfRounds) / rounds;
  const idleMb = peakMb(pid!);
  const handedFrom = performance.now();
  for (const scenario of result.scenarios)
    for (const arm of scenario.arms)
      for (const round of arm.rounds)
        shards.forEach((shard) =>
          shard.say({ kind: "round", place: { scenario: scenario.id, variant: scenario.variant, arm: arm.id }, result: round }),
        );
  const session = "measured";
  const kept = all("kept", (i) => ({ kind: "result", result: { ...result, shard: { ...result.shard!, shard: i + 1, of, session } } }));
  shards.forEach((shard) => (shard.isDone = true));
  await kept;
  const handedMs = performance.now() - handedFrom;
  clearInterval(beat);
  const mergeFrom = performance.now();
  let mostMb = 0;
  const look = setInterval(() => {
    try {
      mostMb = Math.max(mostMb, peakMb(pid!));
    } catch {
      // It is gone.
    }
  }, 50);
  await ended;
  clearInterval(look);
  shards.forEach((shard) => shard.end());
  const resultKb = JSON.stringify(result).length / 1000;
  const roundKb = JSON.stringify(result.scenarios[0]!.arms[0]!.rounds[0]).length / 1000;
  console.log(
    `| ${of} | ${(comeMs / 1000).toFixed(2)} s (${comeCpuMs.toFixed(0)} ms of CPU) | ${median(barriers).toFixed(0)} ms | ${median(ends).toFixed(0)} ms | ${perRoundMs.toFixed(1)} ms | ${idleMb.toFixed(0)} MB | ${(handedMs / 1000).toFixed(1)} s | ${((performance.now() - mergeFrom) / 1000).toFixed(1)} s | ${mostMb.toFixed(0)} MB | ${roundKb.toFixed(1)}, ${resultKb.toFixed(0)}, ${(statSync(join(out, "result.json")).size / 1e6).toFixed(1)} |`,
  );
}

try {
  const result = await template();
  console.log(
    `| shards | to come | barrier | end of a round | CPU a round | memory | results handed in | merged and written | memory then | kB a round, kB a shard, MB merged |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |`,
  );
  for (const of of counts) await measure(of, result);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
