/** The unidirectional streams that a peer opens (RFC 9114, section 6.2): its control stream, those of QPACK, and unknown ones. */
import { controlFrameFault, errorCode, frame, readSettings, readVarint, streamType, varintBytes } from "./frames.ts";
import { FrameReader, type Take } from "./reader.ts";

/** A SETTINGS or GOAWAY frame of ours or of any known peer is far smaller. */
const maxControlFrameBytes = 4096;
/** Longest number that says a stream's type. */
const maxTypeBytes = 8;

export interface PeerControl {
  /** The peer's SETTINGS, whole. Called once. */
  onSettings(settings: ReadonlyMap<number, number>): void;
  /** GOAWAY: a server says the first request that it has not processed, a client a push (section 5.2). */
  onGoaway(id: number): void;
}

interface PeerStream {
  /** Bytes of the type so far. */
  readonly type: number[];
  kind: "unknown" | "control" | "encoder" | "decoder" | "other";
}

export class PeerStreams {
  readonly #control: PeerControl;
  readonly #streams = new Map<number, PeerStream>();
  readonly #taken = new Set<number>();
  readonly #reader: FrameReader;
  #isSettled = false;
  #fault = 0;
  /** Bytes that mean nothing to us: of unknown streams and frames. */
  idleBytes = 0;

  constructor(control: PeerControl) {
    this.#control = control;
    this.#reader = new FrameReader({
      onFrame: (type, length) => this.#beginFrame(type, length),
      onPiece: () => {},
      onWhole: (type, bytes, start, end) => this.#endFrame(type, bytes, start, end),
    });
  }

  /** The peer's SETTINGS have come. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** Bytes of a stream, and whether it ends with them. Returns the error of the connection; 0: none. */
  read(id: number, bytes: Buffer, isEnd: boolean): number {
    let stream = this.#streams.get(id);
    if (stream === undefined) this.#streams.set(id, (stream = { type: [], kind: "unknown" }));
    let at = 0;
    while (stream.kind === "unknown" && at < bytes.length) {
      stream.type.push(bytes[at++]!);
      if (stream.type.length < Math.min(maxTypeBytes, varintBytes(stream.type[0]!))) continue;
      const fault = this.#name(stream, readVarint(Uint8Array.from(stream.type), 0, stream.type.length));
      if (fault !== 0) return fault;
    }
    if (stream.kind === "control") this.#reader.read(bytes, at, bytes.length);
    // Our table holds nothing, so all that its encoder may send is a capacity of 0 (RFC 9204, section 4.3.1).
    else if (stream.kind === "encoder" && bytes.subarray(at).some((byte) => byte !== 0x20)) return errorCode.qpackEncoderStream;
    else this.idleBytes += bytes.length - at;
    if (this.#fault !== 0) return this.#fault;
    if (!isEnd) return 0;
    this.#streams.delete(id);
    return stream.kind === "unknown" || stream.kind === "other" ? 0 : errorCode.closedCriticalStream;
  }

  /** The peer has cut a stream. Returns the error of the connection; 0: none. */
  reset(id: number): number {
    const kind = this.#streams.get(id)?.kind;
    this.#streams.delete(id);
    return kind === undefined || kind === "unknown" || kind === "other" ? 0 : errorCode.closedCriticalStream;
  }

  #name(stream: PeerStream, type: number): number {
    // Neither end of ours takes pushes: a server may not get any, and our clients allow none.
    if (type === streamType.push) return errorCode.streamCreation;
    const kinds: Readonly<Record<number, PeerStream["kind"]>> = {
      [streamType.control]: "control",
      [streamType.qpackEncoder]: "encoder",
      [streamType.qpackDecoder]: "decoder",
    };
    stream.kind = kinds[type] ?? "other";
    if (stream.kind === "other") return 0;
    if (this.#taken.has(type)) return errorCode.streamCreation;
    this.#taken.add(type);
    return 0;
  }

  #beginFrame(type: number, length: number): Take {
    this.#fault = controlFrameFault(type, this.#isSettled);
    const isRead = type === frame.settings || type === frame.goaway;
    if (this.#fault === 0 && isRead && length > maxControlFrameBytes) this.#fault = errorCode.excessiveLoad;
    if (this.#fault !== 0) return "stop";
    if (!isRead) this.idleBytes += 2 + length;
    return isRead ? "whole" : "skip";
  }

  #endFrame(type: number, bytes: Buffer, start: number, end: number): void {
    if (type === frame.goaway) {
      const id = start < end ? readVarint(bytes, start, end) : -1;
      if (id < 0 || start + varintBytes(bytes[start]!) !== end) this.#fault = errorCode.frame;
      else this.#control.onGoaway(id);
      return;
    }
    const settings = new Map<number, number>();
    this.#fault = readSettings(bytes, start, end, (id, value) => settings.set(id, value));
    if (this.#fault !== 0) return;
    this.#isSettled = true;
    this.#control.onSettings(settings);
  }
}
