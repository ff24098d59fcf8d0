/**
 * /v1/responses over WebSocket: lanes, what is in flight, conversations of a connection, errors in band
 * (developers.openai.com/api/docs/guides/websocket-mode; openai-python, types/responses/responses_client_event.py). Each
 * response.create becomes the request to POST /v1/responses that it stands for, so that it meets the same key, limits, faults,
 * plans and schedule; the events of its answer become messages.
 */
import { monotonicUs } from "../../base/clock.ts";
import type { JsonExcess } from "../../core/limits/json-bounds.ts";
import type { MessageAnswer, MessageForm, MessageSession, MessageSocket, Refusal, ResponseHead, RouteRequest } from "../../core/seams.ts";
import { errorAnswer } from "../errors/answers.ts";
import { ApiError, type Problem } from "../errors/api-error.ts";
import { isObject, type JsonObject, knowBody, parseBody, requiredString, unsupportedValue } from "../shared/body.ts";
import type { ProfileName } from "../shared/model-settings.ts";
import { bodyOfMessage, ResponsesMessage } from "./message-request.ts";
import type { OwnResponses, ResponseMemory, ResponseStore, StoredResponse, StoreOf } from "./response-store.ts";
import {
  closeGoingAway,
  closeNormal,
  closing,
  type EndpointOptions,
  errorWords,
  MessageReader,
  objectOf,
  readMessage,
} from "./socket-messages.ts";
import { callsOf, continued, itemsOf, type SteerCode, steerFailed, steerFault, Steering } from "./steering.ts";

/** Messages that may wait for their turn on a connection, and their bytes. */
const mostQueued = 1024;
const mostQueuedBytes = 16_777_216;

/** Types of what a client sends. */
const clientEvents = ["response.create", "response.steer", "response.processed"];

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Beyond `mostInFlight` responses wait for their turn. */
export interface SocketOptions extends EndpointOptions {
  readonly profile: () => ProfileName;
  /** Keeps conversations. */
  readonly store: ResponseStore;
  /** Of these, those under ids that a handshake may see. */
  readonly storeOf: StoreOf;
  /** Whether a response is found by other clients: false where each of several processes has its own memory. */
  readonly isShared: boolean;
  /** Names of lanes that a connection may use in its life. */
  readonly mostLanes: number;
}

/** A response.create that waits for its turn. */
interface Waiting {
  readonly body: Uint8Array;
  readonly receivedUs: number;
}

/** Messages of one stream_id: one response after the other. */
class Lane {
  /** null: the default lane. */
  readonly id: string | null;
  readonly members: Uint8Array;
  readonly queue: Waiting[] = [];
  isBusy = false;
  /** When its last response was over, absolute microseconds: one that waited for it counts from then. */
  freeUs = 0;
  /** Id of its most recent response, from which it goes on. */
  latest: string | null = null;
  running: Running | null = null;
  /** Steering input that waits for the output of tools. */
  waiting: Steering | null = null;
  /** Steering input that its next response, which is queued first, is made of. */
  successor: Steering | null = null;

  constructor(id: string | null) {
    this.id = id;
    this.members = id === null ? new Uint8Array() : encoder.encode(`,"stream_id":${JSON.stringify(id)}`);
  }
}

/** A response under way. */
interface Running {
  readonly lane: Lane;
  readonly body: Uint8Array;
  readonly request: ResponsesMessage;
  /** null while it is begun. */
  answer: MessageAnswer | null;
  /** Input that was queued for it. */
  steering: Steering | null;
  /** What it was made of by steering another; null: a client asked for it. */
  readonly successorOf: Steering | null;
  /** What it goes on from. */
  readonly previousId: string | null;
}

export class ResponsesSocket implements MessageSession {
  readonly #socket: MessageSocket;
  readonly #handshake: RouteRequest;
  readonly #options: SocketOptions;
  /** Responses under ids that this client may see. */
  readonly #own: OwnResponses;
  readonly #defaultLane = new Lane(null);
  readonly #lanes = new Map<string, Lane>();
  /** Lanes with something to begin, in the order in which it came. */
  #ready: Lane[] = [];
  #inFlight = 0;
  /** When there was room in flight again, after there was none. */
  #freeUs = 0;
  #queued = 0;
  #queuedBytes = 0;
  #isBeginning = false;
  readonly #reader: MessageReader;
  #draining = false;
  readonly #lifetime: ReturnType<typeof setTimeout>;

  constructor(socket: MessageSocket, handshake: RouteRequest, options: SocketOptions) {
    this.#socket = socket;
    this.#handshake = handshake;
    this.#options = options;
    this.#own = options.storeOf(handshake);
    this.#reader = new MessageReader(socket, options.later, (text) => this.#read(text));
    this.#lifetime = setTimeout(() => this.#expire(), options.lifetimeMs);
  }

  onMessage(text: Uint8Array): void {
    this.#reader.take(text);
  }

  #read(text: Uint8Array): void {
    let lane: string | null = null;
    try {
      const message = readMessage(text);
      lane = typeof message["stream_id"] === "string" && isLaneName(message["stream_id"]) ? message["stream_id"] : null;
      const type = requiredString(message, "type");
      if (type === "response.create") this.#create(text, message);
      else if (type === "response.steer") this.#steer(message);
      // Older clients tell what they have read; it needs no answer.
      else if (type !== "response.processed") throw unsupportedValue("type", type, clientEvents);
    } catch (error) {
      this.#sendProblem(error instanceof ApiError ? error.problem : { kind: "internal" }, lane);
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /** Queues input for a response under way, and ends it early where that can be. */
  #steer(message: JsonObject): void {
    const { input, previous_response_id: id } = message;
    const refuse = (code: SteerCode, words: string, lane: string | null = null): void =>
      this.#socket.send(steerFailed(code, words, { input, responseId: id }, lane));
    const fault = steerFault(message);
    if (fault !== null) return refuse("invalid_input", fault);
    const responseId = String(id);
    const running = this.#allLanes()
      .flatMap((lane) => lane.running ?? [])
      .find(({ request }) => request.steerable?.id === responseId);
    if (running === undefined) {
      const known = this.#memoryOf(this.#defaultLane).get(responseId);
      const shown = responseId.slice(0, 100);
      if (known === undefined) return refuse("response_not_found", `No response with id '${shown}' is in progress on this connection.`);
      const isWhole = (JSON.parse(known.json) as { status?: unknown }).status === "completed";
      if (isWhole) return refuse("response_already_completed", `The response '${shown}' has been completed.`);
      return refuse("response_not_active", `The response '${shown}' has ended.`);
    }
    const { lane, request, answer } = running;
    const steerable = request.steerable!;
    if (steerable.refusal !== null) return refuse("steering_not_supported", steerable.refusal, lane.id);
    running.steering ??= new Steering(responseId, lane.id, (text) => this.#socket.send(text));
    if (!running.steering.add(input)) return;
    const events = steerable.cut();
    if (events !== null) answer?.endEarly(events);
  }

  /** A steered response has ended: its input goes into a successor, or waits for the output of tools. */
  #succeed({ lane, body, steering }: Running): void {
    if (steering === null || steering.isEmpty || this.#socket.closed) return;
    const ended = lane.latest === steering.responseId ? this.#options.store.get(lane) : undefined;
    if (ended === undefined || this.#draining) {
      this.#socket.send(steering.giveBack("The steered response did not end well, or this server is closing."));
      return;
    }
    const calls = callsOf(ended.json);
    if (calls.length > 0) {
      if (lane.waiting !== null) this.#socket.send(lane.waiting.giveBack("Another response of this lane was steered."));
      lane.waiting = steering;
      steering.pend(calls);
      return;
    }
    const message = continued(parseBody(body), steering.items(), steering.responseId);
    lane.successor = steering;
    this.#enqueue(lane, encoder.encode(JSON.stringify(message)), message, true);
  }

  #allLanes(): Lane[] {
    return [this.#defaultLane, ...this.#lanes.values()];
  }

  onRefused(reason: Refusal, excess: JsonExcess): void {
    this.#reader.after(() => this.#sendProblem({ kind: "refused", reason, limits: this.#options.limits, excess, ofMessage: true }, null));
  }

  /** Puts a message into its lane. Throws ApiError. */
  #create(text: Uint8Array, message: JsonObject): void {
    const lane = this.#laneOf(message["stream_id"]);
    if (this.#draining) throw closing();
    const isFirst = lane.queue.length === 0 && !lane.isBusy;
    if (!isFirst && (this.#queued >= mostQueued || this.#queuedBytes + text.length > mostQueuedBytes)) {
      throw new ApiError(
        429,
        `More than ${mostQueued} messages, or ${mostQueuedBytes} bytes, wait on this connection.`,
        null,
        "queue_full",
      );
    }
    const { waiting } = lane;
    if (waiting === null || message["previous_response_id"] !== waiting.responseId)
      this.#enqueue(lane, bodyOfMessage(text), message, false);
    else {
      lane.waiting = null;
      const input = [...waiting.items(), ...itemsOf(message["input"])];
      const joined = continued(message, input, waiting.responseId);
      this.#enqueue(lane, encoder.encode(JSON.stringify(Object.assign(joined, { stream: true, background: false }))), joined, false);
    }
  }

  /** Puts the body of a request into its lane, before all others of it or behind them. */
  #enqueue(lane: Lane, body: Uint8Array, message: JsonObject, isFirst: boolean): void {
    const isReady = lane.queue.length > 0 || lane.isBusy;
    knowBody(body, Object.assign(message, { stream: true, background: false }));
    const waiting = { body, receivedUs: monotonicUs() };
    if (isFirst) lane.queue.unshift(waiting);
    else lane.queue.push(waiting);
    this.#queued++;
    this.#queuedBytes += body.length;
    if (!isReady) this.#ready.push(lane);
    this.#begin();
  }

  /** Throws ApiError for a name that is none, and for one too many. */
  #laneOf(id: unknown): Lane {
    if (id === undefined || id === null) return this.#defaultLane;
    if (!isLaneName(id)) {
      const rule =
        "must be a non-empty string with at most 256 characters and may only contain letters, numbers, underscores, hyphens, and periods";
      throw new ApiError(400, `The 'stream_id' field ${rule}.`, "stream_id", "invalid_stream_id");
    }
    let lane = this.#lanes.get(id);
    if (lane === undefined) {
      const { mostLanes } = this.#options;
      if (this.#lanes.size >= mostLanes) {
        const message = `This WebSocket connection has reached its maximum number of distinct stream IDs (${mostLanes}). Reuse an existing stream_id or open a new WebSocket connection.`;
        throw new ApiError(400, message, "stream_id", "websocket_stream_limit_reached");
      }
      this.#lanes.set(id, (lane = new Lane(id)));
    }
    return lane;
  }

  /** Begins what may begin: one response a lane, and so many in all. */
  #begin(): void {
    // An answer that is there at once ends within the call that began it.
    if (this.#isBeginning) return;
    this.#isBeginning = true;
    const startMs = performance.now();
    while (this.#ready.length > 0 && this.#inFlight < this.#options.mostInFlight && !this.#socket.closed) {
      if (performance.now() - startMs > sliceMs) {
        this.#options.later(() => this.#begin());
        break;
      }
      const lane = this.#ready.shift()!;
      const { body, receivedUs } = lane.queue.shift()!;
      this.#queued--;
      this.#queuedBytes -= body.length;
      this.#start(lane, body, Math.max(receivedUs, lane.freeUs, this.#freeUs));
    }
    this.#isBeginning = false;
    if (this.#draining && this.#inFlight === 0) this.#socket.close(closeGoingAway, "the server is closing");
  }

  #start(lane: Lane, body: Uint8Array, receivedUs: number): void {
    lane.isBusy = true;
    this.#inFlight++;
    const message = parseBody(body);
    knowBody(body, message);
    const previous = message["previous_response_id"];
    const request = new ResponsesMessage(this.#handshake, message, receivedUs, this.#memoryOf(lane));
    const running: Running = {
      lane,
      body,
      request,
      answer: null,
      steering: null,
      successorOf: lane.successor,
      previousId: typeof previous === "string" ? previous : null,
    };
    lane.successor = null;
    lane.running = running;
    const answer = this.#socket.sink(this.#formOf(running));
    running.answer = answer;
    this.#options.handle(request, body, answer);
  }

  #formOf(running: Running): MessageForm {
    const { lane } = running;
    return {
      members: lane.members,
      messageOf: (head, body) => {
        if (head.status >= 400) this.#evict(running);
        const { successorOf } = running;
        if (head.status >= 400 && successorOf !== null) {
          return successorOf.giveBack(wordsIn(decoder.decode(body)));
        }
        return errorMessage(head, decoder.decode(body), lane.id);
      },
      errorOf: (json) => nestedError(json, lane.id),
      over: () => {
        lane.isBusy = false;
        lane.running = null;
        lane.freeUs = monotonicUs();
        if (this.#inFlight-- === this.#options.mostInFlight) this.#freeUs = lane.freeUs;
        if (lane.queue.length > 0) this.#ready.push(lane);
        this.#succeed(running);
        if (!this.#socket.closed) this.#begin();
      },
    };
  }

  /** A lane that failed to go on from a response forgets it; another lane that forked it leaves it alone. */
  #evict({ lane, previousId }: Running): void {
    if (previousId === null || lane.latest !== previousId) return;
    lane.latest = null;
    this.#options.store.delete(lane);
  }

  #memoryOf(lane: Lane): ResponseMemory {
    const { store, isShared } = this.#options;
    return {
      get: (id) => this.#latest(lane, id) ?? this.#latestOfOthers(id) ?? (isShared ? this.#own.get(id) : undefined),
      keeps: () => !this.#socket.closed || isShared,
      add: (stored, isStored) => {
        if (!this.#socket.closed) {
          lane.latest = stored.id;
          store.put(lane, stored);
        }
        if (isStored && isShared) this.#own.add(stored);
      },
    };
  }

  #latest(lane: Lane, id: string): StoredResponse | undefined {
    return lane.latest === id ? this.#options.store.get(lane) : undefined;
  }

  /** The latest response of another lane can be forked. */
  #latestOfOthers(id: string): StoredResponse | undefined {
    for (const lane of this.#allLanes()) {
      const found = this.#latest(lane, id);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #sendProblem(problem: Problem, lane: string | null): void {
    const { status, json, headers } = errorAnswer(problem, this.#options.profile());
    this.#socket.send(errorMessage({ status, headers, streamed: false }, json, lane));
  }

  /** The end of the longest life of a connection. */
  #expire(): void {
    const minutes = this.#options.lifetimeMs / 60_000;
    const message = `Responses websocket connection limit reached (${Number(minutes.toFixed(2))} minutes). Create a new websocket connection to continue.`;
    const error = { type: "invalid_request_error", code: "websocket_connection_limit_reached", message };
    this.#socket.send(JSON.stringify({ type: "error", error, status: 400 }));
    this.#socket.close(closeNormal, "");
  }

  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    for (const lane of this.#allLanes()) {
      for (const _ of lane.queue) {
        this.#sendProblem(
          {
            kind: "request",
            status: 503,
            message: "This server is closing. Open a new connection.",
            param: null,
            code: "server_shutting_down",
            headers: {},
          },
          lane.id,
        );
      }
      lane.queue.length = 0;
    }
    this.#ready = [];
    this.#begin();
  }

  onClose(): void {
    clearTimeout(this.#lifetime);
    for (const lane of this.#allLanes()) {
      this.#options.store.delete(lane);
      lane.queue.length = 0;
    }
    this.#ready = [];
    this.#reader.forget();
  }
}

/** For how long responses are begun in one turn of the event loop, milliseconds. */
const sliceMs = 2;

const laneName = /^[A-Za-z0-9_.-]{1,256}$/;

function isLaneName(id: unknown): id is string {
  return typeof id === "string" && laneName.test(id);
}

/** Headers of an answer that tell when to come again: clients find them in the message. */
const retryHeaders = ["retry-after", "retry-after-ms"];

/** The message for an answer in one piece: what HTTP would have answered, within an event of the type "error". */
function errorMessage({ status, headers }: ResponseHead, json: string, lane: string | null): string {
  const retry = Object.fromEntries(retryHeaders.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])));
  return JSON.stringify({
    type: "error",
    status,
    ...(lane !== null && { stream_id: lane }),
    error: errorWords(status, json),
    ...(Object.keys(retry).length > 0 && { headers: retry }),
  });
}

/** What an answer in one piece says of why it is one. */
function wordsIn(json: string): string {
  const { error } = objectOf(json);
  return isObject(error) && typeof error["message"] === "string" ? error["message"] : json.slice(0, 500);
}

/** The message for an event of the type "error": over HTTP its words stand beside its type, here within `error`, with a status. */
function nestedError(json: string, lane: string | null): string {
  const { type: _type, code = null, message = "", param = null, sequence_number } = objectOf(json);
  const error = { type: "server_error", code, message, param };
  return JSON.stringify({ type: "error", status: 500, ...(lane !== null && { stream_id: lane }), error, sequence_number });
}
