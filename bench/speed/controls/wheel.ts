/**
 * What every control shares: its arguments, the recorded answer it repeats, and the plainest wheel that keeps absolute
 * deadlines. Nothing of fakeai is imported: a control is what is left when fakeai is taken away.
 */
import { readFileSync } from "node:fs";
import type { Writable } from "node:stream";
import { parseArgs } from "node:util";

/** An answer recorded from fakeai, byte for byte. */
interface Recording {
  /** The events of a stream, in latin1. */
  readonly events: readonly string[];
  readonly unary: string;
  /** Heads of both, without what engines add by themselves. */
  readonly heads: { readonly stream: Readonly<Record<string, string>>; readonly unary: Readonly<Record<string, string>> };
}

export interface ControlOptions {
  /** paced: one event per write, without end. unpaced: all events in one constant buffer. unary: one constant body. */
  readonly mode: "paced" | "unpaced" | "unary";
  readonly ttftMs: number;
  readonly itlMs: number;
  /** 0: any. */
  readonly port: number;
  readonly events: readonly Buffer[];
  /** What unpaced and unary answer. */
  readonly whole: Buffer;
  readonly headers: Readonly<Record<string, string>>;
  /** The same where an engine does not add the length by itself. */
  readonly headersWithLength: Readonly<Record<string, string | number>>;
}

export function controlOptions(): ControlOptions {
  const { values } = parseArgs({
    options: {
      mode: { type: "string" },
      ttft: { type: "string" },
      itl: { type: "string" },
      recording: { type: "string" },
      port: { type: "string" },
    },
  });
  const mode = values.mode as ControlOptions["mode"];
  const recording = JSON.parse(readFileSync(values.recording!, "utf8")) as Recording;
  const whole = Buffer.from(mode === "unary" ? recording.unary : recording.events.join(""), "latin1");
  const headers = mode === "unary" ? recording.heads.unary : recording.heads.stream;
  return {
    mode,
    ttftMs: Number(values.ttft ?? 0),
    itlMs: Number(values.itl ?? 0),
    port: Number(values.port ?? 0),
    events: recording.events.map((event) => Buffer.from(event, "latin1")),
    whole,
    headers,
    headersWithLength: mode === "unary" ? { ...headers, "content-length": whole.length } : headers,
  };
}

/** Says where it listens, as `fakeai serve --json` does; one of several processes tells the first. */
export function announce(port: number): void {
  // An orderly exit, so that a control can be profiled with --cpu-prof.
  process.once("SIGTERM", () => process.exit(0));
  if (process.send !== undefined) process.send("listening");
  else process.stdout.write(`${JSON.stringify({ listening: [{ url: `http://127.0.0.1:${port}` }] })}\n`);
}

/** One stream: writes an event when it is due, until its client is gone. */
export interface Paced {
  write(event: Buffer): void;
  gone: boolean;
  dueMs: number;
  next: number;
}

/** A stream on a node engine: its head goes out with its first event, and it is gone when it closes. */
export function pacedOn(stream: Writable, sendHead: () => void): Paced {
  let started = false;
  const control: Paced = {
    gone: false,
    dueMs: 0,
    next: 0,
    write(event) {
      if (!started) sendHead();
      started = true;
      stream.write(event);
    },
  };
  stream.on("close", () => {
    control.gone = true;
  });
  return control;
}

/** Slots of one millisecond; each turn goes through the slots that time has passed. */
export class ControlWheel {
  readonly #slots: Paced[][] = Array.from({ length: 4096 }, () => []);
  readonly #options: ControlOptions;
  #position = Math.floor(performance.now());
  #streams = 0;
  #armed = false;

  constructor(options: ControlOptions) {
    this.#options = options;
  }

  add(stream: Paced): void {
    if (this.#streams++ === 0) this.#position = Math.floor(performance.now());
    stream.dueMs = performance.now() + this.#options.ttftMs;
    this.#put(stream);
    this.#arm();
  }

  #put(stream: Paced): void {
    this.#slots[Math.max(this.#position + 1, Math.floor(stream.dueMs)) % 4096]!.push(stream);
  }

  #arm(): void {
    if (this.#armed || this.#streams === 0) return;
    this.#armed = true;
    setTimeout(this.#turn, 1);
  }

  readonly #turn = (): void => {
    this.#armed = false;
    const { events, itlMs } = this.#options;
    const nowMs = performance.now();
    while (this.#position < Math.floor(nowMs)) {
      const slot = this.#slots[++this.#position % 4096]!;
      const due = slot.length;
      for (let i = 0; i < due; i++) {
        const stream = slot[i]!;
        if (stream.gone) {
          this.#streams--;
          continue;
        }
        if (stream.dueMs <= nowMs) {
          stream.write(events[stream.next]!);
          stream.next = (stream.next + 1) % events.length;
          stream.dueMs += itlMs;
        }
        this.#put(stream);
      }
      slot.splice(0, due);
    }
    this.#arm();
  };
}
