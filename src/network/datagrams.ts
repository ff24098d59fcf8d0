/**
 * One direction of one flow of datagrams: they come in, and leave later, or are lost. Knows neither sockets nor timers. The fate of a
 * datagram depends on the seed and its number in the flow alone.
 */
import { Random, type Seed, seedOfRequest } from "../core/random/random.ts";
import type { Alarms, Sleeper } from "./alarms.ts";
import type { Direction } from "./impairment.ts";
import type { Bounds } from "./line.ts";

/** Numbers of the random streams of one datagram; others than those of a line of bytes. */
const draws = { jitter: 103, loss: 104 } as const;

/** Shared by all flows of a proxy in one direction: counts, and the bytes they hold. */
export interface DatagramLedger {
  bytes: number;
  datagrams: number;
  /** By the network, on purpose. */
  lost: number;
  /** For want of room: too much was held. */
  dropped: number;
  /** Bytes held by all flows, and the peak. */
  heldBytes: number;
  peakHeldBytes: number;
  /** Hot path. How late a datagram left, microseconds. */
  late(us: number): void;
}

interface Item {
  readonly dueUs: number;
  readonly bytes: Uint8Array;
}

export interface DatagramLineOptions {
  readonly alarms: Alarms;
  readonly direction: Pick<Direction, "latencyUs" | "jitterUs" | "loss">;
  /** Of this line. */
  readonly seed: Seed;
  /** Hot path. Sends one datagram on; false: the system takes none. */
  readonly send: (bytes: Uint8Array) => boolean;
  readonly ledger: DatagramLedger;
  readonly bounds: Bounds;
}

export class DatagramLine implements Sleeper {
  alarmUs = 0;
  place = -1;
  readonly #options: DatagramLineOptions;
  #number = 0;
  /** When the last one is due: the next is not due earlier. */
  #dueUs = 0;
  #items: Item[] = [];
  #head = 0;
  #held = 0;

  constructor(options: DatagramLineOptions) {
    this.#options = options;
  }

  /** Hot path. A datagram from the source; it is kept, not copied. */
  take(bytes: Uint8Array): void {
    const { alarms, direction, bounds, ledger } = this.#options;
    const number = this.#number++;
    ledger.datagrams++;
    ledger.bytes += bytes.length;
    if (direction.loss > 0 && this.#random(number, draws.loss).unit() < direction.loss) {
      ledger.lost++;
      return;
    }
    if (this.#held + bytes.length > bounds.lineBytes || ledger.heldBytes + bytes.length > bounds.totalBytes) {
      ledger.dropped++;
      return;
    }
    const jitterUs = direction.jitterUs === null ? 0 : direction.jitterUs.sample(this.#random(number, draws.jitter));
    this.#dueUs = Math.max(this.#dueUs, alarms.nowUs() + direction.latencyUs + jitterUs);
    this.#items.push({ dueUs: this.#dueUs, bytes });
    this.#held += bytes.length;
    ledger.heldBytes += bytes.length;
    if (ledger.heldBytes > ledger.peakHeldBytes) ledger.peakHeldBytes = ledger.heldBytes;
    this.onAlarm();
  }

  /** Forgets what it holds. */
  drop(): void {
    this.#options.alarms.clear(this);
    this.#options.ledger.heldBytes -= this.#held;
    this.#held = 0;
    this.#items = [];
    this.#head = 0;
  }

  /** Hot path. Sends what is due. */
  onAlarm(): void {
    const { alarms, ledger, send } = this.#options;
    const nowUs = alarms.nowUs();
    while (this.#head < this.#items.length) {
      const { dueUs, bytes } = this.#items[this.#head]!;
      if (dueUs > nowUs) {
        alarms.set(this, dueUs);
        break;
      }
      this.#head++;
      this.#held -= bytes.length;
      ledger.heldBytes -= bytes.length;
      ledger.late(nowUs - dueUs);
      if (!send(bytes)) ledger.dropped++;
    }
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head > 4096) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
  }

  #random(number: number, stream: number): Random {
    return new Random(seedOfRequest(this.#options.seed, number), stream);
  }
}
