/**
 * Faults on purpose, and the little language that names them: `name`, `name(argument,option=value,...)`, each with `@rate`:
 * `rate_limit@10%`, `status(503)`, `delay(200ms)`, `reset(after=3)`. Several stand side by side, with commas between.
 */
import { protocols as allProtocols, servedProtocols } from "../protocols.ts";
import { SpecError } from "../random/distribution.ts";
import { purpose, Random, type Seed } from "../random/random.ts";
import type { Carrier, Engine, Protocol } from "../seams.ts";

/** What a fault's option takes. Durations are microseconds. */
type Option = keyof typeof optionKinds;
const optionKinds = {
  after: "tokens",
  for: "duration",
  silence: "duration",
  every: "duration",
  code: "code",
  status: "status",
  requests: "requests",
  by: "difference",
  of: "names",
  retry_after: "count",
  retry_after_ms: "count",
} as const;

export interface FaultKind {
  readonly options: readonly Option[];
  /** The option that may stand without its name. */
  readonly bare: Option | null;
  readonly needed?: Option;
  /** `refusal`: an error in place of the answer. `stream`, `unary`: only an answer of this form can have it. `any`: each. */
  readonly form: "refusal" | "stream" | "unary" | "any";
  readonly help: string;
}

const refusal = (help: string): FaultKind => ({ options: ["retry_after", "retry_after_ms"], bare: null, form: "refusal", help });
const stream = (options: readonly Option[], help: string): FaultKind => ({ options, bare: null, form: "stream", help });

/** The faults there are. */
export type FaultName =
  | "rate_limit"
  | "invalid_api_key"
  | "context_length"
  | "server_error"
  | "invalid_request"
  | "model_not_found"
  | "status"
  | "one_of"
  | "delay"
  | "hang"
  | "burst"
  | "reset"
  | "rst_stream"
  | "goaway"
  | "close"
  | "no_window_update"
  | "truncate"
  | "no_done"
  | "malformed"
  | "error"
  | "split_utf8"
  | "split_lines"
  | "bytewise"
  | "duplicate"
  | "reorder"
  | "content_length"
  | "comments";

/** The errors that llm-d-inference-sim calls failure types, by its names. */
export const failureTypes: readonly FaultName[] = [
  "rate_limit",
  "invalid_api_key",
  "context_length",
  "server_error",
  "invalid_request",
  "model_not_found",
];

/** What each is. */
export const faultKinds: Readonly<Record<FaultName, FaultKind>> = {
  rate_limit: refusal("429 with the provider's error"),
  invalid_api_key: refusal("401, as for a wrong key"),
  context_length: refusal("400, the prompt is too long"),
  server_error: refusal("500"),
  invalid_request: refusal("400"),
  model_not_found: refusal("404, or 400 as OpenRouter has it"),
  status: {
    ...refusal("this status, 400 to 599, with the provider's error"),
    options: ["status", "retry_after", "retry_after_ms"],
    bare: "status",
    needed: "status",
  },
  one_of: {
    ...refusal("one of these errors, names with | between"),
    options: ["of", "retry_after", "retry_after_ms"],
    bare: "of",
    needed: "of",
  },
  delay: { options: ["for", "after"], bare: "for", needed: "for", form: "any", help: "everything after N tokens comes later by this" },
  hang: {
    options: ["after"],
    bare: null,
    form: "any",
    help: "nothing more after N tokens, the connection stays open; by default not even a head",
  },
  burst: { ...stream(["after", "silence"], "silence, then all that fell due at once"), needed: "silence" },
  reset: { options: ["after"], bare: null, form: "any", help: "TCP RST" },
  rst_stream: { options: ["code", "after"], bare: "code", form: "any", help: "RST_STREAM with this code (default 2, INTERNAL_ERROR)" },
  goaway: {
    options: ["code", "after", "requests"],
    bare: null,
    form: "any",
    help: "GOAWAY; streams under way finish where the code is 0 (default)",
  },
  close: {
    options: ["code", "after"],
    bare: "code",
    form: "any",
    help: "WebSocket: the connection ends with this close code (default 1011)",
  },
  no_window_update: { options: [], bare: null, form: "any", help: "a request body over 65,535 bytes is never read" },
  truncate: {
    options: ["after"],
    bare: null,
    form: "any",
    help: "the body ends in order after N tokens; one in one piece after half of it",
  },
  no_done: stream([], "the event that ends the stream is missing"),
  malformed: { options: ["after"], bare: null, form: "any", help: "broken JSON" },
  error: stream(["after"], "an error event inside a 200 stream, which ends it"),
  split_utf8: stream([], "each character of several bytes in two writes; WebSocket: in two fragments"),
  split_lines: stream([], "each line in two writes; WebSocket: each message in two fragments"),
  bytewise: stream(["every"], "one byte per write; WebSocket: per fragment"),
  duplicate: stream(["after"], "one event twice"),
  reorder: stream(["after"], "two events change places"),
  content_length: { options: ["by"], bare: "by", needed: "by", form: "unary", help: "content-length is wrong by this" },
  comments: stream(["every"], "SSE comments while nothing else comes"),
};

const isFaultName = (name: string): name is FaultName => Object.hasOwn(faultKinds, name);

/** A fault that was asked for. */
export interface Fault {
  readonly name: FaultName;
  /** As asked for, in a form that reads back to the same; a key is shown as its digest. */
  readonly spec: string;
  readonly form: FaultKind["form"];
  /** Part of the requests that get it, 0 to 1. */
  readonly rate: number;
  /** Digest of the API key whose requests get it; null: any. */
  readonly key: string | null;
  /** null: any. */
  readonly protocols: readonly Protocol[] | null;
  /** Tokens before it. */
  readonly after: number;
  /** Microseconds of `for`, `silence` or `every`. */
  readonly us: number;
  /** Error code of HTTP/2, or code of a close frame of WebSocket. */
  readonly code: number;
  readonly status: number;
  /** On the n-th request of a connection; null: by tokens. */
  readonly requests: number | null;
  /** Bytes. */
  readonly by: number;
  /** Of `one_of`. */
  readonly of: readonly FaultName[];
  readonly retryAfterSeconds: number | null;
  readonly retryAfterMs: number | null;
}

/** Marks a key that is given by its digest. */
const digestMark = "sha256:";
const defaults: Readonly<Partial<Record<FaultName, { us?: number; code?: number }>>> = {
  bytewise: { us: 1000 },
  comments: { us: 1_000_000 },
  rst_stream: { code: 2 },
  close: { code: 1011 },
};

/** Reads specs with commas or semicolons between. `name` begins messages; `digest` hides keys. Throws SpecError. */
export function parseFaults(text: string, name: string, digest: (key: string) => string): Fault[] {
  return split(text, /[,;]/)
    .map((spec) => spec.trim())
    .filter((spec) => spec !== "")
    .map((spec) => parseFault(spec, name, digest));
}

/** Splits outside parentheses. */
function split(text: string, at: RegExp): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "(") depth++;
    else if (text[i] === ")") depth--;
    else if (depth === 0 && at.test(text[i]!)) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}

function parseFault(spec: string, flag: string, digest: (key: string) => string): Fault {
  const match = /^([a-z_0-9-]+)\s*(?:\(([^()]*)\))?\s*(?:@\s*([\d.]+)\s*(%?))?$/i.exec(spec);
  const name = (match?.[1] ?? /^[a-z_0-9-]*/i.exec(spec)![0]).toLowerCase().replaceAll("-", "_");
  const fail = (why: string): never => {
    // Never the whole spec: it may hold a key.
    throw new SpecError(`${flag}: ${name.slice(0, 30)}: ${why}`);
  };
  if (!isFaultName(name)) return fail(`no fault of this name (there are ${Object.keys(faultKinds).join(", ")})`);
  if (match === null) return fail("cannot be read (for example reset(after=3)@10%)");
  const kind = faultKinds[name];
  const rate = match[3] === undefined ? 1 : Number(match[3]) / (match[4] === "%" ? 100 : 1);
  if (!(rate >= 0 && rate <= 1)) fail("a rate is 0% to 100%, or 0 to 1");

  const values = new Map<Option, number>();
  const words: string[] = [];
  let of: FaultName[] = [];
  let key: string | null = null;
  let protocols: Protocol[] | null = null;
  for (const word of (match[2] ?? "").split(",").map((part) => part.trim())) {
    if (word === "") continue;
    const equals = word.indexOf("=");
    const option = equals < 0 ? kind.bare : word.slice(0, equals).trim().toLowerCase().replaceAll("-", "_");
    const value = word.slice(equals + 1).trim();
    if (option === null) return fail(`what is "${shown(word)}"? It takes ${optionsOf(kind)}`);
    if (option === "key") {
      if (key !== null || value === "") fail("key=<api key> is given once");
      key = value.startsWith(digestMark) ? value.slice(digestMark.length) : digest(value);
      words.push(`key=${digestMark}${key}`);
      continue;
    }
    if (option === "protocol") {
      const named = value.split("|").map((part) => part.trim());
      if (!named.every((part) => Object.hasOwn(servedProtocols, part))) fail(`protocol takes ${allProtocols.join(", ")}, with | between`);
      protocols = named as Protocol[];
    } else if (!kind.options.includes(option as Option)) {
      fail(`no option "${shown(option)}": it takes ${optionsOf(kind)}`);
    } else if (values.has(option as Option)) {
      fail(`${option} is given twice`);
    } else if (option === "of") {
      of = value.split("|").map((part) => part.trim()) as FaultName[];
      const known = of.every((part) => isFaultName(part) && part !== "one_of" && part !== "status" && faultKinds[part].form === "refusal");
      if (!known) fail("takes names of errors with | between, as in one_of(rate_limit|server_error)");
      values.set("of", 0);
    } else {
      values.set(option as Option, numberOf(option as Option, value, fail));
    }
    words.push(`${option}=${value}`);
  }
  if (kind.needed !== undefined && !values.has(kind.needed)) fail(`needs ${kind.needed}, as in ${examples[name] ?? name}`);
  if (values.has("requests") && values.has("after")) fail("takes after or requests, not both");
  if (name === "close" && !isCloseCode(values.get("code") ?? 1011))
    fail("a close code is 1000 to 1014 without 1004 to 1006, or 3000 to 4999");
  const us = values.get("for") ?? values.get("silence") ?? values.get("every") ?? defaults[name]?.us ?? 0;
  return {
    name,
    spec: `${name}${words.length > 0 ? `(${words.join(",")})` : ""}${rate === 1 ? "" : `@${rate}`}`,
    form: kind.form,
    rate,
    key,
    protocols,
    after: values.get("after") ?? 0,
    us,
    code: values.get("code") ?? defaults[name]?.code ?? 0,
    status: values.get("status") ?? 0,
    requests: values.get("requests") ?? null,
    by: values.get("by") ?? 0,
    of,
    retryAfterSeconds: values.get("retry_after") ?? null,
    retryAfterMs: values.get("retry_after_ms") ?? null,
  };
}

const examples: Readonly<Partial<Record<FaultName, string>>> = {
  status: "status(503)",
  one_of: "one_of(rate_limit|server_error)",
  delay: "delay(200ms)",
  burst: "burst(after=5,silence=2s)",
  content_length: "content_length(+10)",
};

/** Whether a close frame may carry a code (RFC 6455, section 7.4). */
function isCloseCode(code: number): boolean {
  return (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) || (code >= 3000 && code <= 4999);
}

const shown = (text: string): string => text.replace(/[^\x20-\x7e]/g, "?").slice(0, 30);
const optionsOf = ({ options }: FaultKind): string => [...options, "key", "protocol"].join(", ");

function numberOf(option: Option, value: string, fail: (why: string) => never): number {
  const kind = optionKinds[option];
  if (kind === "duration") {
    const match = /^(\d+(?:\.\d*)?|\.\d+)(us|ms|s|)$/.exec(value.toLowerCase());
    if (!match) return fail(`${option}="${shown(value)}" is no time (for example 200ms or 2s)`);
    const us = Number(match[1]) * { us: 1, ms: 1000, s: 1_000_000, "": 1000 }[match[2] as "us" | "ms" | "s" | ""];
    if (!(us >= 1000 && us <= 86_400_000_000)) fail(`${option} is from 1ms to a day`);
    return us;
  }
  if (kind === "difference") {
    if (!/^[+-]?\d{1,9}$/.test(value) || Number(value) === 0) fail(`${option}="${shown(value)}" is no difference (for example +10 or -5)`);
    return Number(value);
  }
  const ranges = { tokens: [0, 1_000_000], code: [0, 0xffff_ffff], status: [400, 599], requests: [1, 1e9], count: [0, 1e9], names: [0, 0] };
  const [min, max] = ranges[kind] as [number, number];
  const number = Number(value);
  if (!/^\d{1,10}$/.test(value) || number < min || number > max)
    fail(`${option}="${shown(value)}" is not a whole number from ${min} to ${max}`);
  return number;
}

/** What a port speaks. The h2 port also serves HTTP/1.1 to clients without HTTP/2, on node:http. */
export function carrierOf(protocol: Protocol, engine: Engine): Carrier {
  const { isHttp2: isOverHttp2, upgradedFrom } = servedProtocols[protocol];
  if (upgradedFrom !== null) return engine === "uws" ? "uws-ws" : "node-ws";
  if (isOverHttp2) return engine === "own" ? "own-h2" : "node-h2";
  if (servedProtocols[protocol].isQuic) return "quiche";
  return engine === "uws" ? "uws" : "node-h1";
}

/** Whether what a connection speaks is HTTP/2. */
export const isHttp2 = (carrier: Carrier | undefined): boolean => carrier === "node-h2" || carrier === "own-h2";

/** Faults of HTTP/2's frames. */
const ofFrames: ReadonlySet<FaultName> = new Set(["rst_stream", "goaway", "no_window_update"]);

/** Why a carrier cannot express a fault; null: it can. */
export function cannot(name: FaultName, carrier: Carrier): string | null {
  const isMessages = carrier === "uws-ws" || carrier === "node-ws";
  if (carrier === "quiche") {
    if (name === "close") return "HTTP has no close frame; it needs ws or wss";
    return name === "no_window_update" ? "the QUIC engine takes what comes by itself; it needs h2c or h2" : null;
  }
  if (ofFrames.has(name) && !isHttp2(carrier)) return "HTTP/1.1 has no such frame; it needs h2c or h2";
  if (isMessages && name === "comments") return "a WebSocket has no comments; it needs HTTP";
  if (isMessages && name === "content_length") return "a WebSocket announces no length; it needs HTTP";
  if (!isMessages && name === "close") return "HTTP has no close frame; it needs ws or wss";
  if (carrier !== "uws" && carrier !== "uws-ws") return null;
  if (name === "reset") return "uWebSockets.js closes by FIN, never by RST; it needs --h1-engine node";
  if (name === "content_length") return "uWebSockets.js announces the length by itself; it needs --h1-engine node";
  return null;
}

/** Whether a request gets a fault: decided by the seed, and where several faults stand, by its position among them. */
export function hits(fault: Fault, position: number, seed: Seed): boolean {
  if (fault.rate >= 1) return true;
  return new Random(seed, purpose.fault * 1000 + position).unit() < fault.rate;
}

/** Which of its errors `one_of` is for a request. */
export function choose({ of }: Fault, position: number, seed: Seed): FaultName {
  return of[new Random(seed, purpose.faultChoice * 1000 + position).below(of.length)]!;
}
