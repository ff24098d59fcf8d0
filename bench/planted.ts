/**
 * Whether what is planted is found, and what is not there is not: faults of `fakeai proxy --plant`, nginx and HAProxy with and
 * without buffering, each looked at by the checks of `fakeai gateway certify`; and half a millisecond, by its frontier, beside a
 * proxy that adds nothing. `results/gateways/planted.json` keeps each run; exit code 1 where one is missed.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { clockIdentity } from "../src/base/clock.ts";
import { LoaderDriver } from "../src/load/drivers/stream.ts";
import type { Endpoint } from "../src/load/job.ts";
import { proxies } from "../src/network/gateways/catalogue.ts";
import { gatewayProgram } from "../src/network/gateways/gateway.ts";
import { noPlant, parsePlant } from "../src/network/plant.ts";
import { startProxy } from "../src/network/proxy.ts";
import { delayCheck } from "../src/results/gateways/delay.ts";
import type { Check, CheckVerdict } from "../src/results/gateways/types.ts";
import { checkAbort, checkCut, checkErrors, checkEvents, checkHeld, checkStall, type Ways } from "../src/runner/gateways/checks.ts";
import { type LevelPlan, runLevel, type Way } from "../src/runner/gateways/frontier.ts";
import { Truth } from "../src/runner/gateways/truth.ts";
import { startGateway } from "../src/runner/processes/gateway.ts";
import { describeEnvironment } from "../src/runner/processes/machine.ts";
import { type ServerChild, startServerChild } from "../src/runner/processes/target.ts";
import { root } from "./support/server.ts";
import { plantedFile, type PlantedResult, type PlantedRun } from "./pages/planted.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "10" },
    part: { type: "string", default: "all" },
    append: { type: "boolean", default: false },
  },
});
const runs = Number(values.runs);
/** What `--delay-bound` is by default, milliseconds. */
const delayBoundMs = 0.4;

const open: { close(): Promise<unknown> }[] = [];
const kept = <Thing extends { close(): Promise<unknown> }>(thing: Thing): Thing => {
  open.push(thing);
  return thing;
};
const closeAll = async (): Promise<void> => {
  await Promise.all(open.splice(0).map((one) => one.close()));
};

async function serverOf(stamps: boolean, plan: { ttft: number; itl: number }): Promise<ServerChild> {
  const more = { outputTokens: 10, maxConcurrentStreams: 256, seed: 1, cpu: null, stamps } as const;
  return kept(await startServerChild({ protocols: ["h1"], engine: "node", ...plan, ...more }));
}

/** The origin of a proxy before the server. `planted`: as `--plant` takes it; "": it adds nothing. */
async function proxyTo(server: ServerChild, planted: string, seed: number): Promise<string> {
  const idle = { latencyUs: 0, jitterUs: null, bandwidth: null, stall: null, cut: null, loss: 0 };
  const target = { host: "127.0.0.1", port: Number(new URL(server.origins.h1!).port) };
  const plant = planted === "" ? noPlant : parsePlant(planted, "plant");
  const proxy = kept(await startProxy({ target, impairment: { up: idle, down: idle }, seed, plant }));
  return `http://127.0.0.1:${proxy.port}`;
}

async function startedTo(server: ServerChild, proxy: "nginx" | "haproxy", buffering: boolean): Promise<string> {
  const upstreamHttp = buffering && proxy === "nginx" ? "1.0" : "1.1";
  const via = { proxy, buffering, upstreamHttp } as const;
  const upstream = server.origins.h1!;
  return kept(await startGateway({ via, upstream, protocols: ["h1"], maxConcurrentStreams: 256, cpu: null })).origins.h1!;
}

function endpointAt(server: ServerChild, origin: string): Endpoint {
  const headers = { "content-type": "application/json" };
  return { origin, protocol: "h1", path: "/v1/chat/completions", method: "POST", headers, tls: server.tls };
}

const found: PlantedRun[] = [];
function note(run: number, gateway: string, expected: CheckVerdict, { id, verdict, seen }: Check): void {
  found.push({ run, gateway, check: id, expected, verdict, seen, loadAverage: Math.round(loadavg()[0]! * 100) / 100 });
  console.error(`${run} ${gateway}, ${id}: ${verdict}${verdict === expected ? "" : ` (expected: ${expected})`}: ${seen}`);
}

/** Faults in what passes: told by bytes and counts, whatever else the machine does. */
async function checks(run: number): Promise<void> {
  const server = await serverOf(false, { ttft: 20, itl: 2 });
  const truth = new Truth(server);
  const direct = endpointAt(server, server.origins.h1!);
  const waysTo = (origin: string): Ways => ({ direct, through: endpointAt(server, origin), model: "m" });
  const planted = async (text: string): Promise<Ways> => waysTo(await proxyTo(server, text, run));
  const plain = await planted("");
  const name = "a plain proxy";
  for (const text of ["lose=1%", "repeat=1%", "reorder=1%"])
    note(run, text, "fault", (await checkEvents(truth, await planted(text))).checks[0]!);
  note(run, name, "kept", (await checkEvents(truth, plain)).checks[0]!);
  note(run, "buffer=4", "fault", await checkHeld(truth, await planted("buffer=4")));
  note(run, name, "kept", await checkHeld(truth, plain));
  for (const proxy of ["nginx", "haproxy"] as const) {
    if (gatewayProgram(proxies[proxy]) === null) continue;
    note(run, `${proxy} as it comes`, "fault", await checkHeld(truth, waysTo(await startedTo(server, proxy, true))));
    note(run, `${proxy} without buffering`, "kept", await checkHeld(truth, waysTo(await startedTo(server, proxy, false))));
  }
  note(run, "swallow-abort", "fault", await checkAbort(truth, await planted("swallow-abort")));
  note(run, name, "kept", await checkAbort(truth, plain));
  for (const check of await checkErrors(truth, plain)) note(run, name, "kept", check);
  note(run, name, "kept", await checkStall(truth, plain));
  note(run, name, "kept", await checkCut(truth, plain));
}

/** Half a millisecond: paired with direct runs, by the medians of rounds. */
async function delay(run: number): Promise<void> {
  const plan: LevelPlan = {
    ttftMs: 30,
    itlMs: 10,
    outputTokens: 10,
    runS: 0.35,
    rounds: 9,
    boundMs: 1000,
    seed: run,
    model: "fakeai",
    clock: clockIdentity,
  };
  const server = await serverOf(true, { ttft: plan.ttftMs, itl: plan.itlMs });
  const driver = kept(new LoaderDriver("stream"));
  const gateway = { usage: () => null, died: null };
  const way = (id: string, origin: string, isDirect: boolean): Way => ({
    id,
    endpoint: endpointAt(server, origin),
    gateway: isDirect ? null : gateway,
    server,
  });
  const ways = [
    way("a plain proxy", await proxyTo(server, "", 1), false),
    way("delay=0.5ms", await proxyTo(server, "delay=0.5ms", 1), false),
  ];
  const direct = way("direct", server.origins.h1!, true);
  const { levels } = await runLevel(direct, ways, 8, plan, { driver, signal: new AbortController().signal, progress: () => {} });
  for (const [index, { id }] of ways.entries()) {
    const check = delayCheck([levels.get(id)!], delayBoundMs);
    note(run, id, index === 0 ? "kept" : "changed", check ?? { id: "delay", verdict: "unknown", seen: "no run came to its end" });
  }
}

const startedAt = new Date().toISOString();
const environment = describeEnvironment(false, "fakeai serve");
const file = `${root}${plantedFile}`;
/** Runs that are there: those of the other part stay, and with --append all. It may write while this one runs. */
function before(): readonly PlantedRun[] {
  if (!existsSync(file)) return [];
  const { runs: there } = JSON.parse(readFileSync(file, "utf8")) as PlantedResult;
  return there.filter((one) => values.append || !isOfPart(one));
}
function isOfPart({ check }: PlantedRun): boolean {
  return values.part === "all" || (check === "delay") === (values.part === "delay");
}
const first = Math.max(
  0,
  ...before()
    .filter(isOfPart)
    .map(({ run }) => run),
);
for (let run = first + 1; run <= first + runs; run++) {
  if (values.part !== "delay") await checks(run);
  await closeAll();
  if (values.part !== "checks") await delay(run);
  await closeAll();
}
const missed = found.filter(({ verdict, expected }) => verdict !== expected);
const { cpu, cores, node } = environment;
const result: PlantedResult = { startedAt, environment: `${cores} cores, ${cpu}, Node ${node}`, runs: [...before(), ...found] };
writeFileSync(file, `${JSON.stringify(result, null, 1)}\n`);
console.log(`${found.length - missed.length} of ${found.length} as expected`);
if (missed.length > 0) process.exitCode = 1;
