/** A server in a process of its own, attackers in another, and between them bystanders that must not notice. */
import { type ChildProcess, type ChildProcessByStdio, fork, spawn, spawnSync } from "node:child_process";
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { connect } from "node:http2";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Protocol, ServerOptions } from "../../src/index.ts";
import { chat, chunksOf, eventually, sleep } from "../targets.ts";
import type { Holdings } from "./server.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = "/usr/bin/python3";

/** Why the attacks cannot run here; null where they can. */
export const missing: string | null =
  spawnSync(python, ["-c", "import h2, hpack, hyperframe"]).status === 0
    ? null
    : "Debian's python3-h2, python3-hpack and python3-hyperframe are not installed";

export class Attacked {
  readonly urls: Readonly<Partial<Record<Protocol, string>>>;
  readonly #child: ChildProcess;
  /** Set when the process has ended. */
  died: string | null = null;

  private constructor(child: ChildProcess, urls: Attacked["urls"]) {
    this.#child = child;
    this.urls = urls;
    child.on("exit", (code, signal) => {
      this.died = `exit ${code ?? signal}`;
    });
  }

  static async start(options: ServerOptions): Promise<Attacked> {
    const child = fork(`${here}server.ts`, [], {
      execArgv: ["--expose-gc", "--import", "tsx"],
      env: { ...process.env, ATTACKED_OPTIONS: JSON.stringify(options) },
    });
    const first = await new Promise<{ urls: Attacked["urls"] }>((resolve, reject) => {
      child.once("message", (message) => resolve(message as { urls: Attacked["urls"] }));
      child.once("exit", (code) => reject(new Error(`the server did not start: exit ${code}`)));
    });
    return new Attacked(child, first.urls);
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
    const body = await ask(`${this.urls.h1}/metrics`, new HttpAgent());
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

export type Observed = Readonly<Record<string, unknown>>;

/** The process that attacks. */
export class Attackers {
  readonly #child: ChildProcessByStdio<Writable, Readable, null> = spawn(python, [`${here}drive.py`], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  readonly #waiting = new Map<number, { resolve: (observed: Observed) => void; reject: (error: Error) => void }>();
  #next = 0;

  constructor() {
    let buffer = "";
    this.#child.stdout.on("data", (chunk: Buffer) => {
      const lines = (buffer + chunk.toString()).split("\n");
      buffer = lines.pop()!;
      for (const line of lines) {
        const { id, observed, error } = JSON.parse(line) as { id: number; observed?: Observed; error?: string };
        const waiting = this.#waiting.get(id)!;
        this.#waiting.delete(id);
        if (observed) waiting.resolve(observed);
        else waiting.reject(new Error(error));
      }
    });
  }

  /** Runs one attack; `patience` is how long, in seconds, a slow one waits for the server to lose its own. */
  run(attack: string, origin: string, isH2: boolean, patience?: number): Promise<Observed> {
    const id = this.#next++;
    const { port, protocol } = new URL(origin);
    const command = {
      id,
      attack,
      port: Number(port),
      tls: protocol === "https:",
      h2: isH2,
      ...(patience === undefined ? {} : { patience }),
    };
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    });
  }

  stop(): void {
    this.#child.kill();
  }
}

/** One request over HTTP/1.1, and its whole body. */
function ask(url: string, agent: HttpAgent, body?: object, headers: Readonly<Record<string, string>> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = url.startsWith("https:") ? httpsRequest : httpRequest;
    request(url, { agent, method: body ? "POST" : "GET", headers, rejectUnauthorized: false }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve(text));
      response.on("error", reject);
    })
      .on("error", reject)
      .end(body && JSON.stringify(body));
  });
}

/** Streams on one HTTP/2 connection. */
function h2Client(origin: string): { stream(headers: Readonly<Record<string, string>>): Promise<string>; close(): void } {
  const session = connect(origin, { rejectUnauthorized: false });
  session.on("error", () => {});
  return {
    stream: (headers) =>
      new Promise((resolve) => {
        const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions", ...headers });
        let text = "";
        stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
        stream.on("error", (error) => resolve(`${error.message} after ${text.slice(-100)}`));
        stream.on("close", () => resolve(text));
        stream.end(JSON.stringify(chat({ stream: true })));
      }),
    close: () => session.destroy(),
  };
}

/** What bystanders saw. */
export interface Seen {
  /** How long each /health took, sorted. */
  readonly healthMs: readonly number[];
  readonly streams: number;
  /** What was wrong with a stream. */
  readonly faults: readonly string[];
}

/** Ask for /health on `healthOrigin` all the time, and read paced streams of `origin`, on connections of their own, until stopped. */
export function bystanders(healthOrigin: string, origin: string, isH2: boolean): { stop(): Promise<Seen> } {
  const state = { going: true };
  const healthMs: number[] = [];
  const faults: string[] = [];
  let streams = 0;
  const agent = new HttpAgent({ keepAlive: true });
  const streamAgent = origin.startsWith("https:") ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  const h2 = isH2 ? h2Client(origin) : null;
  const probe = async (): Promise<void> => {
    while (state.going) {
      const startMs = performance.now();
      await ask(`${healthOrigin}/health`, agent).catch((error: Error) => faults.push(`/health: ${error.message}`));
      healthMs.push(performance.now() - startMs);
      await sleep(20);
    }
  };
  const stream = async (): Promise<void> => {
    const headers = { "x-fakeai-itl": "5", "x-fakeai-output-tokens": "40" };
    while (state.going) {
      const answer = h2
        ? await h2.stream(headers)
        : await ask(`${origin}/v1/chat/completions`, streamAgent, chat({ stream: true }), headers).catch((error: Error) => error.message);
      streams++;
      try {
        if (chunksOf(answer).length !== 42) faults.push(`a stream of ${chunksOf(answer).length} chunks`);
      } catch (error) {
        faults.push((error as Error).message);
      }
    }
  };
  const all = [probe(), stream(), stream(), stream()];
  return {
    async stop() {
      state.going = false;
      await Promise.all(all);
      agent.destroy();
      streamAgent.destroy();
      h2?.close();
      return { healthMs: healthMs.sort((a, b) => a - b), streams, faults };
    },
  };
}
