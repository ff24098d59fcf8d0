/**
 * When each token of each streamed answer was due and was sent: kept on demand, for a bench whose client cannot see stamps.
 * Nothing is added on the wire, so a client reads what it would read from any server.
 */
import { channel } from "node:diagnostics_channel";
import type { StreamLogged, StreamRecord } from "../base/parent-channel.ts";
import { isHttp2 } from "../core/faults/fault.ts";
import { FaultySink } from "../core/faults/faulty.ts";
import type { Carrier, FrameSource, RequestHandler, ResponsePlan, ResponseSink, RouteRequest } from "../core/seams.ts";

/** The request header by which an answer is found again; OpenAI has it for support cases. */
const keyHeader = "x-client-request-id";
const longestKey = 64;

class LoggedFrames implements FrameSource {
  tokens = 0;
  readonly #frames: FrameSource;
  readonly #receivedUs: number;
  #dueUs: Int32Array;
  #sentUs: Int32Array;
  #tokens: Int32Array;
  #count = 0;
  /** Events that went, of every kind. */
  #events = 0;

  constructor({ frames, startUs, outputTokens }: ResponsePlan) {
    this.#frames = frames;
    this.#receivedUs = startUs;
    this.#dueUs = new Int32Array(outputTokens);
    this.#sentUs = new Int32Array(outputTokens);
    this.#tokens = new Int32Array(outputTokens);
  }

  get length(): number {
    return this.#frames.length;
  }

  /** Hot path. */
  frame(index: number, dueUs: number, sentUs: number): Uint8Array {
    const bytes = this.#frames.frame(index, dueUs, sentUs);
    this.tokens = this.#frames.tokens;
    this.#events += eventsIn(bytes);
    // Each frame that counts holds a token at least, so the arrays, one place for each token, are long enough.
    if (this.tokens > 0) {
      this.#tokens[this.#count] = this.tokens;
      this.#dueUs[this.#count] = dueUs - this.#receivedUs;
      this.#sentUs[this.#count++] = sentUs - this.#receivedUs;
    }
    return bytes;
  }

  /** Hot path. */
  restamp(copy: Uint8Array, sentUs: number): void {
    this.#frames.restamp?.(copy, sentUs);
    if (this.tokens > 0) this.#sentUs[this.#count - 1] = sentUs - this.#receivedUs;
  }

  get times(): Pick<StreamRecord, "dueUs" | "sentUs" | "tokens" | "events"> {
    const upTo = (column: Int32Array): Int32Array => column.slice(0, this.#count);
    return { dueUs: upTo(this.#dueUs), sentUs: upTo(this.#sentUs), tokens: upTo(this.#tokens), events: this.#events };
  }
}

const lineFeed = 10;

/** Hot path. Events that end in these bytes, by their empty lines: JSON holds no line feed. */
function eventsIn(bytes: Uint8Array): number {
  let events = 0;
  for (let at = bytes.indexOf(lineFeed); at >= 0; at = bytes.indexOf(lineFeed, at + 1)) if (bytes[at + 1] === lineFeed) events++;
  return events;
}

/** The protocol that a carrier speaks. */
function spokenOn(carrier: Carrier | undefined): StreamRecord["spoken"] {
  if (isHttp2(carrier)) return "h2";
  if (carrier === "quiche") return "h3";
  return carrier === "uws-ws" || carrier === "node-ws" ? "websocket" : "http/1.1";
}

interface Entry {
  readonly key: string | null;
  readonly spoken: StreamRecord["spoken"];
  readonly plan: ResponsePlan;
  readonly frames: LoggedFrames;
}

/** What sends plans: the pacer. */
interface Sender {
  send(plan: ResponsePlan, sink: ResponseSink): void;
}

const accepted = channel("net.server.socket");

/** Stands between the routes and the pacer. Costs a call for each token while it records, and one for each answer while it does not. */
export class StreamLog implements Sender {
  readonly #sender: Sender;
  readonly #countsConnections: boolean;
  #entries: Entry[] | null = null;
  #connections = 0;
  readonly #requests = new WeakMap<ResponseSink, RouteRequest>();
  readonly #onAccept = (): void => {
    this.#connections++;
  };

  /** `countsConnections`: whether every listener stands on node's own sockets. */
  constructor(sender: Sender, countsConnections: boolean) {
    this.#sender = sender;
    this.#countsConnections = countsConnections;
  }

  /** Starts to record, and forgets earlier records. */
  begin(): void {
    if (this.#entries === null) accepted.subscribe(this.#onAccept);
    this.#entries = [];
    this.#connections = 0;
  }

  /** The records since `begin`, those of answers under way included as far as they have come. null: `begin` was never called. */
  read(): StreamLogged | null {
    if (this.#entries === null) return null;
    const streams = this.#entries.map(({ key, spoken, plan, frames }): StreamRecord => {
      const { startUs, outputTokens, promptTokens, reasoningTokens = 0 } = plan;
      return { key, spoken, receivedUs: startUs, planned: outputTokens, promptTokens, reasoning: reasoningTokens, ...frames.times };
    });
    return { streams, connectionsAccepted: this.#countsConnections ? this.#connections : null };
  }

  /** A handler that remembers which request a sink answers. */
  watch(handler: RequestHandler): RequestHandler {
    return {
      ...handler,
      handle: (request, body, sink) => {
        if (this.#entries !== null) this.#requests.set(sink, request);
        handler.handle(request, body, sink);
      },
    };
  }

  send(plan: ResponsePlan, sink: ResponseSink): void {
    const request = this.#entries === null ? undefined : this.#requests.get(sink instanceof FaultySink ? sink.inner : sink);
    if (this.#entries === null || request === undefined || !plan.head.streamed || plan.head.status !== 200) {
      this.#sender.send(plan, sink);
      return;
    }
    const frames = new LoggedFrames(plan);
    const key = request.header(keyHeader)?.slice(0, longestKey) ?? null;
    this.#entries.push({ key, spoken: spokenOn(sink.carrier), plan, frames });
    this.#sender.send({ ...plan, frames }, sink);
  }
}
