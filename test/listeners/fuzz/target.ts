/** The built server under search, in a process of its own, and what the system tells of that process. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { cpuMsOf } from "./cpu.ts";
import type { Protocol } from "../../../src/index.ts";

const cliPath = fileURLToPath(new URL("../../../dist/cli.js", import.meta.url));

/** A protocol on an engine. */
export interface EngineName {
  readonly name: string;
  readonly protocol: Protocol;
  /** Of the protocol, and of h1, where /health is asked for. */
  readonly flags: readonly string[];
  readonly needsUws: boolean;
}

const onUws = { flags: ["--h1-engine", "uws"], needsUws: true };
const onNode = { flags: ["--h1-engine", "node"], needsUws: false };
const onOwn = { flags: ["--h1-engine", "node", "--h2-engine", "own"], needsUws: false };

export const engineNames: readonly EngineName[] = [
  { name: "h1-uws", protocol: "h1", ...onUws },
  { name: "h1-node", protocol: "h1", ...onNode },
  { name: "h1s-uws", protocol: "h1s", ...onUws },
  { name: "h1s-node", protocol: "h1s", ...onNode },
  { name: "h2c", protocol: "h2c", ...onNode },
  { name: "h2", protocol: "h2", ...onNode },
  { name: "h2c-own", protocol: "h2c", ...onOwn },
  { name: "h2-own", protocol: "h2", ...onOwn },
  { name: "ws-uws", protocol: "ws", ...onUws },
  { name: "ws-node", protocol: "ws", ...onNode },
];

/** Servers that run. They end with this process at the latest. */
const children = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

for (const [signal, status] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  process.once(signal, () => process.exit(status));

const startTimeoutMs = 20_000;

export class Target {
  readonly origin: string;
  /** Where /health and /metrics are asked for: h1, beside the protocol under search. */
  readonly healthOrigin: string;
  readonly #child: ChildProcess;
  readonly #stderr: () => string;
  /** Set when the process has ended. */
  died: string | null = null;

  private constructor(child: ChildProcess, urls: Readonly<Record<string, string>>, protocol: Protocol, stderr: () => string) {
    this.#child = child;
    this.#stderr = stderr;
    this.origin = urls[protocol]!;
    this.healthOrigin = urls["h1"]!;
    child.once("exit", (code, signal) => {
      children.delete(child);
      const said = stderr().trim().split("\n").at(-1)!;
      this.died = `exit ${code ?? signal}${said === "" ? "" : `: ${said}`}`;
    });
  }

  static async start({ protocol, flags }: EngineName, preload: string | null): Promise<Target> {
    // A WebSocket is on the port of h1.
    const protocols = protocol === "h1" ? "h1:0" : `h1:0,${protocol}${protocol === "ws" ? "" : ":0"}`;
    const args = [
      ...(preload === null ? [] : ["--import", preload]),
      cliPath,
      "serve",
      "--json",
      "--protocol",
      protocols,
      ...flags,
      "--admin",
    ];
    const environment = Object.entries(process.env).filter(([name]) => !name.startsWith("FAKEAI_"));
    const child = spawn(process.execPath, args, { env: Object.fromEntries(environment), stdio: ["ignore", "pipe", "pipe"] });
    children.add(child);
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-20_000);
    });
    const line = await new Promise<string>((resolve, reject) => {
      let text = "";
      child.stdout.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes("\n")) resolve(text);
      });
      child.once("exit", (code) => reject(new Error(`the server did not start: exit ${code}: ${stderr}`)));
      setTimeout(() => reject(new Error(`the server did not start in ${startTimeoutMs} ms`)), startTimeoutMs).unref();
    });
    const { listening } = JSON.parse(line) as { listening: { protocol: string; url: string }[] };
    return new Target(child, Object.fromEntries(listening.map(({ protocol: spoken, url }) => [spoken, url])), protocol, () => stderr);
  }

  /** What it has said of faults of its own since it was started, the last lines of it. */
  get complaints(): string {
    return this.#stderr();
  }

  /** What is resident now, and the most since `forgetPeak`. */
  memory(): { readonly rssBytes: number; readonly peakBytes: number } {
    const status = this.#told("status");
    // A process that has just ended holds nothing.
    const bytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
    return { rssBytes: bytes("VmRSS"), peakBytes: bytes("VmHWM") };
  }

  /** The peak is counted from here on (proc(5), clear_refs: 5). */
  forgetPeak(): void {
    if (existsSync(`/proc/${this.#child.pid}`)) writeFileSync(`/proc/${this.#child.pid}/clear_refs`, "5");
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** CPU time of the thread that serves, ms: no stall of ours is longer than what it used meanwhile. */
  cpuMs(): number {
    return cpuMsOf(this.pid);
  }

  /** A file of the process; empty when it has ended. */
  #told(file: string): string {
    const path = `/proc/${this.#child.pid}/${file}`;
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }

  async stop(): Promise<void> {
    if (this.died !== null) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await ended;
  }
}
