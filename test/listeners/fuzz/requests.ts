/** Hostile requests: number `n` of a seed is the same each time, whatever was made before it. */
import { type BytesCase, hostileBytes } from "./bytes.ts";
import { formOf, type Json } from "./bodies.ts";
import { corpus } from "./corpus.ts";
import { Dice } from "./dice.ts";
import { hostileSchema } from "./schemas.ts";
import { type Endpoint, endpoints, headerNames, memberNames } from "./surface.ts";
import {
  filled,
  hostileNumber,
  hostileString,
  hostileValue,
  injectedHeader,
  jsonOf,
  nearlyPeriodic,
  nest,
  prototypeNames,
} from "./values.ts";

export type Headers = readonly (readonly [name: string, value: string])[];

/** One request, as it is sent. */
export interface RequestCase {
  readonly kind: "request";
  /** What is hostile in it. */
  readonly category: string;
  /** "POST /v1/embeddings": the endpoint that it aims at. */
  readonly endpoint: string;
  readonly method: string;
  readonly target: string;
  readonly headers: Headers;
  readonly body: Buffer | null;
  /** What the body was made from; undefined: it is no JSON of ours, and cannot be shrunk. */
  readonly json?: unknown;
  /** It asks for an answer that comes late, breaks off or is an error of the server: only others are judged. */
  readonly asksForTrouble: boolean;
  /** How long its answer is read before it is cut, ms; absent: a moment. */
  readonly readMs?: number;
}

export type Case = RequestCase | BytesCase;

export interface SearchPlan {
  readonly seed: number;
  /** Cases in all, those of the corpus first. */
  readonly cases: number;
  /** Most bytes of a body. */
  readonly maxBodyBytes: number;
}

interface Choice {
  readonly category: string;
  readonly weight: number;
  make(dice: Dice, bytes: number): Partial<Pick<RequestCase, "headers" | "body" | "json" | "target" | "method" | "asksForTrouble">>;
}

const members = memberNames();
const controls = headerNames();

/** Where a value can be put into a body: members and items, the first of each holder. */
function placesOf(body: unknown): { holder: Json; key: string }[] {
  const found: { holder: Json; key: string }[] = [];
  // A hostile value that was put there before may hold one object a million times.
  const seen = new Set<unknown>();
  const look = (value: unknown): void => {
    if (typeof value !== "object" || value === null || seen.has(value)) return;
    seen.add(value);
    const keys = Array.isArray(value)
      ? Array.from({ length: Math.min(50, value.length) }, (_, index) => String(index))
      : Object.keys(value);
    for (const key of keys.slice(0, 50)) {
      found.push({ holder: value as Json, key });
      look((value as Json)[key]);
    }
  };
  look(body);
  return found;
}

const fresh = (dice: Dice, path: string): Json => structuredClone(dice.pick(formOf(path).good));

/** Puts a value into a body under a name, as a member of its own even where the name is "__proto__". */
function put(holder: Json, key: string, value: unknown): void {
  // Nothing but an index is a member of a list.
  if (Array.isArray(holder) && !/^\d+$/.test(key)) holder.push(value);
  else Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true });
}

/** A good body in which one to three places hold what `make` gives. */
function changed(dice: Dice, path: string, make: (old: unknown) => unknown): Json {
  const body = fresh(dice, path);
  // Those of the good body: a list of one item a million times would multiply what is put into the item.
  const places = placesOf(body);
  for (let times = dice.pick([1, 1, 2, 3]); times > 0; times--) {
    const { holder, key } = dice.pick(places);
    put(holder, key, make(holder[key]));
  }
  return body;
}

function bodyChoices({ path }: Endpoint): readonly Choice[] {
  const form = formOf(path);
  const json = (value: unknown): { json: unknown } => ({ json: value });
  const optional: readonly (Choice | null)[] = [
    form.withSchema === undefined ? null : {
      category: "schemas", weight: 8, make: (dice, bytes) => json(dice.pick(form.withSchema!(hostileSchema(dice, bytes)))),
    },
    form.withTools === undefined ? null : {
      category: "tools", weight: 2, make: (dice, bytes) => json(form.withTools!(Math.ceil(bytes / 200), Math.ceil(bytes / 80), dice)),
    },
    form.withStop === undefined ? null : {
      category: "stops", weight: 2, make: (dice, bytes) => {
        const stops = Array.from({ length: dice.pick([1, 1, 4, 5]) }, () => dice.oneIn(4) ? hostileString(dice, bytes) : nearlyPeriodic(dice, bytes));
        const text = nearlyPeriodic(dice, 5000).replaceAll("é", "e");
        return { ...json(form.withStop!(stops)), headers: [["x-fakeai-text", text], ["x-fakeai-output-tokens", String(dice.size(1, 1_048_576))]] };
      },
    },
    form.dearest === undefined ? null : {
      category: "dearest", weight: 3, make: (dice) => ({
        ...json(form.dearest!(dice)), headers: dice.oneIn(2) ? [] : [["x-fakeai-output-tokens", String(dice.size(1, 1_048_576))]],
      }),
    },
  ]; // oxfmt-ignore
  return [
    ...optional.filter((choice) => choice !== null),
    { category: "values", weight: 6, make: (dice, bytes) => json(changed(dice, path, () => hostileValue(dice, bytes))) },
    { category: "numbers", weight: 4, make: (dice) => json(changed(dice, path, (old) => (typeof old === "number" || dice.oneIn(3) ? hostileNumber(dice) : old))) },
    { category: "names", weight: 3, make: (dice) => json(changed(dice, path, () => dice.pick(prototypeNames))) },
    { category: "strings", weight: 4, make: (dice, bytes) => json(changed(dice, path, (old) => (typeof old === "string" ? hostileString(dice, bytes) : old))) },
    {
      category: "members", weight: 4, make: (dice, bytes) => {
        const body = fresh(dice, path);
        const holders = placesOf(body).map(({ holder }) => holder);
        for (let times = dice.between(1, 5); times > 0; times--) {
          put(dice.oneIn(2) ? body : dice.pick(holders), dice.oneIn(4) ? dice.pick(prototypeNames) : dice.pick(members), hostileValue(dice, Math.min(bytes, 10_000)));
        }
        return json(body);
      },
    },
    {
      category: "many", weight: 3, make: (dice, bytes) => {
        const body = fresh(dice, path);
        const lists = placesOf(body).filter(({ holder, key }) => Array.isArray(holder[key]) && (holder[key] as unknown[]).length > 0);
        const { holder, key } = lists.length > 0 ? dice.pick(lists) : { holder: body, key: dice.pick(members) };
        const items = Array.isArray(holder[key]) ? (holder[key] as unknown[]) : ["a"];
        const item = dice.oneIn(3) ? dice.pick<unknown>(["", 0, [], {}, null, [1], "a"]) : dice.pick(items);
        put(holder, key, Array.from({ length: Math.min(3_000_000, Math.ceil(bytes / (jsonOf(item).length + 1))) }, () => item));
        return json(body);
      },
    },
    { category: "missing", weight: 1, make: (dice) => {
      const body = fresh(dice, path);
      const { holder, key } = dice.pick(placesOf(body));
      delete holder[key];
      return json(body);
    } },
    { category: "nests", weight: 2, make: (dice) => json(changed(dice, path, (old) => nest(dice, dice.pick([3, 60, 110, 127, 128, 129, 1000]), old))) },
    { category: "twice", weight: 2, make: (dice, bytes) => {
      // Every member a second time, and the whole over and over: a parser keeps the last.
      const inner = jsonOf(fresh(dice, path)).slice(1, -1);
      const other = jsonOf(changed(dice, path, () => hostileValue(dice, 100))).slice(1, -1);
      const times = dice.oneIn(3) ? Math.ceil(bytes / (inner.length + 1)) : 1;
      return { body: Buffer.from(`{${`${inner},`.repeat(times)}${other}}`) };
    } },
    { category: "text", weight: 3, make: (dice, bytes) => ({ body: hostileText(dice, jsonOf(fresh(dice, path)), bytes) }) },
  ]; // oxfmt-ignore
}

/** Text that is nearly JSON, or nothing like it. */
function hostileText(dice: Dice, good: string, bytes: number): Buffer {
  const whole = Buffer.from(good);
  switch (dice.below(7)) {
    case 0:
      return whole.subarray(0, dice.below(whole.length));
    case 1:
      for (let times = dice.between(1, 8); times > 0; times--) whole[dice.below(whole.length)] = dice.below(256);
      return whole;
    case 2:
      return Buffer.from(filled(dice.pick(["[", "{", '{"a":', "[[],", '"', "1", "\\", "\0", " ", "\u00ff", "[1,", "null,"]), bytes));
    case 3:
      return Buffer.concat([Buffer.from(filled(" \t\r\n", bytes)), whole]);
    case 4:
      return Buffer.concat([whole, Buffer.from(filled(dice.pick([" ", "}", "\0", whole.toString()]), bytes))]);
    case 5:
      return Buffer.concat([dice.pick([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from([0xff, 0xfe]), Buffer.from([0xc0, 0x80])]), whole]);
    default:
      return Buffer.from(
        dice.pick([
          "",
          "null",
          "true",
          "0",
          '"a"',
          "[]",
          "{}",
          "NaN",
          "-",
          "{,}",
          "{'a':1}",
          "//",
          `{"a":${"1".repeat(Math.min(bytes, 100_000))}}`,
        ]),
      );
  }
}

const timing = ["100", "0", "-1", "1e9", "99999999999999999999", "lognormal(1,1)", "lognormal(1e308,1e308)", "normal(0,0)", "0:0", "1:", ":1", "1us", "1h", "NaN", "Infinity",
  "uniform(1,0)", "exponential(0)", "(", "lognormal(", "9".repeat(400), "empirical(1)", "__proto__", "constructor(1)", "1,2", "0x10", "1e-400", "5%", ""]; // oxfmt-ignore
const faults = ["hang", "hang(after=1e99)", "reset(after=2)", "status(599)", "status(99)", "bytewise", "bytewise(every=1e9)", "one_of(rate_limit|__proto__)", "__proto__", "constructor(1)",
  "delay(1e99)", "truncate(after=-1)", "content_length(-99)", "content_length(99999999999)", "duplicate", "reorder", "comments(every=0)", "comments(every=1us)", "burst(after=1,silence=1e9)", "malformed",
  "error", "split_utf8,split_lines,bytewise", "goaway", "rst_stream(99999999999)", "a".repeat(5000), "rate_limit@200%", "rate_limit@1e-99", "rate_limit(retry_after=1e308)", "(((("]; // oxfmt-ignore

/** A value of a header that a socket carries: no line end, no NUL; other bytes as they come. */
function headerValue(dice: Dice, name: string): string {
  if (name === "x-fakeai-fault" && !dice.oneIn(4)) return dice.pick(faults);
  if (/ttft|itl|tokens/.test(name) && !dice.oneIn(4)) return dice.oneIn(2) ? dice.pick(timing) : String(dice.size(1, 2 ** 40));
  const text = dice.pick([
    () => hostileString(dice, dice.size(1, 12_000)),
    () => JSON.stringify(hostileString(dice, dice.size(1, 6000))),
    () => String(dice.pick([0, 1, -1, 2 ** 53, 1e21])),
    () => dice.pick(prototypeNames),
  ])();
  // eslint-disable-next-line no-control-regex
  return text.replaceAll(/[\0-\x08\x0a-\x1f\x7f]/g, " ").trim();
}

function hostileHeaders(dice: Dice): Headers {
  const others = ["authorization", "x-api-key", "anthropic-version", "anthropic-beta", "x-goog-api-key", "content-type", "accept", "accept-encoding", "origin", "cookie", "x-request-id", "user-agent", "range", "if-none-match", "x-forwarded-for", "expect", "content-encoding", "traceparent"]; // oxfmt-ignore
  return Array.from({ length: dice.between(1, 4) }, () => {
    const name = dice.pick(dice.oneIn(3) ? others : controls);
    return [name, headerValue(dice, name)];
  });
}

/** Where an endpoint is: of one that takes any rest, a model, and where it is asked for something a method of it. */
function plainTarget(dice: Dice, { method, path }: Endpoint): string {
  if (method !== "POST" || !path.endsWith("/models/*")) return path.replace("/*", "/gpt-4o");
  const methods = [
    "generateContent",
    "streamGenerateContent",
    "streamGenerateContent?alt=sse",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
  ];
  return path.replace("*", `gemini:${dice.pick(methods)}`);
}

function hostileTarget(dice: Dice, path: string): string {
  const plain = path.replace(
    "/*",
    `/${dice.pick(["gpt-4o", "gemini:generateContent", "%:streamGenerateContent", "a:b:countTokens", "a%20b", "%", "%ff", "%00", "__proto__", "constructor", "..%2f..", "a".repeat(300), "%0d%0a" + injectedHeader + ":1", "é", "%E6%BC%A2", "a/b/c", "?", "a;b"])}`,
  );
  switch (dice.below(5)) {
    case 0:
      return `${plain}?${filled(dice.pick(["a=1&", "a[]=1&", "__proto__[x]=1&", "%", "&", "=", "?", "%00", "+"]), dice.size(1, 12_000))}`;
    case 1:
      return `${plain}?${dice.pick(prototypeNames)}=${dice.pick(prototypeNames)}`;
    case 2:
      return dice.pick([
        `/${plain}`,
        `${plain}/`,
        plain.toUpperCase(),
        `${plain}%20`,
        `${plain}/../../etc/passwd`,
        `${plain}#a`,
        `${plain};a=1`,
        `http://x${plain}`,
        "*",
        `${plain}?`,
      ]);
    case 3:
      return `${plain}${filled(dice.pick(["/a", "a", "%41", "/.", "/.."]), dice.size(1, 12_000))}`;
    default:
      return plain;
  }
}

function choicesOf(endpoint: Endpoint): readonly Choice[] {
  const good = (dice: Dice): Json | undefined => (endpoint.method === "GET" ? undefined : fresh(dice, endpoint.path));
  return [
    ...(endpoint.method === "GET" ? [] : bodyChoices(endpoint)),
    {
      category: "headers", weight: 4, make: (dice) => {
        const headers = hostileHeaders(dice);
        return { json: good(dice), headers, asksForTrouble: headers.some(([name]) => /-(?:fault|ttft|itl)$/.test(name)) };
      },
    },
    { category: "targets", weight: 2, make: (dice) => ({ json: good(dice), target: hostileTarget(dice, endpoint.path) }) },
    {
      category: "methods", weight: 1, make: (dice, bytes) => ({
        json: dice.oneIn(2) ? good(dice) : undefined, method: dice.pick(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "PROPFIND"]),
        ...(dice.oneIn(3) ? { body: Buffer.from(hostileString(dice, bytes)) } : {}),
      }),
    },
  ]; // oxfmt-ignore
}

/** An endpoint as often as there is in it to get wrong: each weight is 200 cases of the long form. */
function weightOf({ method, path }: Endpoint): number {
  if (method === "GET") return 1;
  return formOf(path).withSchema === undefined ? 2 : 4;
}

/** Bytes of a connection are no endpoint, and as many as those of one with a schema. */
const bytesWeight = 4;
/** Of a whole turn: each endpoint as often as its weight, null for bytes of a connection. */
const turn: readonly (Endpoint | null)[] = [
  ...endpoints().flatMap((endpoint) => Array.from({ length: weightOf(endpoint) }, () => endpoint)),
  ...Array.from({ length: bytesWeight }, () => null),
];
/** So many cases give each endpoint 200 and more. */
export const longForm: number = Math.max(5000, turn.length * 200);

/** What the case of this number aims at, unless it is of the corpus. */
export function turns(number: number): string {
  const endpoint = turn[number % turn.length]!;
  return endpoint === null ? "connections" : `${endpoint.method} ${endpoint.path}`;
}

/** What the plan's case of this number is. The corpus comes first. */
export function caseOf(plan: SearchPlan, number: number): Case {
  const known = corpus[number];
  if (known !== undefined)
    return {
      kind: "request",
      method: "POST",
      headers: [],
      asksForTrouble: false,
      ...known,
      endpoint: `POST ${known.target}`,
      body: Buffer.from(jsonOf(known.json)),
    };
  const dice = new Dice(plan.seed, number);
  const endpoint = turn[number % turn.length]!;
  if (endpoint === null) return hostileBytes(dice);
  const choices = choicesOf(endpoint);
  let at = dice.below(choices.reduce((sum, { weight }) => sum + weight, 0));
  const choice = choices.find(({ weight }) => (at -= weight) < 0)!;
  const bytes = dice.size(16, plan.maxBodyBytes * (dice.oneIn(50) ? 1.1 : 0.9));
  const made = choice.make(dice, bytes);
  const stamps: Headers = dice.oneIn(3) ? [["x-fakeai-stamps", "1"]] : [];
  return {
    kind: "request",
    category: choice.category,
    endpoint: `${endpoint.method} ${endpoint.path}`,
    method: made.method ?? endpoint.method,
    target: made.target ?? plainTarget(dice, endpoint),
    headers: [...stamps, ...(made.headers ?? [])],
    body: made.body ?? (made.json === undefined ? null : Buffer.from(jsonOf(made.json))),
    ...(made.body === undefined && made.json !== undefined && { json: made.json }),
    asksForTrouble: made.asksForTrouble ?? false,
  };
}
