/** The meeting point of shards: a TCP server around one session. */
import { randomUUID } from "node:crypto";
import { createServer, type Server, type Socket } from "node:net";
import { monotonicUs } from "../base/clock.ts";
import { isLoopback } from "../base/host.ts";
import { KeyRing } from "../base/keys.ts";
import { type FromShard, Link, messagesVersion } from "./messages.ts";
import { Session, type SessionEnd } from "./session.ts";

export interface RendezvousOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** What shards have to show; null: nothing. */
  readonly token: string | null;
  readonly of: number;
  /** How long shards may take to come, milliseconds. */
  readonly joinMs: number;
  /** How long a barrier waits for the last of them, milliseconds. */
  readonly barrierMs: number;
  readonly notice: (text: string) => void;
}

export interface Rendezvous {
  readonly host: string;
  readonly port: number;
  /** Resolves when the run is over. */
  readonly ended: Promise<SessionEnd>;
  /** Ends the run for all; what they have is handed in. */
  end(reason: string): void;
  close(): Promise<void>;
}

/** A shard that does not say who it is in this time is no shard. */
const helloMs = 10_000;
/** One that is silent for this long is gone: shards exchange times with us every second. */
const silentMs = 15_000;
/** How long shards may take to hand in their results after the run, milliseconds. */
const resultMs = 60_000;
/** Connections that are not let in yet, beside those of shards. */
const mostStrangers = 64;
/** Refusals that are told. */
const mostTurnedAway = 16;

/** Opens the meeting point. Rejects with the system's error where nothing can listen there. */
export async function openRendezvous(options: RendezvousOptions): Promise<Rendezvous> {
  const session = new Session({
    of: options.of,
    session: randomUUID(),
    nowUs: monotonicUs,
    after: (ms, call) => {
      const timer = setTimeout(call, ms);
      return () => clearTimeout(timer);
    },
    joinMs: options.joinMs,
    barrierMs: options.barrierMs,
    resultMs,
    notice: options.notice,
  });
  const keys = options.token === null ? null : new KeyRing([options.token]);
  const sockets = new Set<Socket>();
  const told = new Set<string>();
  // Of each machine once, and not of all that a stranger tries: who waits for a shard sees that it came, and why it is not let in.
  const turnedAway = (from: string, reason: string): void => {
    const text = `a shard at ${from} was turned away: ${reason}`;
    if (told.has(text) || told.size >= mostTurnedAway) return;
    told.add(text);
    options.notice(text);
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    if (sockets.size > options.of + mostStrangers) socket.destroy();
    else attend(socket, session, keys, turnedAway);
  });
  await listening(server, options.host, options.port).catch((error: unknown) => {
    // Its timer would hold the process, and complain of shards that meet elsewhere.
    session.end(null);
    throw error;
  });
  const address = server.address();
  const ended = session.ended;
  return {
    host: options.host,
    port: typeof address === "object" && address !== null ? address.port : options.port,
    ended,
    end: (reason) => session.end(reason),
    close: async () => {
      session.end("the rendezvous was closed");
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // What was sent last is on its way; an end that does not read it must not hold us.
      const impatience = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, 1000);
      for (const socket of sockets) socket.end();
      await closed;
      clearTimeout(impatience);
    },
  };
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, exclusive: true }, () => {
      server.off("error", reject);
      server.on("error", () => {});
      resolve();
    });
  });
}

function attend(socket: Socket, session: Session, keys: KeyRing | null, turnedAway: (from: string, reason: string) => void): void {
  let shard: number | null = null;
  let silence = setTimeout(() => socket.destroy(), helloMs);
  const link = new Link(
    socket,
    (message) => {
      // Before anything else: the time that passes here is in the round trip.
      const receivedUs = monotonicUs();
      clearTimeout(silence);
      silence = setTimeout(() => socket.destroy(), shard === null ? helloMs : silentMs);
      if (shard === null) {
        const refused = hello(message, session, keys, link);
        if (typeof refused === "number") {
          shard = refused;
          link.admit();
        } else {
          turnedAway(socket.remoteAddress ?? "?", refused);
          link.send({ kind: "refused", reason: refused });
          link.end();
        }
        return;
      }
      if (!isFromShard(message)) throw new Error("it sent an unknown message");
      if (message.kind === "time") link.send({ kind: "time", t1: message.t1, t2: receivedUs, t3: monotonicUs() });
      else session.receive(shard, message);
    },
    (reason) => {
      clearTimeout(silence);
      if (shard !== null) session.lost(shard, reason);
    },
  );
}

/** Lets a shard in: its number, or in one line why not. */
function hello(message: unknown, session: Session, keys: KeyRing | null, link: Link): number | string {
  if (!isFromShard(message) || message.kind !== "hello") return "this is the rendezvous of fakeai bench --shard";
  if (message.version !== messagesVersion) return `the rendezvous speaks version ${messagesVersion}: give all shards one fakeai`;
  if (keys !== null && keys.find(message.token ?? "") < 0)
    return message.token === null
      ? "the rendezvous asks for a token: give --rendezvous-token"
      : "the token is not the one of the rendezvous (--rendezvous-token)";
  const isNumber = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 1;
  const isPlan =
    typeof message.plan === "object" && message.plan !== null && Object.values(message.plan).every((text) => typeof text === "string");
  if (!isNumber(message.shard) || !isNumber(message.of) || message.shard > message.of || !isPlan || !(message.patienceMs > 0))
    return "it sent a hello that cannot be read";
  return session.join(message, link) ?? message.shard;
}

const kinds: ReadonlySet<string> = new Set<FromShard["kind"]>(["hello", "time", "arrive", "ended", "round", "leave", "result"]);

function isFromShard(message: unknown): message is FromShard {
  const { kind } = (typeof message === "object" && message !== null ? message : {}) as { readonly kind?: unknown };
  return typeof kind === "string" && kinds.has(kind);
}

/** Whether a rendezvous may do without a token: only this machine reaches it. */
export function mayDoWithoutToken(host: string): boolean {
  return isLoopback(host);
}
