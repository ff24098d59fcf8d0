/** The network between client and server: `fakeai proxy` as a process of its own, so that it takes no time from either. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { UsageError } from "../../base/usage-error.ts";
import { SpecError } from "../../core/random/distribution.ts";
import { boundToUs } from "../../base/children.ts";
import { networkFlagName } from "../../settings/network.ts";
import { type NetworkInput, parseNetwork } from "../../network/impairment.ts";
import type { ProxyStats } from "../../network/proxy.ts";
import type { UdpProxyStats } from "../../network/udp-proxy.ts";
import { endWithParent } from "../../base/parent-channel.ts";
import { RunError } from "./target.ts";

/** Throws UsageError for a network that cannot be. */
export function checkNetwork(network: NetworkInput, name: (key: string, direction: "up" | "down" | null) => string): void {
  try {
    parseNetwork(network, name);
  } catch (error) {
    if (error instanceof SpecError) throw new UsageError(error.message);
    throw error;
  }
}

/** What a proxy did, and its CPU time. */
export type NetworkStats = (ProxyStats | UdpProxyStats) & { readonly cpuUs: number };

/** A proxy that runs. */
export interface NetworkChild {
  /** What to talk to in place of the origin behind it. */
  readonly origin: string;
  /** Ends it; resolves with what it did, or null where it did not say. */
  close(): Promise<NetworkStats | null>;
}

const cliPath = fileURLToPath(
  import.meta.url.endsWith(".ts") ? new URL("../../../dist/cli.js", import.meta.url) : new URL("../../cli.js", import.meta.url),
);

const startTimeoutMs = 15_000;

/** The settings as flags of `fakeai proxy`. */
export function networkArguments({ up, down, ...both }: NetworkInput): string[] {
  const flagsOf = (input: object, way: "up" | "down" | null): string[] =>
    Object.entries(input).flatMap(([key, value]) => [networkFlagName(key, way), String(value)]);
  return [...flagsOf(both, null), ...flagsOf(up ?? {}, "up"), ...flagsOf(down ?? {}, "down")];
}

/** The settings that mean something to a transport: a lossy path stalls segments of TCP, and loses datagrams of UDP. */
function settingsFor(transport: "tcp" | "udp", network: NetworkInput): NetworkInput {
  const other = transport === "udp" ? "stall" : "loss";
  const without = <Input extends object>(input: Input): Input =>
    Object.fromEntries(Object.entries(input).filter(([key]) => key !== other)) as Input;
  const { up, down } = network;
  return { ...without(network), ...(up === undefined ? {} : { up: without(up) }), ...(down === undefined ? {} : { down: without(down) }) };
}

/** Starts a proxy in front of `origin`. Throws RunError. */
export async function startNetwork(origin: string, network: NetworkInput, seed: number, transport: "tcp" | "udp"): Promise<NetworkChild> {
  const url = new URL(origin);
  const settings = networkArguments(settingsFor(transport, network));
  const base = [cliPath, "proxy", "--json", "--listen", "0", "--to", origin, "--seed", String(seed)];
  const flags = [...base, ...(transport === "udp" ? ["--udp"] : []), ...settings];
  // It gets no SIGINT of its own from the terminal.
  const child = boundToUs(
    spawn(process.execPath, flags, { stdio: ["ignore", "pipe", "pipe", "ipc"], detached: true, env: { ...process.env, ...endWithParent } }),
  );
  let out = "";
  let complaint = "";
  let onLine: () => void = () => {};
  child.stdout!.on("data", (chunk: Buffer) => {
    out += chunk.toString();
    if (out.includes("\n")) onLine();
  });
  child.stderr!.on("data", (chunk: Buffer) => (complaint = `${complaint}${chunk.toString()}`.slice(-2000)));
  const ended = new Promise<void>((resolve) => {
    child.on("error", () => resolve());
    child.on("close", () => resolve());
  });
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([
    ended,
    new Promise<void>((resolve) => (onLine = resolve)),
    new Promise<void>((resolve) => (timer = setTimeout(resolve, startTimeoutMs))),
  ]);
  clearTimeout(timer);
  if (!out.includes("\n")) {
    child.kill("SIGKILL");
    throw new RunError(`the network's proxy did not start: ${complaint.trim().split("\n")[0] || "no answer"}`);
  }
  const { port } = JSON.parse(out.split("\n")[0]!) as { port: number };
  return {
    // The name stays: certificates are checked against it.
    origin: `${url.protocol}//${url.hostname === "localhost" ? "localhost" : "127.0.0.1"}:${port}`,
    async close() {
      child.kill("SIGTERM");
      const hard = setTimeout(() => child.kill("SIGKILL"), 1000);
      await ended;
      clearTimeout(hard);
      const last = out.split("\n")[1];
      return last === undefined || last === "" ? null : (JSON.parse(last) as NetworkStats);
    },
  };
}
