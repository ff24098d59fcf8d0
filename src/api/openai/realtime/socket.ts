/**
 * /v1/realtime over WebSocket: the text events of the Realtime API (developers.openai.com/api/docs/guides/realtime; openai-node 7,
 * resources/realtime/realtime.d.ts). Each response.create becomes the request to /v1/responses that it stands for, so that it meets
 * the same key, limits, faults, plans and schedule; the events of its answer become messages. What is wrong with a client's event is
 * told in an event, and never ends the session.
 */
import { monotonicUs } from "../../../base/clock.ts";
import type { JsonExcess } from "../../../core/limits/json-bounds.ts";
import type { MessageAnswer, MessageForm, MessageSession, MessageSocket, Refusal, RouteRequest } from "../../../core/seams.ts";
import { errorAnswer } from "../../errors/answers.ts";
import { ApiError, type Problem } from "../../errors/api-error.ts";
import { isObject, type JsonObject, knowBody, unsupportedValue } from "../../shared/body.ts";
import type { ModelSettings } from "../../shared/model-settings.ts";
import { checkForm } from "../form.ts";
import {
  closeGoingAway,
  closeNormal,
  closing,
  type EndpointOptions,
  errorWords,
  MessageReader,
  objectOf,
  readMessage,
} from "../socket-messages.ts";
import { Conversation, type ConversationMemory, type Input, inputOf, noAudio, readItem } from "./conversation.ts";
import { SessionIds } from "./ids.ts";
import { RealtimeMessage } from "./plan.ts";
import { bodyOf, checkSettings, RealtimeSession } from "./session.ts";

/** What the API closes with where the handshake names no session that it has. */
const closeNoSession = 4000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export interface RealtimeOptions extends EndpointOptions {
  readonly settings: () => Pick<ModelSettings, "profile" | "models">;
  /** Bytes of the conversations of all sessions. */
  readonly conversations: ConversationMemory;
}

/** A response under way. */
interface Running {
  readonly message: RealtimeMessage;
  readonly isOutOfBand: boolean;
  /** Id of the client's event that asked for it. */
  readonly eventId: string | null;
  /** null while it is begun. */
  answer: MessageAnswer | null;
}

export class RealtimeSocket implements MessageSession {
  readonly #socket: MessageSocket;
  readonly #handshake: RouteRequest;
  readonly #options: RealtimeOptions;
  readonly #ids = new SessionIds();
  readonly #session: RealtimeSession;
  readonly #conversation: Conversation;
  readonly #reader: MessageReader;
  readonly #running = new Set<Running>();
  #responses = 0;
  #draining = false;
  readonly #lifetime: ReturnType<typeof setTimeout>;

  constructor(socket: MessageSocket, handshake: RouteRequest, options: RealtimeOptions) {
    this.#socket = socket;
    this.#handshake = handshake;
    this.#options = options;
    this.#reader = new MessageReader(socket, options.later, (text) => this.#read(text));
    const query = new URLSearchParams(handshake.query);
    const model = query.get("model") ?? "";
    const { conversations, lifetimeMs } = options;
    this.#session = new RealtimeSession(this.#ids.next("sess"), model, Math.floor((Date.now() + lifetimeMs) / 1000), conversations);
    this.#conversation = new Conversation(this.#ids.next("conv"), conversations);
    this.#lifetime = setTimeout(() => this.#expire(), options.lifetimeMs);
    const refusal = this.#refusal(query, model);
    if (refusal === null) this.#say("session.created", { session: this.#session.shown() });
    else this.#refuse(refusal);
  }

  /** Why there is no such session; null: there is. */
  #refusal(query: URLSearchParams, model: string): readonly [code: string, message: string] | null {
    const isBeta =
      this.#handshake.header("openai-beta")?.includes("realtime=v1") === true ||
      this.#handshake.header("sec-websocket-protocol")?.includes("openai-beta.realtime-v1") === true;
    if (isBeta) return ["beta_api_shape_disabled", "The beta shape of the Realtime API is not served: leave out 'realtime=v1'."];
    for (const name of ["intent", "call_id"])
      if (query.has(name)) return ["unsupported_value", `Sessions with '${name}' are not supported here: name a model.`];
    if (model === "")
      return ["missing_model", "You must provide a model parameter, for example ws://127.0.0.1:8000/v1/realtime?model=gpt-realtime"];
    const { models } = this.#options.settings();
    if (models !== null && !models.includes(model))
      return ["invalid_model", `Model "${model.slice(0, 100)}" is not supported in realtime mode.`];
    return null;
  }

  #refuse([code, message]: readonly [code: string, message: string]): void {
    const type = "invalid_request_error";
    this.#sendError({ type, code, message, param: null }, null);
    this.#socket.close(closeNoSession, `${type}.${code}`);
  }

  onMessage(text: Uint8Array): void {
    this.#reader.take(text);
  }

  /** A binary message. */
  onBinary(): void {
    const message = "Expected a text WebSocket message; binary frames are not supported.";
    this.#reader.after(() => this.#sendError({ type: "invalid_request_error", code: "invalid_event", message, param: null }, null));
  }

  onRefused(reason: Refusal, excess: JsonExcess): void {
    this.#reader.after(() => this.#sendProblem({ kind: "refused", reason, excess, limits: this.#options.limits, ofMessage: true }, null));
  }

  #read(text: Uint8Array): void {
    let eventId: string | null = null;
    try {
      const event = readMessage(text);
      eventId = typeof event["event_id"] === "string" ? event["event_id"] : null;
      if (event["type"] === undefined) throw new ApiError(400, "The 'type' field is missing.", null, "invalid_event");
      checkForm("/v1/realtime", event, this.#options.settings().profile);
      this.#take(event, eventId);
    } catch (error) {
      this.#sendProblem(error instanceof ApiError ? error.problem : { kind: "internal" }, eventId);
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /** Does what an event asks for. Throws ApiError. */
  #take(event: JsonObject, eventId: string | null): void {
    switch (event["type"]) {
      case "session.update":
        this.#session.update(event["session"]);
        this.#say("session.updated", { session: this.#session.shown() });
        return;
      case "conversation.item.create":
        this.#addItem(event);
        return;
      case "conversation.item.delete": {
        const id = idIn(event, "item_id");
        this.#conversation.delete(id);
        this.#say("conversation.item.deleted", { item_id: id });
        return;
      }
      case "conversation.item.retrieve":
        this.#say("conversation.item.retrieved", { item: this.#conversation.retrieve(idIn(event, "item_id")) });
        return;
      case "response.create":
        this.#create(event["response"] ?? {}, eventId);
        return;
      case "response.cancel":
        this.#cancel(event["response_id"]);
        return;
      default:
        // What is left of the client's events is of audio: its buffers, and what of it was heard.
        throw noAudio("type");
    }
  }

  #addItem(event: JsonObject): void {
    const item = readItem(event["item"], "item", (prefix) => this.#ids.next(prefix));
    const { previous_item_id: previous } = event;
    const members = {
      previous_item_id: this.#conversation.insert(item, typeof previous === "string" && previous !== "" ? previous : null),
      item,
    };
    this.#say("conversation.item.added", members);
    this.#say("conversation.item.done", members);
  }

  /** Begins a response. Throws ApiError. */
  #create(given: unknown, eventId: string | null): void {
    if (this.#draining) throw closing();
    const params = isObject(given) ? given : {};
    checkSettings(params, "response");
    const isOutOfBand = this.#isOutOfBand(params["conversation"]);
    if (!isOutOfBand) this.#checkIdle();
    const { mostInFlight } = this.#options;
    if (this.#running.size >= mostInFlight)
      throw new ApiError(429, `At most ${mostInFlight} responses of a session are made at the same time.`, null, "too_many_responses");
    const inputs = this.#inputs(params["input"]);
    const settings = this.#session.settingsWith(params);
    const { value, json } = bodyOf(this.#session.model, settings, params["metadata"], inputs);
    const bytes = encoder.encode(json);
    knowBody(bytes, value);
    const message = new RealtimeMessage(this.#handshake, monotonicUs(), {
      conversation: isOutOfBand ? null : this.#conversation,
      number: ++this.#responses,
      maxOutputTokens: settings["max_output_tokens"],
      metadata: params["metadata"],
    });
    const running: Running = { message, isOutOfBand, eventId, answer: null };
    this.#running.add(running);
    running.answer = this.#socket.sink(this.#formOf(running));
    this.#options.handle(message, bytes, running.answer);
  }

  #isOutOfBand(conversation: unknown): boolean {
    if (conversation === "none") return true;
    if (conversation === undefined || conversation === null || conversation === "auto" || conversation === this.#conversation.id)
      return false;
    throw unsupportedValue("response.conversation", conversation, ["auto", "none"]);
  }

  /** Throws ApiError while a response is written into the conversation, and where it can take none. */
  #checkIdle(): void {
    const active = this.#active();
    if (active === undefined) return this.#conversation.checkRoom();
    const id = active.message.planned?.story.id;
    const message = `Conversation already has an active response in progress${id === undefined ? "" : `: ${id}`}. Wait until the response is finished before creating a new one.`;
    throw new ApiError(400, message, null, "conversation_already_has_active_response");
  }

  /** The response that is written into the conversation. */
  #active(): Running | undefined {
    return [...this.#running].find(({ isOutOfBand }) => !isOutOfBand);
  }

  /** What a response reads: the conversation, or what it names instead. Throws ApiError. */
  #inputs(input: unknown): readonly Input[] {
    if (!Array.isArray(input)) return this.#conversation.inputs();
    return input.map((value: unknown, index) => {
      const param = `response.input[${index}]`;
      if (!isObject(value) || value["type"] !== "item_reference")
        return inputOf(readItem(value, param, (prefix) => this.#ids.next(prefix)));
      const item = this.#conversation.get(idIn(value, "id", param));
      if (item !== undefined) return item;
      throw new ApiError(400, `Item with id '${String(value["id"]).slice(0, 100)}' not found.`, `${param}.id`, "item_not_found");
    });
  }

  /** Ends a response where it is. Throws ApiError where none is under way. */
  #cancel(id: unknown): void {
    const running = typeof id === "string" ? [...this.#running].find(({ message }) => message.planned?.story.id === id) : this.#active();
    const events = running?.message.planned?.story.cancel() ?? null;
    if (events === null) throw new ApiError(400, "Cancellation failed: no active response found", null, "response_cancel_not_active");
    running!.answer?.endEarly(events);
  }

  #formOf(running: Running): MessageForm {
    const { message, eventId } = running;
    return {
      members: new Uint8Array(),
      messageOf: (head, body) => this.#errorEvent(errorWords(head.status, decoder.decode(body)), eventId),
      errorOf: (json) => {
        const { code = null, message: words = "", param = null } = objectOf(json);
        const error = { type: "server_error", code, message: words };
        const [first, ...others] = [this.#errorEvent({ ...error, param }, eventId), ...(message.planned?.story.fail(error) ?? [])];
        if (others.length === 0) return first;
        this.#socket.send(first);
        for (const other of others.slice(0, -1)) this.#socket.send(other);
        return others.at(-1)!;
      },
      over: () => {
        this.#running.delete(running);
        this.#finish(running);
        if (this.#draining && this.#running.size === 0) this.#socket.close(closeGoingAway, "the server is closing");
      },
    };
  }

  /** A response is over. */
  #finish({ message, answer }: Running): void {
    if (this.#socket.closed || message.planned === null) return;
    const { story, headers } = message.planned;
    if (story.hasEnded) this.#say("rate_limits.updated", { rate_limits: rateLimits({ ...headers, ...answer?.extraHeaders }) });
    else story.abandon();
  }

  #say(type: string, members: object): void {
    this.#socket.send(JSON.stringify({ type, event_id: this.#ids.next("event"), ...members }));
  }

  #errorEvent(error: object, eventId: string | null): string {
    return JSON.stringify({ type: "error", event_id: this.#ids.next("event"), error: { ...error, event_id: eventId } });
  }

  #sendError(error: object, eventId: string | null): void {
    this.#socket.send(this.#errorEvent(error, eventId));
  }

  #sendProblem(problem: Problem, eventId: string | null): void {
    const { status, json } = errorAnswer(problem, this.#options.settings().profile);
    this.#sendError(errorWords(status, json), eventId);
  }

  /** The end of the longest life of a session. */
  #expire(): void {
    const minutes = Number((this.#options.lifetimeMs / 60_000).toFixed(2));
    const message = `Your session hit the maximum duration of ${minutes} minutes.`;
    this.#sendError({ type: "invalid_request_error", code: "session_expired", message, param: null }, null);
    this.#socket.close(closeNormal, "");
  }

  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    if (this.#running.size === 0) this.#socket.close(closeGoingAway, "the server is closing");
  }

  onClose(): void {
    clearTimeout(this.#lifetime);
    this.#session.clear();
    this.#conversation.clear();
    this.#reader.forget();
  }
}

/** The id in an event. Throws ApiError. */
function idIn(event: JsonObject, name: string, param = ""): string {
  const value = event[name];
  if (typeof value === "string") return value;
  const path = param === "" ? name : `${param}.${name}`;
  throw new ApiError(400, `Missing required parameter: '${path}'.`, path, "missing_required_parameter");
}

/** What is left of the limits, from the headers that HTTP would show; empty where they show none. */
function rateLimits(headers: Readonly<Record<string, string>>): object[] {
  return ["requests", "tokens"].flatMap((name) => {
    const [limit, remaining, reset] = ["limit", "remaining", "reset"].map((what) => headers[`x-ratelimit-${what}-${name}`]);
    if (limit === undefined || remaining === undefined || reset === undefined) return [];
    return [{ name, limit: Number(limit), remaining: Number(remaining), reset_seconds: secondsOf(reset) }];
  });
}

const unitSeconds: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, ms: 0.001 };

/** A time as headers write it ("1m3.5s", "12ms"), in seconds. */
function secondsOf(text: string): number {
  let seconds = 0;
  for (const [, number, unit] of text.matchAll(/([\d.]+)(ms|[hms])/g)) seconds += Number(number) * unitSeconds[unit!]!;
  return Number(seconds.toFixed(3));
}
