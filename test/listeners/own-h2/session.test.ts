/** The own engine's session without a clock: what the watchdog ends, and what the client is told. */
import { Duplex } from "node:stream";
import type { Socket } from "node:net";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { monotonicUs } from "../../../src/base/clock.ts";
import type { RequestHandler } from "../../../src/core/seams.ts";
import { BodyDeadlines, Bounds, type ListenerLimits, newCounts } from "../../../src/listeners/bounds.ts";
import { BlockPool } from "../../../src/listeners/own-h2/output.ts";
import { Session, type SessionKeeper } from "../../../src/listeners/own-h2/session.ts";
import { errorCode, frame } from "../../../src/wire/h2/frames.ts";
import { FrameReader } from "../../../src/wire/h2/reader.ts";
import { FrameWriter } from "../../../src/wire/h2/writer.ts";

const limits: ListenerLimits = {
  maxConnections: 10,
  maxConcurrentStreams: 100,
  headerTableBytes: 4096,
  maxHeadBytes: 16_384,
  maxBodyBytes: 1e6,
  maxJsonDepth: 10,
  maxStreamBufferedBytes: 1e6,
  maxBufferedBytes: 1e7,
  headTimeoutMs: 2000,
  bodyTimeoutMs: 60_000,
  stallTimeoutMs: 60_000,
  h1IdleTimeoutMs: 600_000,
  h2IdleTimeoutMs: 600_000,
};

/** A session on a socket that takes all at once, and the codes of its GOAWAY frames. */
function open(): {
  readonly session: Session;
  readonly socket: Duplex;
  readonly counts: ReturnType<typeof newCounts>;
  readonly goaways: number[];
  readonly say: (writer: FrameWriter) => void;
} {
  const goaways: number[] = [];
  let type = 0;
  const reader = new FrameReader(
    {
      onFrame: (next) => ((type = next), true),
      onData: () => {},
      onMalformed: (code) => goaways.push(-code),
      onFrameEnd: (_type, bytes, start) => {
        if (type === frame.goaway) goaways.push(bytes.readUInt32BE(start + 4));
      },
    },
    "server",
  );
  const socket = new Duplex({
    read: () => {},
    write: (bytes: Buffer, _encoding, done) => {
      reader.read(bytes, 0, bytes.length);
      done();
    },
  });
  const counts = newCounts();
  const handler: RequestHandler = { handle: () => {}, refuse: () => {} };
  const bounds = new Bounds(limits);
  const keeper: SessionKeeper = {
    serving: { limits, counts, handler, bounds, deadlines: new BodyDeadlines(limits.bodyTimeoutMs) },
    pool: new BlockPool(),
    turn: 0,
    willFlush: () => {},
    onRequest: () => {},
    resetsTooMany: () => false,
    hasDrained: () => {},
    resetConnection: () => {},
    isGone: () => {},
  };
  const session = new Session(keeper, socket as Socket);
  const say = (writer: FrameWriter): void => void socket.emit("data", writer.take());
  return { session, socket, counts, goaways, say };
}

const afterMs = (ms: number): number => monotonicUs() + ms * 1000;

describe("SETTINGS that are not acknowledged", () => {
  const greeting = (isAcked: boolean): FrameWriter => {
    const writer = new FrameWriter();
    writer.preface();
    writer.settings([]);
    if (isAcked) writer.settingsAck();
    return writer;
  };

  test.each([
    ["are waited for", false, 9000, [], 0],
    ["end the session by SETTINGS_TIMEOUT after 10 s", false, 10_100, [errorCode.settingsTimeout], 1],
    ["and those that are end nothing", true, 10_100, [], 0],
  ])("%s", (_what, isAcked, ms, expected, reaped) => {
    const { session, counts, goaways, say } = open();
    say(greeting(isAcked));
    // A client that is alive otherwise.
    const ack = new FrameWriter();
    ack.ping(Buffer.alloc(8), 0, true);
    say(ack);
    session.watch(afterMs(ms));
    session.flush();
    expect([goaways, counts.sessionsReaped]).toEqual([expected, reaped]);
    session.destroy();
  });
});

describe("a session that has ended", () => {
  const ended = (): ReturnType<typeof open> => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const opened = open();
    opened.session.end();
    return opened;
  };
  const more = (): FrameWriter => {
    const writer = new FrameWriter();
    writer.settings([]);
    return writer;
  };

  test("is closed when its client has said nothing for 2 s", () => {
    const { socket } = ended();
    vi.advanceTimersByTime(1999);
    expect(socket.destroyed).toBe(false);
    vi.advanceTimersByTime(1);
    expect(socket.destroyed).toBe(true);
  });

  test("hears out a client that still sends, for 10 s at most", () => {
    const { socket, say } = ended();
    for (let second = 1; second < 10; second++) {
      vi.advanceTimersByTime(1000);
      say(more());
      expect(socket.destroyed).toBe(false);
    }
    vi.advanceTimersByTime(1000);
    expect(socket.destroyed).toBe(true);
  });
});
