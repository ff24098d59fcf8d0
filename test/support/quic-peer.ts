/** A client of HTTP/3 that sends what it is told, on the QUIC engine's client, and sees every code: for attacks and faults. */
import { loadQuic, type QuicClient, type QuicEvent, quicEvent, resetCodeOf } from "../../src/base/quic.ts";
import { controlOpening, frame, frameOf, setting } from "../../src/wire/h3/frames.ts";
import { decodeFields, encodeFields, type Field } from "../../src/wire/h3/qpack.ts";
import { FrameReader } from "../../src/wire/h3/reader.ts";
import { chat } from "./chat.ts";
import { sleep } from "./wait.ts";

const none = Buffer.alloc(0);
const host = "127.0.0.1";
/** How long a client waits for what the server does by itself, milliseconds. */
export const patienceMs = 5000;
/** How long a handshake may take, where many are begun at once on a busy machine, milliseconds. */
const handshakeMs = 20_000;

/** What has come on one stream. */
export interface Seen {
  status: number;
  body: number;
  /** It ended in order. */
  ended: boolean;
  /** Error code of its reset; null: none came. */
  reset: number | null;
}

/** A client that says what it is told, and no more than its SETTINGS by itself. */
export class Peer {
  readonly streams: Map<number, Seen> = new Map();
  /** Error code of CONNECTION_CLOSE; null: the connection is open. */
  closed: number | null = null;
  /** What it does not take in stays with the engine, whose windows shut then. */
  reads: boolean;
  #untaken = 0;
  readonly #engine: QuicClient;
  readonly #readers = new Map<number, FrameReader>();
  #wake: () => void = () => {};

  constructor(options: { readonly reads?: boolean; readonly windowBytes?: number } = {}) {
    const { reads = true, windowBytes = 1_000_000 } = options;
    this.reads = reads;
    this.#engine = new (loadQuic()!.NativeQuicClient)(
      {
        rejectUnauthorized: false,
        alpn: ["h3"],
        runtimeMode: "portable",
        maxIdleTimeoutMs: 60_000,
        initialMaxData: 10_000_000,
        initialMaxStreamDataBidiLocal: windowBytes,
      },
      (_error, events) => {
        for (const event of events) this.#read(event);
        this.#untaken += events.length;
        if (this.reads) this.#take();
        this.#wake();
      },
    );
  }

  static async open(
    port: number,
    options: { readonly reads?: boolean; readonly windowBytes?: number; readonly bare?: boolean } = {},
  ): Promise<Peer> {
    const peer = new Peer(options);
    let isReady = false;
    peer.#onReady = () => (isReady = true);
    peer.#engine.connect(`${host}:${port}`, "localhost");
    if (!(await peer.until(() => isReady || peer.closed !== null, handshakeMs)) || !isReady)
      throw new Error(`no handshake: ${peer.closed === null ? "nothing came" : `closed with ${peer.closed}`}`);
    if (!options.bare) peer.send(2, controlOpening([[setting.qpackTableBytes, 0]]));
    return peer;
  }

  #onReady: () => void = () => {};

  send(id: number, bytes: Buffer, isEnd = false): void {
    this.#engine.streamSend(id, bytes, isEnd);
  }

  /** RESET_STREAM and STOP_SENDING. */
  cut(id: number): void {
    this.#engine.streamClose(id, 0x10c);
  }

  /** Asks for a streamed answer. */
  ask(id: number, more: readonly Field[] = []): void {
    const body = Buffer.from(JSON.stringify(chat({ stream: true })));
    this.send(id, Buffer.concat([post([["content-length", String(body.length)], ...more]), frameOf(frame.data, body)]), true);
  }

  of(id: number): Seen {
    let seen = this.streams.get(id);
    if (seen === undefined) this.streams.set(id, (seen = { status: 0, body: 0, ended: false, reset: null }));
    return seen;
  }

  /** Waits for something that its events bring; gives up without a word. */
  async until(isSo: () => boolean, ms: number = patienceMs): Promise<boolean> {
    const endMs = performance.now() + ms;
    while (!isSo() && performance.now() < endMs) {
      await Promise.race([new Promise<void>((resolve) => (this.#wake = resolve)), sleep(20)]);
    }
    return isSo();
  }

  #take(): void {
    this.#engine.ackEventBatch(this.#untaken);
    this.#untaken = 0;
  }

  async end(): Promise<void> {
    // All clients of a process share what may be told and not acknowledged: one that keeps it would hold up the others for good.
    this.reads = true;
    this.#take();
    this.#engine.close(0x100, "");
    this.#engine.requestShutdown();
    await sleep(0);
  }

  #read(event: QuicEvent): void {
    const { eventType, streamId } = event;
    if (eventType === quicEvent.handshake) this.#onReady();
    else if (eventType === quicEvent.closed) this.closed ??= event.meta?.errorCode ?? 0;
    else if (eventType === quicEvent.shutdown) this.#engine.joinWorker();
    else if (streamId < 0 || streamId % 4 !== 0) return;
    else if (eventType === quicEvent.reset || eventType === quicEvent.error) this.of(streamId).reset ??= resetCodeOf(event);
    else if (eventType === quicEvent.data || eventType === quicEvent.stream || eventType === quicEvent.finished) {
      const bytes = event.data ?? none;
      this.#readerOf(streamId).read(bytes, 0, bytes.length);
      if (eventType === quicEvent.finished || event.fin === true) this.of(streamId).ended = true;
    }
  }

  #readerOf(id: number): FrameReader {
    let reader = this.#readers.get(id);
    if (reader === undefined) {
      const seen = this.of(id);
      reader = new FrameReader({
        onFrame: (type) => (type === frame.headers ? "whole" : type === frame.data ? "pieces" : "skip"),
        onPiece: (_bytes, start, end) => (seen.body += end - start),
        onWhole: (_type, bytes, start, end) => {
          decodeFields(bytes, start, end, 100_000, (name, value) => {
            if (name === ":status") seen.status = Number(value);
          });
        },
      });
      this.#readers.set(id, reader);
    }
    return reader;
  }
}

const headers = (fields: readonly Field[]): Buffer => frameOf(frame.headers, encodeFields(fields));
export const post = (more: readonly Field[] = []): Buffer =>
  headers([[":method", "POST"], [":scheme", "https"], [":authority", "x"], [":path", "/v1/chat/completions"], ...more]);
