/** A gateway of the catalogue in front of our server, started from the configuration that we print, and ended again. */
import { protocolTraits } from "../../results/protocols.ts";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bareHost } from "../../base/host.ts";
import { localhostCertificate } from "../../base/certificate.ts";
import { guardGroup } from "../../base/children.ts";
import type { TlsChoice } from "../../load/job.ts";
import { statOf } from "../../base/proc.ts";
import { gateways } from "../../network/gateways/catalogue.ts";
import { type ClientSide, type Gateway, gatewayProgram, type GatewaySettings, type UpstreamHttp } from "../../network/gateways/gateway.ts";
import type { ProtocolName } from "../../results/types.ts";
import { type ProcessUsage, usageOf } from "./machine.ts";
import { pinnedCipher, RunError } from "./target.ts";

/** What stands between client and server. */
export interface ViaSpec {
  /** A name of `gateways`. */
  readonly proxy: string;
  /** Whether answers are gathered before they are passed on; default false. */
  readonly buffering?: boolean;
  /** What it asks the server in; default 1.1. */
  readonly upstreamHttp?: UpstreamHttp;
  /** Its program, where that is not to be looked for. */
  readonly program?: string;
}

/** A proxy with its settings, for people. */
export function describeVia({ proxy, buffering = false, upstreamHttp = "1.1" }: ViaSpec): string {
  return `${proxy} (HTTP/${upstreamHttp} to the server, buffering ${buffering ? "on" : "off"})`;
}

/** A proxy that runs. */
export interface GatewayChild {
  readonly origins: Readonly<Partial<Record<ProtocolName, string>>>;
  readonly tls: TlsChoice;
  /** What its clients have to send beside their own headers. */
  readonly headers: Readonly<Record<string, string>>;
  /** The configuration file that it runs with; empty: it takes arguments alone. */
  readonly config: string;
  /** null: it does not say. */
  readonly version: string | null;
  /** CPU time and memory of all its processes. */
  usage(): ProcessUsage | null;
  /** Why it no longer runs; null while it does. */
  readonly died: string | null;
  close(): Promise<void>;
}

export interface GatewayNeeds {
  readonly via: ViaSpec;
  /** Origin of the server behind, in cleartext. */
  readonly upstream: string;
  readonly protocols: readonly ProtocolName[];
  readonly maxConcurrentStreams: number;
  readonly cpu: number | null;
}

/** Process groups that still run: none outlives this process, and a master that is killed would leave its workers behind. */
const groups = new Set<number>();
process.on("exit", () => {
  for (const group of groups) killGroup(group);
});

function killGroup(group: number): void {
  try {
    process.kill(-group, "SIGKILL");
  } catch {
    // It has ended.
  }
}

const startTimeoutMs = 5000;
const attempts = 3;

/** The kind of gateway that is asked for, and its program. Throws RunError, with how to get it where it is missing. */
function findGateway({ via, protocols }: Pick<GatewayNeeds, "via" | "protocols">): { gateway: Gateway; program: string } {
  const { proxy: name, buffering = false, upstreamHttp = "1.1" } = via;
  const gateway = Object.hasOwn(gateways, name) ? gateways[name] : undefined;
  if (gateway === undefined) throw new RunError(`"${name}" is no gateway that we can start (${Object.keys(gateways).join(", ")})`);
  const program = via.program ?? gatewayProgram(gateway);
  if (program === null) throw new RunError(`${name} is not installed (${gateway.install})`);
  const unknown = protocols.filter((protocol) => !gateway.clients.includes(sideOf(protocol)));
  if (unknown.length > 0) throw new RunError(`${name} does not speak ${unknown.join(", ")} to clients`);
  if (!gateway.upstreams.includes(upstreamHttp)) throw new RunError(`${name} does not ask a server in HTTP/${upstreamHttp}`);
  if (buffering && !gateway.canBuffer) throw new RunError(`${name} has no configuration that gathers answers`);
  return { gateway, program };
}

function sideOf(protocol: ProtocolName): ClientSide {
  return protocolTraits[protocol].isEncrypted ? "tls" : (protocol as "h1" | "h2c");
}

/** Starts a gateway. Throws RunError, with how to get it where it is missing. */
export async function startGateway(needs: GatewayNeeds): Promise<GatewayChild> {
  const { via, upstream, protocols, maxConcurrentStreams, cpu } = needs;
  const { gateway, program } = findGateway(needs);
  const encrypted = protocols.some((protocol) => protocolTraits[protocol].isEncrypted);
  const certificate = encrypted ? await localhostCertificate() : null;
  if (certificate?.files === null) throw new RunError(`${via.proxy} reads its certificate from a file, and none can be written`);
  const url = new URL(upstream);
  // What it gives up its rights for has to find its way in too.
  const directory = mkdtempSync(join(tmpdir(), `fakeai-${via.proxy}-`));
  chmodSync(directory, 0o755);
  const configPath = join(directory, gateway.fileName);
  for (let attempt = 1; ; attempt++) {
    const ports = {
      ...(protocols.includes("h1") ? { h1: await freePort() } : {}),
      ...(protocols.includes("h2c") ? { h2c: await freePort() } : {}),
      ...(encrypted ? { tls: await freePort() } : {}),
    };
    const settings: GatewaySettings = {
      upstream: { host: bareHost(url.hostname), port: Number(url.port || 80) },
      host: "127.0.0.1",
      ports,
      certificate: certificate?.files ?? null,
      buffering: via.buffering ?? false,
      upstreamHttp: via.upstreamHttp ?? "1.1",
      maxConcurrentStreams,
      directory,
    };
    const config = gateway.config(settings);
    writeFileSync(configPath, config);
    for (const [name, text] of Object.entries(gateway.files?.(settings) ?? {})) writeFileSync(join(directory, name), text, { mode: 0o600 });
    const args = gateway.args(configPath, settings);
    const [command, all] = cpu === null ? [program, args] : ["taskset", ["-c", String(cpu), program, ...args]];
    const env = { ...process.env, ...gateway.env?.(settings) };
    const child = spawn(command, all, { stdio: ["ignore", "ignore", "pipe"], detached: true, env, cwd: directory });
    if (child.pid !== undefined) groups.add(child.pid);
    const release = child.pid === undefined ? () => {} : guardGroup(child.pid, directory);
    const run = watch(child);
    const failure = await ready(Object.values(ports), run, gateway);
    if (failure === null) {
      return {
        origins: {
          ...(ports.h1 === undefined ? {} : { h1: `http://127.0.0.1:${ports.h1}` }),
          ...(ports.h2c === undefined ? {} : { h2c: `http://127.0.0.1:${ports.h2c}` }),
          ...(ports.tls === undefined ? {} : { h1s: `https://127.0.0.1:${ports.tls}`, h2: `https://127.0.0.1:${ports.tls}` }),
        },
        tls: { ca: certificate?.cert ?? null, insecure: false, cipher: pinnedCipher },
        headers: gateway.headers?.(settings) ?? {},
        // Its own folder is gone when it is read.
        config: config.replaceAll(directory, "DIR"),
        version: gateway.version(program),
        usage: () => usageOfTree(child.pid!),
        get died() {
          return run.died;
        },
        async close() {
          await end(child, run);
          release();
          rmSync(directory, { recursive: true, force: true });
        },
      };
    }
    await end(child, run);
    release();
    // The port may have been taken meanwhile.
    if (attempt === attempts) {
      rmSync(directory, { recursive: true, force: true });
      throw new RunError(`${via.proxy} did not start: ${failure}`);
    }
  }
}

interface Run {
  died: string | null;
  complaint: string;
  readonly ended: Promise<void>;
}

function watch(child: ChildProcess): Run {
  let settle: () => void = () => {};
  const run: Run = { died: null, complaint: "", ended: new Promise((resolve) => (settle = resolve)) };
  child.stderr!.on("data", (chunk: Buffer) => (run.complaint = `${run.complaint}${chunk.toString()}`.slice(-2000)));
  child.on("error", (error) => {
    run.died = error.message;
    settle();
  });
  child.on("exit", (code, signal) => {
    run.died = `the proxy ended (${signal ?? `exit ${code}`})`;
    settle();
  });
  return run;
}

/** Resolves with null once every port is open and it serves, else with why not. */
async function ready(
  ports: readonly number[],
  run: Run,
  { ready: path, startTimeoutMs: limitMs = startTimeoutMs }: Gateway,
): Promise<string | null> {
  const deadline = performance.now() + limitMs;
  const isServing = async (port: number): Promise<boolean> => {
    if (!(await opens(port))) return false;
    return path === undefined || (await fetch(`http://127.0.0.1:${port}${path}`).catch(() => null))?.status === 200;
  };
  for (const port of ports) {
    while (!(await isServing(port))) {
      if (run.died !== null) return gravestOf(run.complaint) || run.died;
      if (performance.now() > deadline) return `nothing listens within ${limitMs / 1000} s`;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  return run.died;
}

/** The line that says why a program ended, as far as it can be told: the first that is marked as an error, else the first. */
function gravestOf(complaint: string): string {
  const lines = complaint.trim().split("\n");
  return (lines.find((line) => /\[?(?:emerg|alert|crit|fatal)|error/i.test(line)) ?? lines[0]!).trim();
}

function opens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    const settle = (isOpen: boolean): void => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function end(child: ChildProcess, run: Run): Promise<void> {
  child.kill("SIGTERM");
  const hard = setTimeout(() => child.pid !== undefined && killGroup(child.pid), 1000);
  await run.ended;
  clearTimeout(hard);
  if (child.pid !== undefined) groups.delete(child.pid);
}

/** A process and all that descend from it, which do the work. */
function usageOfTree(root: number): ProcessUsage | null {
  const parents = new Map<number, number>();
  try {
    for (const name of readdirSync("/proc")) if (/^\d+$/.test(name)) parents.set(Number(name), Number(statOf(name)?.[1] ?? 0));
  } catch {
    return null;
  }
  const isOurs = (pid: number, depth = 0): boolean =>
    pid === root || (depth < 16 && parents.has(pid) && isOurs(parents.get(pid)!, depth + 1));
  let [cpuUs, rssBytes] = [0, 0];
  for (const pid of parents.keys()) {
    if (!isOurs(pid)) continue;
    const usage = usageOf(pid);
    // One that has just ended has used what it used, and its parent's count has it.
    if (usage === null && pid === root) return null;
    cpuUs += usage?.cpuUs ?? 0;
    rssBytes += usage?.rssBytes ?? 0;
  }
  return { cpuUs, rssBytes };
}
