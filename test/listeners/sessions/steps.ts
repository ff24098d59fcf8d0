/** What a client of HTTP/2 may do on one connection, as data: so that a case can be printed, shrunk and kept. */
import { flag, frame } from "../../../src/wire/h2/frames.ts";
import { HpackEncoder } from "../../../src/wire/h2/hpack.ts";
import { type Setting, setting } from "../../../src/wire/h2/settings.ts";
import { FrameWriter } from "../../../src/wire/h2/writer.ts";

/** Paths that are asked for: a paced answer, answers in one piece, none at all. */
export const paths = ["/v1/chat/completions", "/v1/messages", "/v1/models", "/health", "/nowhere"] as const;

export interface RequestStep {
  readonly do: "request";
  readonly id: number;
  readonly method: "GET" | "POST" | "HEAD" | "CONNECT";
  readonly path: number;
  /** Headers beside the usual ones: how it is paced, faults, `expect`, a content-length that need not be true. */
  readonly headers: Readonly<Record<string, string>>;
  /** END_STREAM with the head. */
  readonly ends: boolean;
  /** CONTINUATION frames that carry its head. */
  readonly continued: number;
}

export type Step =
  | RequestStep
  /** A part of a chat request's JSON, from and to a share of it; `pads` adds padding. */
  | { readonly do: "body"; readonly id: number; readonly from: number; readonly to: number; readonly ends: boolean; readonly pads: number }
  /** Bytes of a body that mean nothing. */
  | { readonly do: "data"; readonly id: number; readonly bytes: number; readonly ends: boolean }
  | { readonly do: "trailers"; readonly id: number; readonly ends: boolean }
  | { readonly do: "reset"; readonly id: number; readonly code: number }
  | { readonly do: "window"; readonly id: number; readonly bytes: number }
  | { readonly do: "priority"; readonly id: number; readonly on: number }
  | { readonly do: "settings"; readonly id: number; readonly value: number }
  | { readonly do: "settings-ack" }
  | { readonly do: "ping"; readonly ack: boolean }
  | { readonly do: "goaway"; readonly last: number; readonly code: number }
  /** A frame of any type, with a payload of zeros. */
  | { readonly do: "frame"; readonly type: number; readonly flags: number; readonly id: number; readonly bytes: number }
  /** The bytes of the step before, once more with one of them changed. */
  | { readonly do: "flip"; readonly at: number; readonly by: number }
  | { readonly do: "wait"; readonly ms: number }
  /** The client stops to read, or begins again. */
  | { readonly do: "read"; readonly on: boolean };

/** How a client leaves: FIN; FIN, and a close after a while; close; TCP RST. */
export const endings = ["end", "end-then-close", "close", "reset"] as const;
export type Ending = (typeof endings)[number];

export interface Session {
  readonly steps: readonly Step[];
  readonly ending: Ending;
  /** The whole of it leaves in one write: steps that wait do not count. */
  readonly atOnce: boolean;
}

const chat = Buffer.from(
  JSON.stringify({ model: "m", max_tokens: 40, stream: true, messages: [{ role: "user", content: "x".repeat(200) }] }),
);
const waitedMostBytes = 60_000;

/** The bytes of a step; none for those that write none. `last`: those of the step before. */
export function bytesOf(step: Step, last: Buffer): Buffer {
  if (step.do === "flip") {
    const changed = Buffer.from(last);
    if (changed.length > 0) changed[step.at % changed.length]! ^= step.by;
    return changed;
  }
  const writer = new FrameWriter();
  writeStep(writer, step);
  return writer.take();
}

function writeStep(writer: FrameWriter, step: Step): void {
  switch (step.do) {
    case "request": {
      const encoder = new HpackEncoder();
      const fields = {
        ":method": step.method,
        ...(step.method !== "CONNECT" && { ":scheme": "http", ":path": paths[step.path % paths.length]! }),
        ":authority": "localhost",
        ...step.headers,
      };
      for (const [name, value] of Object.entries(fields)) encoder.field(name, value, "without");
      const block = encoder.take();
      writer.headers(step.id, block, step.ends, Math.max(8, Math.ceil(block.length / (step.continued + 1))));
      return;
    }
    case "body": {
      const part = chat.subarray(Math.floor(chat.length * step.from), Math.floor(chat.length * step.to));
      if (step.pads === 0) writer.data(step.id, part, 0, part.length, step.ends);
      else {
        const padded = Buffer.concat([Buffer.from([step.pads]), part, Buffer.alloc(step.pads)]);
        writer.frame(frame.data, flag.padded | (step.ends ? flag.endStream : 0), step.id, padded, 0, padded.length);
      }
      return;
    }
    case "data":
      writer.data(step.id, Buffer.alloc(Math.min(step.bytes, waitedMostBytes)), 0, Math.min(step.bytes, 16_384), step.ends);
      return;
    case "trailers": {
      const encoder = new HpackEncoder();
      encoder.field("x-trailer", "1", "without");
      writer.headers(step.id, encoder.take(), step.ends, 16_384);
      return;
    }
    case "reset":
      writer.reset(step.id, step.code);
      return;
    case "window":
      writer.windowUpdate(step.id, step.bytes);
      return;
    case "priority":
      writer.priority(step.id, step.on, 16, false);
      return;
    case "settings":
      writer.settings([[step.id, step.value] satisfies Setting]);
      return;
    case "settings-ack":
      writer.settingsAck();
      return;
    case "ping":
      writer.ping(Buffer.from("12345678"), 0, step.ack);
      return;
    case "goaway":
      writer.goaway(step.last, step.code);
      return;
    case "frame":
      writer.frame(step.type, step.flags, step.id, Buffer.alloc(step.bytes), 0, step.bytes);
      return;
    case "flip":
    case "wait":
    case "read":
  }
}

/** A source of numbers from 0 to 1, the same for the same seed (mulberry32). */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const faults = [
  "hang",
  "reset",
  "rst_stream",
  "goaway",
  "truncate(after=3)",
  "delay(for=2000)",
  "goaway(after=2)",
  "goaway(after=3,code=2)",
  "rst_stream(after=2)",
  "status(500)",
  "no_window_update",
];

/** A session at random: mostly requests as clients make them, cut short, mixed up and spoiled. */
export function randomSession(seed: number): Session {
  const random = numbers(seed);
  const below = (count: number): number => Math.floor(random() * count);
  const one = <T>(items: readonly T[]): T => items[below(items.length)]!;
  const chance = (share: number): boolean => random() < share;
  const steps: Step[] = [];
  let next = 1;
  const anyId = (): number => (chance(0.85) ? 1 + 2 * below(Math.max(1, (next + 1) / 2)) : one([0, 2, 99, 0x7fffffff]));
  if (chance(0.3)) steps.push({ do: "settings", id: setting.initialWindow, value: one([0, 1, 100, 65_535, 1_048_576, 0x7fffffff]) });
  if (chance(0.2)) steps.push({ do: "read", on: false });
  const count = 1 + below(12);
  for (let index = 0; index < count; index++) {
    const kind = random();
    if (kind < 0.35) {
      const id = next;
      next += chance(0.95) ? 2 : 2 * below(50);
      const isPost = chance(0.8);
      const whole = chance(0.5);
      const headers: Record<string, string> = {};
      if (isPost) headers["content-type"] = "application/json";
      if (chance(0.4)) headers["x-fakeai-ttft"] = one(["0", "1", "10", "100", "60000"]);
      if (chance(0.4)) headers["x-fakeai-itl"] = one(["0", "1", "10", "1000"]);
      if (chance(0.3)) headers["x-fakeai-output-tokens"] = one(["1", "20", "2000", "20000"]);
      if (chance(0.15)) headers["x-fakeai-fault"] = one(faults);
      if (chance(0.1)) headers["expect"] = "100-continue";
      if (chance(0.2)) headers["content-length"] = one(["0", "1", String(chat.length), "100000"]);
      const ends = !isPost || chance(0.1);
      steps.push({
        do: "request",
        id,
        method: isPost ? "POST" : one(["GET", "GET", "HEAD", "CONNECT", "POST"] as const),
        path: chance(0.7) ? 0 : below(paths.length),
        headers,
        ends,
        continued: chance(0.15) ? 1 + below(4) : 0,
      });
      if (!ends && whole) steps.push({ do: "body", id, from: 0, to: 1, ends: chance(0.9), pads: 0 });
    } else if (kind < 0.5) {
      const from = one([0, 0.3, 0.6]);
      steps.push({ do: "body", id: anyId(), from, to: one([from, 0.6, 1]), ends: chance(0.5), pads: chance(0.2) ? below(50) : 0 });
    } else if (kind < 0.54) steps.push({ do: "data", id: anyId(), bytes: one([0, 1, 1000, 16_384]), ends: chance(0.3) });
    else if (kind < 0.59) steps.push({ do: "trailers", id: anyId(), ends: chance(0.7) });
    else if (kind < 0.66) steps.push({ do: "reset", id: anyId(), code: one([0, 5, 7, 8, 99]) });
    else if (kind < 0.71) steps.push({ do: "window", id: chance(0.3) ? 0 : anyId(), bytes: one([0, 1, 10_000, 0x7fffffff]) });
    else if (kind < 0.73) steps.push({ do: "priority", id: anyId(), on: anyId() });
    else if (kind < 0.76) steps.push({ do: "settings", id: 1 + below(6), value: one([0, 1, 100, 16_384, 65_535, 0x7fffffff, 0xffffffff]) });
    else if (kind < 0.78) steps.push({ do: "settings-ack" });
    else if (kind < 0.8) steps.push({ do: "ping", ack: chance(0.3) });
    else if (kind < 0.82) steps.push({ do: "goaway", last: anyId(), code: one([0, 0, 2, 8]) });
    else if (kind < 0.84) steps.push({ do: "frame", type: below(13), flags: below(64), id: anyId(), bytes: below(20) });
    else if (kind < 0.87) steps.push({ do: "flip", at: below(200), by: 1 << below(8) });
    else if (kind < 0.97) steps.push({ do: "wait", ms: one([0, 0, 1, 5, 20, 100]) });
    else steps.push({ do: "read", on: chance(0.5) });
  }
  return { steps, ending: one(endings), atOnce: chance(0.2) };
}
