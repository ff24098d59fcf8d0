/** Answers from a tape: finds the recorded call of a request and plans it again. */
import { ApiError } from "../api/errors/api-error.ts";
import { peekBody } from "../api/shared/body.ts";
import { booleanHeader, headerError, integerHeader } from "../api/shared/overrides.ts";
import { clockIdentity } from "../base/clock.ts";
import { instanceId } from "../base/instance.ts";
import { UsageError } from "../base/usage-error.ts";
import { FaultySink } from "../core/faults/faulty.ts";
import type { ResponsePlan, ResponseSink, RouteRequest } from "../core/seams.ts";
import { coverSecrets, secretsOf } from "../tape/redact.ts";
import { TapeIndex } from "../tape/match.ts";
import { type Playable, planOf, playableOf } from "../tape/playback.ts";
import { readTape } from "../tape/reader.ts";
import type { ReplaySettings } from "../settings/server.ts";

/** Headers of ours that ask for another answer than the recorded one. */
const changing = ["x-fakeai-ttft", "x-fakeai-itl", "x-fakeai-output-tokens", "x-fakeai-text", "x-fakeai-tokens-per-chunk"] as const;

export class ReplayDesk {
  /** Recorded calls. */
  readonly calls: number;
  /** Requests that several of them answer. */
  readonly sequences: number;
  readonly #settings: ReplaySettings;
  readonly #index: TapeIndex;
  readonly #playable: readonly Playable[];

  private constructor(settings: ReplaySettings, index: TapeIndex, playable: readonly Playable[]) {
    this.#settings = settings;
    this.#index = index;
    this.#playable = playable;
    this.calls = playable.length;
    this.sequences = index.sequences;
  }

  /** In one line for an operator. */
  describe(): string {
    const { tape, speed, unmatched } = this.#settings;
    const pace = speed === Infinity ? "without waiting" : speed === 1 ? "as recorded" : `${speed} times as fast as recorded`;
    const others = unmatched === "error" ? "other requests get an error" : "other requests get made-up text";
    return `${this.calls} ${this.calls === 1 ? "call" : "calls"} of ${tape} are answered ${pace}; ${others}`;
  }

  /** Reads the tape. `shared`: other processes answer from it too. Rejects with UsageError. */
  static async of(settings: ReplaySettings, shared: boolean): Promise<ReplayDesk> {
    const { calls } = await readTape(settings.tape, "--replay");
    const desk = new ReplayDesk(settings, new TapeIndex(calls, settings.ignore), calls.map(playableOf));
    if (shared && desk.sequences > 0) {
      const what = desk.sequences === 1 ? "one request of the tape has" : `${desk.sequences} requests of the tape have`;
      throw new UsageError(`--replay: ${what} several answers, whose order one process counts: leave out --workers`);
    }
    return desk;
  }

  /**
   * The plan of the call that answers a request; null: none, and made-up text is to answer. `stamps`: whether events carry them where
   * the request does not say. Throws ApiError.
   */
  plan(request: RouteRequest, body: Uint8Array, sink: ResponseSink, stamps: boolean): ResponsePlan | null {
    const { method, path, query } = request;
    const value = body.length === 0 ? null : valueAsTaped(request, body);
    const asked = { method, path, query, body: value };
    const named = integerHeader(request, "x-fakeai-call");
    const index = this.#index.take(asked, named ?? null);
    if (index < 0) {
      if (this.#settings.unmatched === "generate") return null;
      if (named !== undefined)
        throw headerError("x-fakeai-call", `x-fakeai-call: call ${named} of the tape is no answer to this ${method} ${path.slice(0, 256)}`);
      const why = this.#index.describeNearest(asked);
      const hint = "(HINT: --replay-ignore leaves members out; --replay-unmatched generate answers such requests with made-up text.)";
      throw new ApiError(404, `No recorded call fits this ${method} ${path.slice(0, 256)}: ${why}. ${hint}`, null, "no_recorded_call");
    }
    const given = changing.find((name) => request.header(name) !== undefined);
    if (given !== undefined)
      throw headerError(given, `${given}: a tape decides what is answered and when; --replay-speed changes its pace`);
    const call = this.#playable[index]!;
    const isStamped = booleanHeader(request, "x-fakeai-stamps") ?? stamps;
    return planOf(call, {
      startUs: request.receivedUs,
      speed: this.#settings.speed,
      stamps: isStamped ? { "x-fakeai-clock": clockIdentity, "x-fakeai-instance": instanceId } : null,
      cut: () => cut(sink),
      // Faults count what is written, and a head is none of it.
      headAlone: request.engine !== "uws" && !(sink instanceof FaultySink),
    });
  }
}

/** Secrets that are looked for in a request: each is a search of its whole body. */
const mostSecrets = 16;

/** A body as a tape has it: a key of its request that it repeats is covered there, as in a prompt that quotes it. */
function valueAsTaped(request: RouteRequest, body: Uint8Array): unknown {
  const value = peekBody(body);
  const headers = request.headerNames().map((name) => [name, request.header(name) ?? ""] as const);
  const secrets = secretsOf({ headers, query: request.query, body: value }).slice(0, mostSecrets);
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.length);
  if (!secrets.some((secret) => bytes.includes(secret))) return value ?? body;
  const covered = Buffer.from(body);
  coverSecrets(covered, secrets);
  return peekBody(covered) ?? covered;
}

/** Breaks an answer off: by a reset of its stream, or with its connection. */
function cut(sink: ResponseSink): void {
  const { observer } = sink;
  sink.reset();
  // The pacer sees a client that is gone, and writes nothing more.
  observer?.onAbort();
}
