/** A server in a process of its own, which tells what it holds. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Protocol, ServerOptions } from "../../../src/index.ts";
import { eventually, sleep } from "../../support/wait.ts";
import type { Holdings } from "./server.ts";

const here = fileURLToPath(new URL(".", import.meta.url));

export class Attacked {
  readonly urls: Readonly<Partial<Record<Protocol, string>>>;
  readonly caPath: string | null;
  readonly #child: ChildProcess;
  /** Set when the process has ended. */
  died: string | null = null;

  private constructor(child: ChildProcess, { urls, caPath }: Pick<Attacked, "urls" | "caPath">) {
    this.#child = child;
    this.urls = urls;
    this.caPath = caPath;
    child.on("exit", (code, signal) => {
      this.died = `exit ${code ?? signal}`;
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  static async start(options: ServerOptions): Promise<Attacked> {
    const child = fork(`${here}server.ts`, [], {
      execArgv: ["--expose-gc", "--import", "tsx"],
      env: { ...process.env, ATTACKED_OPTIONS: JSON.stringify(options) },
    });
    const first = await new Promise<Pick<Attacked, "urls" | "caPath">>((resolve, reject) => {
      child.once("message", (message) => resolve(message as Pick<Attacked, "urls" | "caPath">));
      child.once("exit", (code) => reject(new Error(`the server did not start: exit ${code}`)));
    });
    return new Attacked(child, first);
  }

  ask(what: "look" | "collect"): Promise<Holdings> {
    return new Promise((resolve, reject) => {
      if (this.died !== null) reject(new Error(`the server died: ${this.died}`));
      const onExit = (): void => reject(new Error("the server died"));
      this.#child.once("exit", onExit);
      this.#child.once("message", (message) => {
        this.#child.off("exit", onExit);
        resolve(message as Holdings);
      });
      this.#child.send(what);
    });
  }

  /** Waits until nothing of the attack is left, then collects garbage and returns the least that was held. */
  async settle(): Promise<Holdings> {
    await eventually(async () => isIdle(await this.ask("look")), "the server holds nothing", 10_000).catch(async (error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(await this.ask("look"))}`);
    });
    let least = await this.ask("collect");
    for (let round = 0; round < 4; round++) {
      await sleep(20);
      const again = await this.ask("collect");
      least = {
        ...again,
        heapBytes: Math.min(again.heapBytes, least.heapBytes),
        rssBytes: Math.min(again.rssBytes, least.rssBytes),
      };
    }
    return least;
  }

  async metrics(): Promise<Map<string, number>> {
    const body = await (await fetch(`${this.urls.h1}/metrics`, { headers: { connection: "close" } })).text();
    const sums = new Map<string, number>();
    for (const [, name, labels, value] of body.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)) {
      const bound = /bound="([^"]+)"/.exec(labels ?? "")?.[1];
      const key = bound === undefined ? name! : `${name}:${bound}`;
      sums.set(key, (sums.get(key) ?? 0) + Number(value));
    }
    return sums;
  }

  async stop(): Promise<void> {
    if (this.died !== null) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.send("stop");
    await ended;
  }
}

function isIdle({ stats, resources }: Holdings): boolean {
  return (
    stats.running + stats.openConnections + stats.openSessions + stats.openStreams === 0 &&
    (resources["TCPSocketWrap"] ?? 0) === 0 &&
    (resources["Timeout"] ?? 0) === 0
  );
}
