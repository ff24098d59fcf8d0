/** Plays sessions of HTTP/2 clients against a server, and tells whether the server still counts anything of them when they have gone. */
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { FrameWriter } from "../../../src/wire/h2/writer.ts";
import type { H2Engine } from "../../../src/core/seams.ts";
import { createServer, type FakeAiServer } from "../../../src/index.ts";
import { bytesOf, type Session, type Step } from "./steps.ts";

export type Http2Protocol = "h2c" | "h2";

/** How long a server may count something of a client that has gone: 1.5 s, in looks, which a busy machine delays as it does the server. */
const mostLooks = 75;
const lookMs = 20;

const noBytes = Buffer.alloc(0);

/** What a server counts of its clients. */
export interface Left {
  readonly connections: number;
  readonly sessions: number;
  readonly streams: number;
  readonly running: number;
}

export function leftOn(server: FakeAiServer): Left {
  const { openConnections, openSessions, openStreams, running } = server.stats();
  return { connections: openConnections, sessions: openSessions, streams: openStreams, running };
}

export const isNothing = (left: Left): boolean => Object.values(left).every((count) => count === 0);

function opening(): Buffer {
  const writer = new FrameWriter();
  writer.preface();
  writer.settings([]);
  return writer.take();
}

/** Plays one session to its end; resolves when the client's socket has closed. */
export async function play({ steps, ending, atOnce }: Session, protocol: Http2Protocol, port: number): Promise<void> {
  const tcp = connectTcp(port, "127.0.0.1");
  const socket: Socket =
    protocol === "h2" ? connectTls({ socket: tcp, rejectUnauthorized: false, ALPNProtocols: ["h2"], servername: "localhost" }) : tcp;
  const closed = new Promise<void>((resolve) => tcp.once("close", () => resolve()));
  for (const each of new Set([tcp, socket])) each.on("error", () => {});
  await new Promise<void>((resolve) => {
    socket.once(protocol === "h2" ? "secureConnect" : "connect", () => resolve());
    void closed.then(resolve);
  });
  socket.on("data", () => {});
  await writeAll(socket, steps, atOnce);
  leave(tcp, socket, ending);
  const timer = setTimeout(() => tcp.destroy(), 100);
  await closed;
  clearTimeout(timer);
}

async function writeAll(socket: Socket, steps: readonly Step[], atOnce: boolean): Promise<void> {
  let last = noBytes as Buffer;
  const pieces: Buffer[] = [opening()];
  const flush = (): void => {
    if (pieces.length > 0 && !socket.destroyed) socket.write(Buffer.concat(pieces.splice(0)));
  };
  for (const step of steps) {
    if (step.do === "read") {
      if (step.on) socket.resume();
      else socket.pause();
    } else if (step.do === "wait") {
      if (atOnce) continue;
      flush();
      if (step.ms === 0) await new Promise((resolve) => setImmediate(resolve));
      else await new Promise((resolve) => setTimeout(resolve, step.ms));
    } else {
      last = bytesOf(step, last);
      pieces.push(last);
    }
  }
  flush();
}

function leave(tcp: Socket, socket: Socket, ending: Session["ending"]): void {
  if (ending === "reset") tcp.resetAndDestroy();
  else if (ending === "close") socket.destroy();
  else if (ending === "end") {
    // As a client that reads to the end.
    socket.resume();
    socket.end();
  } else socket.end();
}

/** Plays sessions side by side against a server of their own. null: nothing of them is counted in time. */
export async function leftBehind(sessions: readonly Session[], protocol: Http2Protocol, h2Engine: H2Engine = "node"): Promise<Left | null> {
  const server = await createServer({ protocol: `${protocol}:0`, h2Engine, ttft: 20, itl: 5, outputTokens: 40 });
  try {
    const port = Number(new URL(server.urls[protocol]!).port);
    await Promise.all(sessions.map((session) => play(session, protocol, port)));
    for (let look = 0; look < mostLooks && !isNothing(leftOn(server)); look++) await new Promise((resolve) => setTimeout(resolve, lookMs));
    const left = leftOn(server);
    return isNothing(left) ? null : left;
  } finally {
    await server.close(0);
  }
}
