/** Decides which requests get a fault, and makes it. */
import { sendJson } from "../api/shared/answer.ts";
import { errorEvent } from "../api/errors/answers.ts";
import { ApiError } from "../api/errors/api-error.ts";
import { faultAnswer } from "../api/errors/faults.ts";
import { peekBody } from "../api/shared/body.ts";
import type { ProfileName, RequestCounter } from "../api/shared/model-settings.ts";
import type { OwnHeader } from "../api/shared/overrides.ts";
import { asksForStream, dialectOf, type Provider, providerOf } from "../api/shared/provider.ts";
import type { Replies } from "../api/shared/replies.ts";
import { SpecError } from "../core/random/distribution.ts";
import { cannot, carrierOf, choose, type Fault, hits, parseFaults } from "../core/faults/fault.ts";
import { FaultySink, faultyPlan } from "../core/faults/faulty.ts";
import type { Meter } from "../core/pacing/meter.ts";
import type { Pacer } from "../core/pacing/pacer.ts";
import { type Seed, seedOf, seedOfRequest } from "../core/random/random.ts";
import type { ProtocolListener, ResponsePlan, ResponseSink, RouteRequest } from "../core/seams.ts";
import { nameOfKey } from "../base/keys.ts";
import { isOpenPath, keyOf } from "./gate.ts";

const header: OwnHeader = "x-fakeai-fault";
const noFaults: readonly Fault[] = [];

/** Settings in force, read for each request: they can change. */
export interface FaultSettings {
  readonly faults: readonly Fault[];
  readonly seed: number;
  readonly profile: ProfileName;
}

/** A fault and its number among those configured; those of a request count on. */
interface Candidate {
  readonly fault: Fault;
  readonly position: number;
}

/** Count the requests that a fault could hit: `requests` whole ones, `heads` those whose body is still to come. */
export interface FaultNumbers {
  readonly requests: RequestCounter;
  readonly heads: RequestCounter;
}

export class FaultInjector {
  readonly #settings: () => FaultSettings;
  readonly #pacer: Pick<Pacer, "send">;
  readonly #meter: Meter;
  readonly #numbers: FaultNumbers;
  readonly #replies: Replies;

  constructor(settings: () => FaultSettings, pacer: Pick<Pacer, "send">, meter: Meter, numbers: FaultNumbers, replies: Replies) {
    this.#settings = settings;
    this.#replies = replies;
    this.#numbers = numbers;
    this.#pacer = pacer;
    this.#meter = meter;
  }

  /** The sink for the answer, faulty or not. null: the request has its answer, or never gets one. Throws ApiError. */
  meet(request: RouteRequest, body: Uint8Array, sink: ResponseSink): ResponseSink | null {
    const asked = request.header(header);
    const { faults: configured, profile } = this.#settings();
    const replied = this.#replies.of(request)?.faults ?? noFaults;
    if ((configured.length === 0 && asked === undefined && replied.length === 0) || isOpenPath(request.path)) return sink;
    const index = this.#numbers.requests.next();
    const asks = asked === undefined ? noFaults : faultsOf(asked);
    for (const fault of asks) refuseUnfit(fault, request, body, sink, header);
    for (const fault of replied) refuseUnfit(fault, request, body, sink, "a reply's fault");
    const own = replied.length === 0 ? asks : [...replied, ...asks];
    let seed: Seed | null = null;
    const seedNow = (): Seed => (seed ??= this.#seedOf(request, body, index));
    const met = this.#candidates(request, configured, own).filter(
      ({ fault, position }) =>
        !(sink.carrier === undefined || cannot(fault.name, sink.carrier)) && fits(fault, request, body) && hits(fault, position, seedNow()),
    );
    const refusal = met.find(({ fault }) => fault.form === "refusal");
    if (refusal !== undefined) {
      this.#refuse(refusal, met, request, body, sink, profile, seedNow);
      return null;
    }
    const faults = met
      .map(({ fault }) => fault)
      .filter(({ name, requests }) => name !== "no_window_update" && (requests === null || this.#goesAway(requests, sink)));
    return faults.length === 0
      ? sink
      : new FaultySink(
          sink,
          faults,
          faults.some((fault) => own.includes(fault)),
        );
  }

  /** Sends a plan as its sink wants it. Throws ApiError where it cannot have the faults that were asked for. */
  send(plan: ResponsePlan, sink: ResponseSink, path: string): void {
    // As everywhere, faults of the server's own meet only what can have them.
    if (!(sink instanceof FaultySink) || (plan.frames.isOneBody === true && !sink.isAsked)) {
      this.#pacer.send(plan, sink);
      return;
    }
    if (plan.frames.isOneBody === true) {
      throw new ApiError(
        400,
        `${header}: an answer that is sent in pieces, as this one is for its size, takes no faults`,
        header,
        "invalid_value",
      );
    }
    const asker = { path, dialect: dialectOf({ path }, this.#settings().profile) };
    const teller = {
      made: ({ name }: Fault): void => this.#meter.countFault(name),
      errorEvent: (last: Uint8Array): string => errorEvent(asker, last),
    };
    this.#pacer.send(faultyPlan(plan, sink, teller), sink);
  }

  /** Whether the body of a request is to be left unread; asked when its head is there, and on HTTP/2 only. */
  withholds(request: RouteRequest): boolean {
    const asked = request.header(header);
    const { faults: configured } = this.#settings();
    if ((configured.length === 0 && asked === undefined) || request.method !== "POST") return false;
    let own: Fault[] = [];
    try {
      own = asked === undefined ? [] : faultsOf(asked);
    } catch {
      // `meet` answers with what is wrong with it.
    }
    const candidates = this.#candidates(request, configured, own).filter(({ fault }) => fault.name === "no_window_update");
    if (candidates.length === 0) return false;
    const seed = this.#seedOf(request, null, this.#numbers.heads.next());
    if (!candidates.some(({ fault, position }) => hits(fault, position, seed))) return false;
    this.#meter.countFault("no_window_update");
    return true;
  }

  /** Faults that could meet a request, before the rate decides. */
  #candidates(request: RouteRequest, configured: readonly Fault[], own: readonly Fault[]): Candidate[] {
    const provider: Provider = providerOf(request);
    let digest: string | null = null;
    const holdsKey = (wanted: string): boolean => {
      const key = keyOf(request, provider);
      digest ??= key === null ? "" : nameOfKey(key);
      return digest === wanted;
    };
    return [...configured, ...own]
      .map((fault, position) => ({ fault, position }))
      .filter(({ fault: { key, protocols } }) => (protocols?.includes(request.protocol) ?? true) && (key === null || holdsKey(key)));
  }

  /** An explicit seed decides alone; else the server's and the number of the request. */
  #seedOf(request: RouteRequest, body: Uint8Array | null, index: number): Seed {
    const given = Number(request.header("x-fakeai-seed") ?? (body === null ? Number.NaN : (peekBody(body)?.["seed"] ?? Number.NaN)));
    return Number.isSafeInteger(given) ? seedOf(given) : seedOfRequest(seedOf(this.#settings().seed), index);
  }

  /** Whether a GOAWAY after a number of requests falls on this one; if so it is sent at once. */
  #goesAway(requests: number, sink: ResponseSink): boolean {
    if (sink.requestOnConnection === undefined || sink.requestOnConnection % requests !== 0) return false;
    this.#meter.countFault("goaway");
    sink.inject!({ kind: "goaway", code: 0 });
    return true;
  }

  #refuse(
    { fault, position }: Candidate,
    met: readonly Candidate[],
    request: RouteRequest,
    body: Uint8Array,
    sink: ResponseSink,
    profile: ProfileName,
    seed: () => Seed,
  ): void {
    const name = fault.name === "one_of" ? choose(fault, position, seed()) : fault.name;
    const model = peekBody(body)?.["model"];
    const asked = {
      dialect: dialectOf(request, profile),
      model: typeof model === "string" ? model.slice(0, 256) : "",
      key: keyOf(request, providerOf(request)),
    };
    const { status, json, headers } = faultAnswer(fault, name, asked);
    const delay = met.find(({ fault }) => fault.name === "delay")?.fault;
    const names = delay === undefined ? name : `delay, ${name}`;
    const answer = (): void => sendJson(sink, this.#meter, status, json, { ...headers, [header]: names });
    this.#meter.countFault(name);
    if (delay === undefined) {
      answer();
      return;
    }
    this.#meter.countFault("delay");
    const timer = setTimeout(() => {
      sink.observer = null;
      answer();
    }, delay.us / 1000);
    timer.unref();
    // A client that goes away ends the wait.
    sink.observer = { onDrain: () => {}, onAbort: () => clearTimeout(timer) };
  }
}

/** Reads the header. Throws ApiError. */
function faultsOf(text: string): Fault[] {
  try {
    return parseFaults(text, header, nameOfKey);
  } catch (error) {
    if (error instanceof SpecError) throw new ApiError(400, error.message, header, "invalid_value");
    throw error;
  }
}

/** Answers in one piece and streams have faults of their own; a refusal suits both. */
function fits({ form, name }: Fault, request: RouteRequest, body: Uint8Array): boolean {
  if (form === "refusal") return true;
  if (request.method !== "POST") return false;
  if (name === "no_window_update" || form === "any") return true;
  return asksForStream(request, peekBody(body)) === (form === "stream");
}

/** Throws ApiError where a request asks for a fault that its connection or answer cannot have. */
function refuseUnfit(fault: Fault, request: RouteRequest, body: Uint8Array, sink: ResponseSink, where: string): void {
  const why =
    (sink.carrier === undefined ? "this connection makes no faults" : cannot(fault.name, sink.carrier)) ??
    (fits(fault, request, body) ? null : fault.form === "unary" ? "only an answer in one piece can have it" : "only a stream can have it");
  if (why !== null) throw new ApiError(400, `${where}: ${fault.name}: ${why}`, where === header ? header : null, "invalid_value");
}

/** Why one of the listeners cannot do what a fault asks for; null: all can. */
export function unfitFor(faults: readonly Fault[], listeners: readonly Pick<ProtocolListener, "protocol" | "engine">[]): string | null {
  for (const { name, protocols } of faults) {
    for (const { protocol, engine } of listeners) {
      const why = protocols !== null && !protocols.includes(protocol) ? null : cannot(name, carrierOf(protocol, engine));
      if (why === null) continue;
      const others = listeners.filter((other) => cannot(name, carrierOf(other.protocol, other.engine)) === null);
      const hint = others.length === 0 ? "" : `, or limit it: ${name}(protocol=${others.map(({ protocol }) => protocol).join("|")})`;
      return `--fault ${name} on ${protocol}: ${why}${hint}`;
    }
  }
  return null;
}
