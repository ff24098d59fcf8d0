/** What is loaded: our own server as a child, or any other by its address. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Pauses } from "../../base/pauses.ts";
import { boundToUs } from "../../base/children.ts";
import { type Answered, type Answers, type Asked, endWithParent, type Question } from "../../base/parent-channel.ts";
import type { TlsChoice } from "../../load/job.ts";
import type { ProtocolName } from "../../results/types.ts";
import { type ProcessUsage, usageOf } from "./machine.ts";

/** The one TLS suite of every arm (TLS 1.3, RFC 8446): both engines and both protocols have it. */
export const pinnedCipher = "TLS_AES_128_GCM_SHA256";

/** Something could not be measured at all; the message says why in one line. */
export class RunError extends Error {}

export interface Target {
  /** Origins by protocol, for what the server speaks. */
  readonly origins: Readonly<Partial<Record<ProtocolName, string>>>;
  readonly tls: TlsChoice;
  /** What the server has used; null where it cannot be known. */
  usage(): ProcessUsage | null;
  /** 99th percentile of the server's event-loop delay since it was last asked, microseconds; null where it cannot be known. */
  eventLoopDelayP99Us(): Promise<number | null>;
  /** When the server did not run though it could have, since it was last asked; null where it cannot be known. */
  pauses(): Promise<Pauses | null>;
  /** Process of the server; null where it is not ours. */
  readonly pid: number | null;
  /** Why it no longer runs; null while it does. */
  readonly died: string | null;
  close(): Promise<void>;
}

/** What may serve a protocol. */
type Engine = "node" | "uws" | "own" | "quiche";

/** What a server child is started with. */
export interface ServerNeeds {
  readonly protocols: readonly ProtocolName[];
  /** Of HTTP/1.1 and HTTP/2: HTTP/3 has quiche, whatever the others have. */
  readonly engine: Engine;
  readonly ttft: number | string;
  readonly itl: number | string;
  readonly outputTokens: number;
  /** A tape that it answers from, and how much faster; with it neither latencies nor lengths are told. */
  readonly tape?: { readonly folder: string; readonly speed: number };
  /** Flags of a batched scheduler; with them ttft and itl are not told. */
  readonly batching?: Readonly<Record<string, string | number>>;
  /** HTTP/2 streams that one connection may have. */
  readonly maxConcurrentStreams: number;
  /** WebSocket: lanes of a connection, and responses under way on them; default: as many as OpenAI allows. */
  readonly lanes?: number;
  /** HPACK's table for request headers; default 4,096. */
  readonly headerTableBytes?: number;
  readonly seed: number;
  readonly cpu: number | null;
  /** Port of the first protocol; default: any free one. */
  readonly port?: number;
  /** Whether answers carry stamps; by default they do. */
  readonly stamps?: boolean;
  /** More flags, as `fakeai serve` takes them. */
  readonly flags?: readonly string[];
}

/** A server of ours, with a line to it. */
export interface ServerChild extends Target {
  /** PEM file of what its clients must trust; null where it speaks no TLS, or no file could be written. */
  readonly caPath: string | null;
  /** What serves each protocol. */
  readonly engines: Readonly<Partial<Record<ProtocolName, Engine>>>;
  /** What its engine came from, with its version, by the engine's name. */
  readonly engineVersions: Readonly<Record<string, string>>;
  /** Asks the process. Null where it does not answer. */
  ask<Name extends Question["ask"]>(question: Extract<Question, { ask: Name }>): Promise<Answers[Name] | null>;
}

/** The built command line: the server is a process like the user's own. */
const cliPath = fileURLToPath(
  import.meta.url.endsWith(".ts") ? new URL("../../../dist/cli.js", import.meta.url) : new URL("../../cli.js", import.meta.url),
);

const startTimeoutMs = 15_000;

function answerFlags({ ttft, itl, outputTokens, batching, tape }: ServerNeeds): string[] {
  if (tape !== undefined) return ["--replay", tape.folder, "--replay-speed", String(tape.speed)];
  const length = ["--output-tokens", String(outputTokens)];
  if (batching === undefined) return ["--ttft", String(ttft), "--itl", String(itl), ...length];
  // A scenario may name the scheduler among its flags, by either name.
  const named = "scheduler" in batching || "engine" in batching ? [] : ["--scheduler", "batched"];
  return [...named, ...Object.entries(batching).flatMap(([flag, value]) => [`--${flag}`, String(value)]), ...length];
}

function engineFlags(engine: ServerNeeds["engine"]): string[] {
  if (engine === "quiche") return [];
  return engine === "own" ? ["--h2-engine", "own", "--h1-engine", "node"] : ["--h1-engine", engine];
}

/** Starts `fakeai serve` and waits until it listens. Throws RunError. */
export async function startServerChild(needs: ServerNeeds): Promise<ServerChild> {
  const flags = [
    cliPath,
    "serve",
    "--json",
    ...(needs.stamps === false ? [] : ["--stamps"]),
    "--protocol",
    needs.protocols.map((protocol, index) => `${protocol}:${index === 0 ? (needs.port ?? 0) : 0}`).join(","),
    ...engineFlags(needs.engine),
    ...answerFlags(needs),
    "--seed",
    String(needs.seed),
    "--max-concurrent-streams",
    String(needs.maxConcurrentStreams),
    ...(needs.headerTableBytes === undefined ? [] : ["--header-table", String(needs.headerTableBytes)]),
    ...(needs.lanes === undefined ? [] : ["--ws-max-lanes", String(needs.lanes), "--ws-max-in-flight", String(needs.lanes)]),
    ...(needs.flags ?? []),
  ];
  const [command, args] =
    needs.cpu === null ? [process.execPath, flags] : ["taskset", ["-c", String(needs.cpu), process.execPath, ...flags]];
  // A child must not take the caller's settings of `fakeai serve`; and it gets no SIGINT of its own from the terminal.
  const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("FAKEAI_")));
  const env = { ...own, ...endWithParent };
  const child = boundToUs(
    spawn(command, args, { stdio: ["ignore", "pipe", "pipe", "ipc"], serialization: "advanced", env, detached: true }),
  );
  let complaint = "";
  let died: string | null = null;
  child.stderr!.on("data", (chunk: Buffer) => {
    complaint = `${complaint}${chunk.toString()}`.slice(-2000);
  });
  const ended = new Promise<void>((resolve) => {
    const onEnd = (why: string): void => {
      died ??= why;
      resolve();
    };
    child.on("error", (error) => onEnd(error.message));
    child.on("exit", (code, signal) => onEnd(`the server ended (${signal ?? `exit ${code}`})`));
  });
  const line = await firstLine(child, ended);
  if (line === null) {
    child.kill("SIGKILL");
    throw new RunError(`the server did not start: ${complaint.trim().split("\n")[0] || died || "no answer"}`);
  }
  const { listening, caPath, ca } = JSON.parse(line) as {
    listening: { protocol: ProtocolName; url: string; engine: Engine; engineVersion: string }[];
    caPath: string | null;
    /** In place of a file, where none could be written. */
    ca?: string;
  };
  return {
    // A WebSocket begins as HTTP.
    origins: Object.fromEntries(listening.map(({ protocol, url }) => [protocol, url.replace(/^ws/, "http")])),
    tls: { ca: caPath === null ? (ca ?? null) : readFileSync(caPath, "utf8"), insecure: false, cipher: pinnedCipher },
    usage: () => (child.pid === undefined ? null : usageOf(child.pid)),
    eventLoopDelayP99Us: () => ask(child, { ask: "delay" }),
    pauses: () => ask(child, { ask: "pauses" }),
    pid: child.pid ?? null,
    ask: (question) => ask(child, question),
    caPath,
    engines: Object.fromEntries(listening.map(({ protocol, engine }) => [protocol, engine])),
    engineVersions: Object.fromEntries(listening.map(({ engine, engineVersion }) => [engine, engineVersion])),
    get died() {
      return died;
    },
    async close() {
      child.kill("SIGTERM");
      const hard = setTimeout(() => child.kill("SIGKILL"), 1000);
      await ended;
      clearTimeout(hard);
    },
  };
}

/** An answer that takes longer than this comes from a server that has other troubles. */
const answerTimeoutMs = 5000;
let questions = 0;

function ask<Name extends Question["ask"]>(child: ChildProcess, question: Extract<Question, { ask: Name }>): Promise<Answers[Name] | null> {
  if (!child.connected) return Promise.resolve(null);
  return new Promise((resolve) => {
    const settle = (value: Answers[Name] | null): void => {
      clearTimeout(timer);
      child.off("message", onMessage);
      resolve(value);
    };
    const number = ++questions;
    const onMessage = (message: unknown): void => {
      const answered = message as Answered;
      if (answered.number === number) settle(answered.answer as Answers[Name] | null);
    };
    const timer = setTimeout(() => settle(null), answerTimeoutMs);
    child.on("message", onMessage);
    child.send({ number, question } satisfies Asked, (error) => {
      if (error !== null) settle(null);
    });
  });
}

function firstLine(child: ChildProcess, ended: Promise<void>): Promise<string | null> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), startTimeoutMs);
    const settle = (line: string | null): void => {
      clearTimeout(timer);
      resolve(line);
    };
    let text = "";
    child.stdout!.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes("\n")) settle(text.split("\n")[0]!);
    });
    void ended.then(() => settle(null));
  });
}
