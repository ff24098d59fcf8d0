/** What the endpoints of WebSocket share: messages of any size in their order, and an answer in one piece as the words of an error. */
import type { MessageSocket, RequestHandler } from "../../core/seams.ts";
import { ApiError, type RequestLimits } from "../errors/api-error.ts";
import { isObject, type JsonObject, largeBodyBytes, parseBody, prepareBody } from "../shared/body.ts";

/** Codes of a close frame (RFC 6455, section 7.4.1). */
export const closeNormal = 1000;
export const closeGoingAway = 1001;

/** What an endpoint of WebSocket gets, whatever its messages are. */
export interface EndpointOptions {
  /** Takes each response that is asked for as a request. */
  readonly handle: RequestHandler["handle"];
  readonly lifetimeMs: number;
  /** Responses of a connection that are made at the same time. */
  readonly mostInFlight: number;
  readonly limits: RequestLimits;
  /** Calls back in another turn of the event loop. */
  readonly later: (step: () => void) => void;
}

/** What is said to a request that comes while the server ends. */
export const closing = (): ApiError => new ApiError(503, "This server is closing. Open a new connection.", null, "server_shutting_down");

/** The messages of a connection, in their order. */
export class MessageReader {
  readonly #socket: Pick<MessageSocket, "closed">;
  readonly #later: (step: () => void) => void;
  readonly #read: (text: Uint8Array) => void;
  /** Messages behind a large one that is being read, and answers to those that are not read; null: none is. */
  #behind: (Uint8Array | (() => void))[] | null = null;

  /** `later` calls back in another turn of the event loop. */
  constructor(socket: Pick<MessageSocket, "closed">, later: (step: () => void) => void, read: (text: Uint8Array) => void) {
    this.#socket = socket;
    this.#later = later;
    this.#read = read;
  }

  take(text: Uint8Array): void {
    if (this.#behind !== null) this.#behind.push(text);
    else if (text.length > largeBodyBytes) this.#readLarge(text, []);
    else this.#read(text);
  }

  /** Answers a message that is not read, behind those before it. */
  after(answer: () => void): void {
    if (this.#behind !== null) this.#behind.push(answer);
    else answer();
  }

  /** Reads a large message in steps, and then those that came meanwhile, in other turns. */
  #readLarge(text: Uint8Array, behind: (Uint8Array | (() => void))[]): void {
    this.#behind = behind;
    let next = 0;
    const goOn = (): void => {
      if (this.#socket.closed || next === behind.length) {
        this.#behind = null;
        return;
      }
      const following = behind[next++]!;
      if (typeof following === "function") following();
      else if (following.length > largeBodyBytes) {
        this.#readLarge(following, behind.slice(next));
        return;
      } else this.#read(following);
      this.#later(goOn);
    };
    prepareBody(text, this.#later, () => {
      if (!this.#socket.closed) this.#read(text);
      this.#later(goOn);
    });
  }

  /** The connection has ended. */
  forget(): void {
    this.#behind = null;
  }
}

/** Throws ApiError where a message is no JSON object. */
export function readMessage(text: Uint8Array): JsonObject {
  try {
    return parseBody(text);
  } catch (error) {
    if (!(error instanceof ApiError) || error.problem.kind !== "request") throw error;
    const { status, message, param, code } = error.problem;
    if (param === "body") throw new ApiError(status, message.replace("'body'", "the message"), null, code);
    if (code !== null) throw error;
    throw new ApiError(
      400,
      "We could not parse the JSON of your message. (HINT: each text frame holds one JSON object.)",
      null,
      "invalid_json",
    );
  }
}

/** The words of an answer in one piece: what HTTP would have answered, as the member `error` of a message. */
export function errorWords(status: number, json: string): JsonObject & { readonly message: unknown } {
  const body = objectOf(json);
  // FastAPI's bodies, which vLLM sends too, hold a detail or a word.
  const { error = body["detail"] } = body;
  const words: JsonObject = isObject(error) ? error : { message: typeof error === "string" ? error : json };
  const { type = status >= 500 ? "server_error" : "invalid_request_error", code = null, message = "", param = null, ...others } = words;
  return { type, code: typeof code === "number" ? `${code}` : code, message, param, ...others };
}

/** A JSON text as an object; an empty one where it is none. */
export function objectOf(json: string): JsonObject {
  try {
    const value: unknown = JSON.parse(json);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}
