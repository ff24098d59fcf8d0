/**
 * The form of a tape: a folder with `tape.jsonl`, whose first line is a `TapeHead`, and each further line a `TapeCall`. The published
 * schema is made of these types.
 */

/** The version of this form. A reader refuses any other. */
export const tapeVersion = 1;

/** The file in a tape's folder. */
export const tapeFile = "tape.jsonl";

/** What stands in place of a value that is not kept. */
export const redacted = "[redacted]";

/** The first line. */
export interface TapeHead {
  /** Version of the form. */
  readonly fakeaiTape: 1;
  /** Base URL of the server that was recorded, without a key. */
  readonly to: string;
  /** When the recording began, ISO 8601. */
  readonly recordedAt: string;
  /** Version of fakeai that recorded it. */
  readonly fakeai: string;
  /** What the recorder spoke to the server. */
  readonly upstream: "h1" | "h1s" | "h2c" | "h2";
}

/**
 * Microseconds.
 * @minimum 0
 * @maximum 86400000000
 */
type Microseconds = number;

/**
 * Name and value of a header. A value that is not on the list of those kept reads "[redacted]".
 * @minItems 2
 * @maxItems 2
 */
export type TapeHeader = readonly string[];

/** Bytes: a text where they are UTF-8, otherwise base64. One of the two is there. */
export interface TapeBytes {
  /** Bytes that are UTF-8. */
  readonly text?: string;
  /** Any other bytes, in base64 (RFC 4648, section 4). */
  readonly base64?: string;
}

/** Bytes of an answer that arrived together: an event, or a part of one. The end of an event is the end of a piece. */
export interface TapePiece extends TapeBytes {
  /** From the request's last byte, handed to the server's connection, to the read that brought the last of these bytes. */
  readonly us: Microseconds;
}

/** A request as its client sent it, without secrets. */
export interface TapeRequest {
  /** What its client spoke to the recorder. */
  readonly protocol: "h1" | "h1s" | "h2c" | "h2" | "h3";
  /** Method, in upper case. */
  readonly method: string;
  /** Path that the client asked for, without the query. */
  readonly path: string;
  /** Query without the question mark; values that are not kept read "[redacted]". */
  readonly query: string;
  /** Headers, names in lower case. */
  readonly headers: readonly TapeHeader[];
  /** Body; null: none. Values of members that are called like keys read "[redacted]". */
  readonly body: TapeBytes | null;
}

/** An answer as the server sent it. */
export interface TapeResponse {
  /**
   * Status code (RFC 9110, section 15).
   * @asType integer
   * @minimum 200
   * @maximum 599
   */
  readonly status: number;
  /** Headers, names in lower case, without those of the connection. */
  readonly headers: readonly TapeHeader[];
  /** When the head had arrived. */
  readonly headUs: Microseconds;
  /** The body, in order of arrival; times do not fall. */
  readonly pieces: readonly TapePiece[];
  /** When the end had arrived. */
  readonly endUs: Microseconds;
  /** Whether it ended in order, or the connection or stream broke before. */
  readonly end: "finished" | "cut";
}

/** One call. */
export interface TapeCall {
  /**
   * Number, from 1, in the order in which the requests arrived.
   * @asType integer
   * @minimum 1
   */
  readonly call: number;
  /** From the first request of the recording to this one. */
  readonly atUs: Microseconds;
  /** What it took to open a connection for this call; null: there was one. */
  readonly connectUs: Microseconds | null;
  /** The client did not keep up, so the server was read later: times may hold its slowness. */
  readonly heldBack: boolean;
  readonly request: TapeRequest;
  readonly response: TapeResponse;
}

/** A line of a tape. */
export type TapeLine = TapeHead | TapeCall;

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes as a tape writes them. */
export function tapeBytes(bytes: Uint8Array): TapeBytes {
  try {
    return { text: strict.decode(bytes) };
  } catch {
    return { base64: Buffer.from(bytes).toString("base64") };
  }
}

/** Bytes that a tape has written. */
export function bytesOf({ text, base64 }: TapeBytes): Buffer {
  return base64 === undefined ? Buffer.from(text ?? "", "utf8") : Buffer.from(base64, "base64");
}
