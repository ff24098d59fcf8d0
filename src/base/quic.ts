/**
 * The QUIC engine: quiche, by the native part of @currentspace/http3, an optional package. fakeai speaks HTTP/3 itself above the
 * engine's streams (docs/decisions.md says why). UDP, TLS, loss recovery and flow control run in threads of the engine, which take
 * commands and give events.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

/** What an event says: `eventType` of the engine's `JsH3Event`. */
export const quicEvent = {
  session: 1,
  stream: 2,
  data: 4,
  finished: 5,
  reset: 6,
  closed: 7,
  /** Everything that waited of a stream has been taken by the connection. */
  drain: 8,
  error: 10,
  handshake: 11,
  shutdown: 15,
  /** The connection took only part of what a stream was given: the engine keeps the rest. */
  blocked: 16,
  pong: 17,
  /** The engine, which had refused bytes, takes some again. */
  writable: 18,
} as const;

export interface QuicEvent {
  readonly eventType: number;
  /** The connection; 0 on a client. */
  readonly connHandle: number;
  /** -1: the connection as a whole. */
  readonly streamId: number;
  readonly data?: Buffer;
  /** The stream ends with this data. */
  readonly fin?: boolean;
  readonly meta?: { readonly errorCode?: number; readonly errorReason?: string };
}

/** Error code with which a peer reset a stream, of a `reset` or an `error`; 0: none is told. The engine says it in words alone. */
export function resetCodeOf({ meta }: QuicEvent): number {
  const told = /^StreamReset\((\d+)\)$/.exec(meta?.errorReason ?? "");
  return told === null ? (meta?.errorCode ?? 0) : Number(told[1]);
}

/** What became of a write. Any other status than 0: the engine holds too much, and took nothing. */
export interface SendOutcome {
  readonly status: number;
  readonly written: number;
}

/** Figures of one connection, asked of its thread: the caller waits for the answer. */
export interface QuicMetrics {
  readonly bytesIn: number;
  readonly bytesOut: number;
}

interface Endpoint {
  /** Tells the engine that these events were dealt with: it gives on only so many. */
  ackEventBatch(count: number): void;
  /** Begins the end. The last event is `shutdown`, one for each thread. */
  requestShutdown(): boolean;
  /** Waits for the threads. */
  joinWorker(): void;
}

export interface QuicServer extends Endpoint {
  /** Throws where the port cannot be had. */
  listen(port: number, host: string): { readonly port: number };
  /** Hot path. Copies `data`. */
  streamSend(connection: number, streamId: number, data: Buffer, fin: boolean): SendOutcome;
  /** RESET_STREAM and STOP_SENDING. */
  streamClose(connection: number, streamId: number, errorCode: number): boolean;
  /** CONNECTION_CLOSE. */
  closeSession(connection: number, errorCode: number, reason: string): boolean;
  /** Sends a PING, and waits until the thread has. `pong` follows when it is acknowledged. false: the connection is over. */
  pingSession(connection: number): boolean;
}

export interface QuicClient extends Endpoint {
  connect(address: string, serverName: string): { readonly port: number };
  /** Hot path. Copies `data`. */
  streamSend(streamId: number, data: Buffer, fin: boolean): SendOutcome;
  streamClose(streamId: number, errorCode: number): boolean;
  close(errorCode: number, reason: string): boolean;
  getSessionMetrics(): QuicMetrics;
}

interface SharedOptions {
  readonly alpn: readonly string[];
  /** "portable": poll(2), which every container allows. "fast": io_uring on Linux. */
  readonly runtimeMode: "portable" | "fast";
  readonly maxIdleTimeoutMs: number;
  readonly initialMaxStreamsBidi?: number;
  /** Receive windows, bytes. */
  readonly initialMaxData?: number;
  readonly initialMaxStreamDataBidiLocal?: number;
}

export interface QuicServerOptions extends SharedOptions {
  /** PEM texts. */
  readonly key: Buffer;
  readonly cert: Buffer;
  readonly maxConnections: number;
  /** false: a client proves its address by a token before anything is kept of it (RFC 9000, section 8.1.2). */
  readonly disableRetry: boolean;
}

export interface QuicClientOptions extends SharedOptions {
  /** PEM text; absent: the system's. */
  readonly ca?: Buffer;
  readonly rejectUnauthorized: boolean;
}

type OnEvents = (error: Error | null, events: readonly QuicEvent[]) => void;

export interface QuicEngine {
  readonly NativeQuicServer: new (options: QuicServerOptions, onEvents: OnEvents) => QuicServer;
  readonly NativeQuicClient: new (options: QuicClientOptions, onEvents: OnEvents) => QuicClient;
  /** The package, with its version: "@currentspace/http3 0.9.0". */
  readonly version: string;
}

const packageName = "@currentspace/http3";
/** The version that this was written and tested against. Below 1.0 a minor version may change anything. */
const testedVersion = "0.9";
const install = `npm install ${packageName}@${testedVersion}`;

let engine: QuicEngine | null = null;
let lack = "";

/** The engine, or null where it cannot run: `quicLack` then says why, and how to get it. */
export function loadQuic(): QuicEngine | null {
  if (engine !== null) return engine;
  const folder = findPackage();
  if (folder === null) {
    lack = `HTTP/3 needs a package that is not installed: ${install}`;
    return null;
  }
  try {
    const file = path.join(folder, "index.js");
    // Its own API would open a TCP port of the same number for HTTP/2, and bounds no header fields: what is below both is used.
    const native = createRequire(file)(file) as Omit<QuicEngine, "version">;
    const { version } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as { version: string };
    if (!version.startsWith(`${testedVersion}.`) || typeof native.NativeQuicServer !== "function") {
      lack = `${packageName} ${version} is not a version that fakeai knows: ${install}`;
      return null;
    }
    return (engine = {
      NativeQuicServer: native.NativeQuicServer,
      NativeQuicClient: native.NativeQuicClient,
      version: `${packageName} ${version}`,
    });
  } catch {
    lack = `${packageName} has no binary for ${process.platform}-${process.arch}: it has Linux with glibc (x64, arm64), macOS (arm64)`;
    return null;
  }
}

/** Why the latest `loadQuic` gave null. */
export function quicLack(): string {
  return lack;
}

/** The package's folder: beside fakeai, or beside the program that is run. */
function findPackage(): string | null {
  for (const from of [import.meta.url, pathToFileURL(path.join(process.cwd(), "any.js"))]) {
    try {
      return path.dirname(path.dirname(createRequire(from).resolve(packageName)));
    } catch {
      // Not there.
    }
  }
  return null;
}
