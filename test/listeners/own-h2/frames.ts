/** The own engine's connection without a socket: a client that writes frames and reads what comes back. */
import type { RequestHead } from "../../../src/listeners/own-h2/head.ts";
import { Connection, type ConnectionEvents, type ConnectionLimits } from "../../../src/listeners/own-h2/connection.ts";
import { BlockPool } from "../../../src/listeners/own-h2/output.ts";
import type { Stream } from "../../../src/listeners/own-h2/stream.ts";
import { flag, frame } from "../../../src/wire/h2/frames.ts";
import { HpackDecoder, HpackEncoder } from "../../../src/wire/h2/hpack.ts";
import { FrameReader } from "../../../src/wire/h2/reader.ts";
import type { Setting } from "../../../src/wire/h2/settings.ts";
import { FrameWriter } from "../../../src/wire/h2/writer.ts";

export const limits: ConnectionLimits = { maxConcurrentStreams: 100, headerTableBytes: 4096, maxHeadBytes: 16_384 };

export const post = { ":method": "POST", ":scheme": "http", ":path": "/x?y", ":authority": "a" } as const;

/** A frame that the server has sent. */
export interface Sent {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** A request, as the connection has told of it. */
export interface Told {
  readonly stream: Stream;
  readonly head: RequestHead;
  body: string;
  ended: boolean;
  /** undefined: it is not over. */
  delivered: boolean | undefined;
}

export class Peer implements ConnectionEvents {
  readonly connection: Connection;
  readonly writer: FrameWriter = new FrameWriter();
  readonly encoder: HpackEncoder = new HpackEncoder();
  readonly requests: Told[] = [];
  readonly sent: Sent[] = [];
  readonly fields: Record<string, string>[] = [];
  readonly refused: string[] = [];
  pingAcks = 0;
  settingsAcks = 0;
  streamLimits = 0;
  failure: { readonly code: number; readonly isFlood: boolean } | null = null;
  readonly #decoder = new HpackDecoder();
  readonly #reader: FrameReader;
  /** Called for each request. */
  answer: (told: Told) => void = () => {};

  constructor(bounds: ConnectionLimits = limits, ...settings: readonly Setting[]) {
    let head = { type: 0, flags: 0, id: 0 };
    let data: Buffer[] = [];
    this.#reader = new FrameReader(
      {
        onFrame(type, flags, id) {
          head = { type, flags, id };
          data = [];
          return true;
        },
        onData: (bytes, start, end) => void data.push(Buffer.from(bytes.subarray(start, end))),
        onMalformed: (code) => this.refused.push(`malformed ${code}`),
        onFrameEnd: (type, bytes, start, end) => {
          const payload = Buffer.concat([...data, bytes.subarray(start, end)]);
          if (type === frame.headers) {
            const fields: Record<string, string> = {};
            this.#decoder.decode(payload, 0, payload.length, (name, value) => (fields[name] = value));
            this.fields.push(fields);
          }
          this.sent.push({ ...head, payload });
        },
      },
      "server",
    );
    this.connection = new Connection(bounds, new BlockPool(), this);
    this.connection.begin();
    this.writer.preface();
    this.writer.settings(settings);
  }

  onPending(): void {}
  onRequest(stream: Stream, head: RequestHead, isEnded: boolean): void {
    const told: Told = { stream, head, body: "", ended: isEnded, delivered: undefined };
    this.requests.push(told);
    stream.owner = {
      onBody: (bytes, start, end) => void (told.body += bytes.toString("latin1", start, end)),
      onBodyEnd: (bytes, start, end) => {
        told.body += bytes.toString("latin1", start, end);
        told.ended = true;
      },
      onProgress: () => {},
      onClose: (isDelivered) => (told.delivered = isDelivered),
    };
    this.answer(told);
  }
  onStreamLimit(): void {
    this.streamLimits++;
  }
  onReset(): void {}
  onStreamClosed(): void {}
  onFail(code: number, isFlood: boolean): void {
    this.failure = { code, isFlood };
  }
  onPeerGoaway(): void {}
  onPingAck(): void {
    this.pingAcks++;
  }
  onSettingsAck(): void {
    this.settingsAcks++;
  }

  /** HEADERS of a request. */
  head(id: number, fields: Readonly<Record<string, string>> = post, endStream: boolean = true): void {
    for (const [name, value] of Object.entries(fields)) this.encoder.field(name, value, "incremental");
    this.writer.headers(id, this.encoder.take(), endStream, 16_384);
  }

  data(id: number, text: string, endStream: boolean): void {
    this.writer.data(id, Buffer.from(text), 0, text.length, endStream);
  }

  /** Hands over what was written, in pieces of so many bytes, and reads what comes back. */
  exchange(pieceBytes: number = Infinity): void {
    const bytes = this.writer.take();
    for (let at = 0; at < bytes.length; at += pieceBytes) this.connection.read(Buffer.from(bytes.subarray(at, at + pieceBytes)));
    this.receive();
  }

  /** Reads what the server has written. */
  receive(): void {
    for (const { bytes } of this.connection.output.take()) this.#reader.read(bytes, 0, bytes.length);
  }

  /** DATA of a stream so far. */
  body(id: number): string {
    return this.sent
      .filter((each) => each.type === frame.data && each.id === id)
      .map(({ payload }) => payload.toString("latin1"))
      .join("");
  }

  /** RST_STREAM codes of a stream. */
  resets(id: number): number[] {
    return this.sent.filter((each) => each.type === frame.reset && each.id === id).map(({ payload }) => payload.readUInt32BE(0));
  }

  hasEnded(id: number): boolean {
    return this.sent.some((each) => each.id === id && each.type < 2 && (each.flags & flag.endStream) !== 0);
  }
}
