/** Drivers whose load comes from a loader process, kept between runs: our own generator, and autocannon. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { monotonicUs } from "../../base/clock.ts";
import { boundToUs } from "../../base/children.ts";
import type { LoadDriver, LoadJob, LoadReport, RunOptions } from "../job.ts";
import { autocannonSupports, jobFault } from "../limits.ts";
import type { FromLoader, ToLoader } from "../loader.ts";

/** The loader's file: the built one also where this module runs from source. */
function loaderPath(): string {
  const beside = fileURLToPath(new URL("../loader.js", import.meta.url));
  if (existsSync(beside)) return beside;
  const built = fileURLToPath(new URL("../../../dist/load/loader.js", import.meta.url));
  if (!existsSync(built)) throw new Error("the loader is not built: npm run build");
  return built;
}

/** A loader that was asked to stop is killed where it has not reported by then. */
const abortGraceMs = 1000;

let taskset: boolean | null = null;
/** Whether processes can be pinned to a core here. */
function hasTaskset(): boolean {
  return (taskset ??= spawnSync("taskset", ["--version"], { timeout: 5000, killSignal: "SIGKILL" }).status === 0);
}

/** Pins a command to a core, where the system can. */
export function pinned(command: readonly string[], cpu: number | null): readonly string[] {
  return cpu !== null && hasTaskset() ? ["taskset", "-c", String(cpu), ...command] : command;
}

export class LoaderDriver implements LoadDriver {
  readonly name: "stream" | "autocannon";
  #child: ChildProcess | null = null;
  #cpu: number | null = null;
  #running = false;

  constructor(name: "stream" | "autocannon") {
    this.name = name;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  supports(job: LoadJob): true | string {
    return this.name === "autocannon" ? autocannonSupports(job) : (jobFault(job) ?? true);
  }

  async run(job: LoadJob, { signal, cpu, onPhase, meet, onProgress }: RunOptions): Promise<LoadReport> {
    const fault = this.supports(job);
    if (fault !== true) throw new Error(fault);
    if (this.#running) throw new Error("a driver runs one job at a time");
    this.#running = true;
    const child = this.#childOn(cpu);
    const tell = (message: ToLoader): void => {
      child.send(message);
    };
    let giveUp: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      tell({ kind: "abort" });
      giveUp = setTimeout(() => child.kill("SIGKILL"), abortGraceMs);
    };
    try {
      return await new Promise<LoadReport>((resolve, reject) => {
        const settle = (action: () => void): void => {
          clearTimeout(giveUp);
          child.off("message", onMessage);
          child.off("exit", onExit);
          signal.removeEventListener("abort", onAbort);
          action();
        };
        const onMessage = (message: FromLoader): void => {
          if (message.kind === "phase" && message.phase === "begin" && meet !== undefined) void begin(meet);
          else if (message.kind === "phase") {
            if (message.phase === "end") beginOnce();
            onPhase(message.phase);
            tell({ kind: "go" });
          } else if (message.kind === "progress") onProgress(message.done);
          else if (message.kind === "report") settle(() => resolve(message.report));
          else settle(() => reject(new Error(`the loader failed: ${message.message}`)));
        };
        let hasBegun = meet === undefined;
        // A load without a connection ends before our timer for its begin.
        const beginOnce = (): void => {
          if (hasBegun) return;
          hasBegun = true;
          onPhase("begin");
        };
        /** The load begins when all have met; where they do not, it never does. */
        const begin = async (met: () => Promise<number>): Promise<void> => {
          try {
            const atUs = await met();
            tell({ kind: "go", atUs });
            await sleep(Math.max(0, (atUs - monotonicUs()) / 1000), undefined, { signal }).catch(() => {});
            beginOnce();
          } catch (error) {
            child.kill("SIGKILL");
            this.#child = null;
            settle(() => reject(error));
          }
        };
        const onExit = (code: number | null, exitSignal: string | null): void => {
          this.#child = null;
          settle(() => reject(new Error(`the loader process ended (${exitSignal ?? `exit code ${code}`})`)));
        };
        child.on("message", onMessage);
        child.on("exit", onExit);
        signal.addEventListener("abort", onAbort);
        tell({ kind: "job", driver: this.name, job });
        if (signal.aborted) onAbort();
      });
    } finally {
      this.#running = false;
    }
  }

  async close(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  #childOn(cpu: number | null): ChildProcess {
    if (this.#child !== null && this.#child.connected && this.#cpu === cpu) return this.#child;
    this.#child?.kill("SIGKILL");
    const command = pinned([process.execPath, "--max-semi-space-size=64", loaderPath()], cpu);
    const child = boundToUs(
      spawn(command[0]!, command.slice(1), { stdio: ["ignore", "ignore", "inherit", "ipc"], serialization: "advanced" }),
    );
    // A loader that is idle between runs must not keep its parent alive.
    child.on("error", () => {});
    this.#child = child;
    this.#cpu = cpu;
    return child;
  }
}
