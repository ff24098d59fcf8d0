/** A proxy that ends HTTP/2 in front of our server, started for a scenario from the configuration that we print. */
import { protocolTraits } from "../../results/protocols.ts";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bareHost } from "../../base/host.ts";
import { localhostCertificate } from "../../base/certificate.ts";
import { guardGroup } from "../../base/children.ts";
import type { TlsChoice } from "../../load/job.ts";
import { gatewayProgram, gateways } from "../../network/gateways.ts";
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
  readonly upstreamHttp?: "1.0" | "1.1";
}

/** A proxy with its settings, for people. */
export function describeVia({ proxy, buffering = false, upstreamHttp = "1.1" }: ViaSpec): string {
  return `${proxy} (HTTP/${upstreamHttp} to the server, buffering ${buffering ? "on" : "off"})`;
}

/** A proxy that runs. */
export interface GatewayChild {
  readonly origins: Readonly<Partial<Record<ProtocolName, string>>>;
  readonly tls: TlsChoice;
  /** CPU time and memory of all its processes. */
  usage(): ProcessUsage | null;
  /** Why it no longer runs; null while it does. */
  readonly died: string | null;
  close(): Promise<void>;
}

export interface GatewayNeeds {
  readonly via: ViaSpec;
  /** Origin of the HTTP/1.1 server behind. */
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

/** Starts a proxy. Throws RunError, with how to get it where it is missing. */
export async function startGateway(needs: GatewayNeeds): Promise<GatewayChild> {
  const { via, upstream, protocols, maxConcurrentStreams, cpu } = needs;
  const gateway = gateways[via.proxy];
  if (gateway === undefined) throw new RunError(`"${via.proxy}" is no proxy that we can start (${Object.keys(gateways).join(", ")})`);
  const program = gatewayProgram(gateway);
  if (program === null) throw new RunError(`${via.proxy} is not installed (${gateway.install})`);
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
    writeFileSync(
      configPath,
      gateway.config({
        upstream: { host: bareHost(url.hostname), port: Number(url.port || 80) },
        host: "127.0.0.1",
        ports,
        certificate: certificate?.files ?? null,
        buffering: via.buffering ?? false,
        upstreamHttp: via.upstreamHttp ?? "1.1",
        maxConcurrentStreams,
        directory,
      }),
    );
    const args = gateway.args(configPath, directory);
    const [command, all] = cpu === null ? [program, args] : ["taskset", ["-c", String(cpu), program, ...args]];
    const child = spawn(command, all, { stdio: ["ignore", "ignore", "pipe"], detached: true });
    if (child.pid !== undefined) groups.add(child.pid);
    const release = child.pid === undefined ? () => {} : guardGroup(child.pid, directory);
    const run = watch(child);
    const failure = await ready(Object.values(ports), run);
    if (failure === null) {
      return {
        origins: {
          ...(ports.h1 === undefined ? {} : { h1: `http://127.0.0.1:${ports.h1}` }),
          ...(ports.h2c === undefined ? {} : { h2c: `http://127.0.0.1:${ports.h2c}` }),
          ...(ports.tls === undefined ? {} : { h1s: `https://127.0.0.1:${ports.tls}`, h2: `https://127.0.0.1:${ports.tls}` }),
        },
        tls: { ca: certificate?.cert ?? null, insecure: false, cipher: pinnedCipher },
        usage: () => usageOfGroup(child.pid!),
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

/** Resolves with null once every port is open, else with why not. */
async function ready(ports: readonly number[], run: Run): Promise<string | null> {
  const deadline = performance.now() + startTimeoutMs;
  for (const port of ports) {
    while (!(await opens(port))) {
      if (run.died !== null) return run.complaint.trim().split("\n")[0] || run.died;
      if (performance.now() > deadline) return `nobody listens within ${startTimeoutMs / 1000} s`;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  return run.died;
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

/** A process and its children, which do the work. */
function usageOfGroup(pid: number): ProcessUsage | null {
  let children: string;
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1");
  } catch {
    return null;
  }
  const all = [pid, ...children.trim().split(/\s+/).filter(Boolean).map(Number)].map(usageOf);
  let [cpuUs, rssBytes] = [0, 0];
  for (const usage of all) {
    if (usage === null) return null;
    cpuUs += usage.cpuUs;
    rssBytes += usage.rssBytes;
  }
  return { cpuUs, rssBytes };
}
