/**
 * One direction of one connection: bytes come in, and leave later, in order, delayed by the impairments. Knows neither sockets
 * nor timers. The fate of a byte depends on the seed and its place in the stream alone (with "packet" and jitter also on where
 * reads begin): equal streams under equal seeds are treated equally.
 */
import type { Distribution } from "../core/random/distribution.ts";
import { Random, type Seed, seedOfRequest } from "../core/random/random.ts";
import type { Alarms, Sleeper } from "./alarms.ts";
import { type Direction, segmentBytes } from "./impairment.ts";
import type { Link, Sender } from "./link.ts";

/** Numbers of the random streams at one place. */
const draws = { stall: 101, cut: 102, jitter: 103 } as const;

/** The two ends of a line. */
export interface Ends {
  /** The source must stop sending, or may go on. */
  pause(): void;
  resume(): void;
  /** Hot path. false: the destination is full; `drained` is called later. */
  write(bytes: Uint8Array): boolean;
  /** The destination gets no further byte. */
  end(): void;
  /** The network cuts the connection, in both directions. */
  cut(by: "rst" | "fin"): void;
}

/** Shared by all lines of a proxy: counts, and the bytes they hold. */
export interface Ledger {
  bytes: number;
  stalls: number;
  cuts: number;
  /** Bytes held by all lines, and the peak. */
  heldBytes: number;
  peakHeldBytes: number;
  /** Hot path. How late bytes left, microseconds; not called for bytes that waited for the destination. */
  late(us: number): void;
}

/** Bounds of the bytes held. */
export interface Bounds {
  /** In one line. */
  readonly lineBytes: number;
  /** In all lines. Above it each line may hold `shareBytes`. */
  readonly totalBytes: number;
}

/** The source waits above this: bytes that are due but not taken by the destination, or read but not on the link. */
export const shareBytes = 65_536;

type Item = { readonly dueUs: number; readonly bytes: Uint8Array | null; readonly cut: "rst" | "fin" | null };

export interface LineOptions {
  readonly alarms: Alarms;
  readonly direction: Direction;
  readonly link: Link | null;
  /** Of this line. */
  readonly seed: Seed;
  readonly ends: Ends;
  readonly ledger: Ledger;
  readonly bounds: Bounds;
  /** When the connection is open, its handshake over. Bytes count as come at this time at the earliest. */
  readonly openUs: number;
}

export class Line implements Sleeper, Sender {
  alarmUs = 0;
  place = -1;
  readonly #options: LineOptions;
  readonly #direction: Direction;
  /** Place in the stream of the next byte that leaves the link. */
  #offset = 0;
  /** When the last byte is due: the next is not due earlier. */
  #dueUs = 0;
  /** Bytes that are read and not yet on the link. */
  #backlog: Uint8Array[] = [];
  #backlogBytes = 0;
  #ended = false;
  #items: Item[] = [];
  #head = 0;
  /** While the destination is full: the first item that was not due at the last look, and the bytes before it. */
  #lateTo = 0;
  #lateBytes = 0;
  #held = 0;
  #blocked = false;
  #drainedUs = 0;
  #paused = false;
  #dead = false;

  constructor(options: LineOptions) {
    this.#options = options;
    this.#direction = options.direction;
  }

  /** Hot path. Bytes from the source; they are kept, not copied. */
  take(bytes: Uint8Array): void {
    if (this.#dead || bytes.length === 0) return;
    const { link, alarms, ledger } = this.#options;
    this.#held += bytes.length;
    ledger.bytes += bytes.length;
    ledger.heldBytes += bytes.length;
    if (ledger.heldBytes > ledger.peakHeldBytes) ledger.peakHeldBytes = ledger.heldBytes;
    if (link === null) {
      this.#enter(bytes, alarms.nowUs());
    } else {
      this.#backlog.push(bytes);
      this.#backlogBytes += bytes.length;
      if (this.#backlogBytes === bytes.length) link.offer(this);
    }
    this.#pass();
  }

  /** The source has ended. */
  end(): void {
    if (this.#dead || this.#ended) return;
    this.#ended = true;
    if (this.#backlogBytes > 0) return;
    this.#finish(this.#options.alarms.nowUs());
    this.#pass();
  }

  /** The destination takes more. */
  drained(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#drainedUs = this.#options.alarms.nowUs();
    this.#lateTo = 0;
    this.#lateBytes = 0;
    this.#pass();
  }

  /** Drops all bytes; no further ones pass. */
  drop(): void {
    this.#dead = true;
    this.#options.alarms.clear(this);
    this.#options.ledger.heldBytes -= this.#held;
    this.#held = 0;
    this.#items = [];
    this.#head = 0;
    this.#backlog = [];
    this.#backlogBytes = 0;
  }

  transmit(bytes: number, leftUs: (taken: number) => number): boolean {
    const first = this.#backlog[0];
    if (first === undefined) return false;
    const packet = first.length <= bytes ? first : first.subarray(0, bytes);
    if (packet === first) this.#backlog.shift();
    else this.#backlog[0] = first.subarray(bytes);
    this.#backlogBytes -= packet.length;
    const sentUs = leftUs(packet.length);
    this.#enter(packet, sentUs);
    if (this.#ended && this.#backlogBytes === 0) this.#finish(sentUs);
    this.#pass();
    return this.#backlogBytes > 0;
  }

  onAlarm(): void {
    this.#pass();
  }

  /** Hot path. Decides when bytes are due that leave the link (or come in) at `sentUs`. */
  #enter(bytes: Uint8Array, sentUs: number): void {
    const { stall, cut, jitterUs } = this.#direction;
    const from = this.#offset;
    this.#offset += bytes.length;
    const jitter = jitterUs === null ? 0 : jitterUs.sample(this.#random(from, draws.jitter));
    const baseUs = this.#base(sentUs) + jitter;
    if (baseUs > this.#dueUs) this.#dueUs = baseUs;
    if (stall === null && cut === null) {
      this.#push(bytes);
      return;
    }
    let start = 0;
    const perPacket = stall?.per === "packet";
    // Segments begin at multiples of their size in the stream, packets at the start of a read.
    for (let at = 0; at < bytes.length;) {
      const place = from + at;
      const opens = place % segmentBytes === 0;
      if (cut !== null && this.#cutsAt(place, opens)) {
        if (at > start) this.#push(bytes.subarray(start, at));
        this.#discard(bytes.length - at);
        this.#cut(cut.by);
        return;
      }
      if (stall !== null && (perPacket ? at % segmentBytes === 0 : opens)) {
        const random = this.#random(place, draws.stall);
        if (random.unit() < stall.probability) {
          if (at > start) this.#push(bytes.subarray(start, at));
          start = at;
          this.#options.ledger.stalls++;
          this.#dueUs = Math.max(this.#dueUs, baseUs + stall.holdUs.sample(random));
        }
      }
      let next = segmentBytes - (place % segmentBytes);
      if (perPacket) next = Math.min(next, segmentBytes - (at % segmentBytes));
      if (cut?.after.kind === "bytes" && cut.after.bytes > place) next = Math.min(next, cut.after.bytes - place);
      at += next;
    }
    this.#push(bytes.subarray(start));
    if (cut?.after.kind === "bytes" && this.#offset >= cut.after.bytes) this.#cut(cut.by);
  }

  #cutsAt(place: number, opens: boolean): boolean {
    const after = this.#direction.cut!.after;
    if (after.kind === "bytes") return place >= after.bytes;
    return after.kind === "segment" && opens && this.#random(place, draws.cut).unit() < after.probability;
  }

  #finish(sentUs: number): void {
    this.#dueUs = Math.max(this.#dueUs, this.#base(sentUs));
    this.#items.push({ dueUs: this.#dueUs, bytes: null, cut: null });
  }

  /** Bytes after a cut are read and dropped. */
  #cut(by: "rst" | "fin"): void {
    this.#items.push({ dueUs: this.#dueUs, bytes: null, cut: by });
    this.#discard(this.#backlogBytes);
    this.#backlog = [];
    this.#backlogBytes = 0;
    this.#dead = true;
  }

  #discard(bytes: number): void {
    this.#held -= bytes;
    this.#options.ledger.heldBytes -= bytes;
  }

  #base(sentUs: number): number {
    return Math.max(sentUs, this.#options.openUs) + this.#direction.latencyUs;
  }

  #push(bytes: Uint8Array): void {
    this.#items.push({ dueUs: this.#dueUs, bytes, cut: null });
  }

  #random(place: number, stream: number): Random {
    return new Random(seedOfRequest(this.#options.seed, place), stream);
  }

  /** Hot path. Passes on what is due. */
  #pass(): void {
    const { alarms, ends, ledger } = this.#options;
    const nowUs = alarms.nowUs();
    while (this.#head < this.#items.length && !this.#blocked) {
      const { dueUs, bytes, cut } = this.#items[this.#head]!;
      if (dueUs > nowUs) {
        alarms.set(this, dueUs);
        break;
      }
      this.#head++;
      if (dueUs > this.#drainedUs) ledger.late(nowUs - dueUs);
      if (bytes !== null) {
        this.#discard(bytes.length);
        this.#blocked = !ends.write(bytes);
      } else if (cut === null) {
        ends.end();
      } else {
        ledger.cuts++;
        this.drop();
        ends.cut(cut);
        return;
      }
    }
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head > 4096) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
      this.#lateTo = 0;
      this.#lateBytes = 0;
    }
    this.#regulate(nowUs);
  }

  /** Pauses or resumes the source. */
  #regulate(nowUs: number): void {
    const { ends, bounds, ledger } = this.#options;
    if (this.#dead) {
      // Bytes are dropped from here on: no bound applies.
      if (this.#paused) ends.resume();
      this.#paused = false;
      return;
    }
    // The source goes on only after part of what is held has left.
    const part = this.#paused ? 0.5 : 1;
    const full =
      this.#held > bounds.lineBytes * part ||
      this.#backlogBytes > shareBytes * part ||
      (ledger.heldBytes > bounds.totalBytes && this.#held > shareBytes) ||
      (this.#blocked && this.#lateNow(nowUs) > shareBytes);
    if (full === this.#paused) return;
    this.#paused = full;
    if (full) ends.pause();
    else ends.resume();
  }

  /** Bytes that are due and that the destination does not take. */
  #lateNow(nowUs: number): number {
    this.#lateTo = Math.max(this.#lateTo, this.#head);
    while (this.#lateTo < this.#items.length && this.#items[this.#lateTo]!.dueUs <= nowUs)
      this.#lateBytes += this.#items[this.#lateTo++]!.bytes?.length ?? 0;
    return this.#lateBytes;
  }
}

/** Draws the time at which a connection is cut. */
export function drawTime(seed: Seed, us: Distribution): number {
  return us.sample(new Random(seed, draws.cut));
}
