/** The rungs: what the server does on each, so that its right figures are known. */
import type { Reply, ReplyFile } from "../settings/replies.ts";

/** Planned of an answer where a rung says nothing else, milliseconds and tokens. */
const usual = { ttft: 100, itl: 20, tokens: 20 } as const;

/** What the command is given on a rung where it has these placeholders. */
export interface RungLoad {
  readonly concurrency: number;
  readonly ratePerSecond: number;
  /** A load by {seconds} takes so long. */
  readonly seconds: number;
  /** Requests of each stream, for a load by {requests}. */
  readonly turns: number;
}

const usualLoad: RungLoad = { concurrency: 5, ratePerSecond: 10, seconds: 3, turns: 4 };
/** On the way up the load is short: what a client cannot follow shows at once, and there are events enough. */
const shortLoad: RungLoad = { ...usualLoad, seconds: 2, turns: 2 };

export interface Rung {
  readonly name: string;
  readonly title: string;
  /** Flags of `fakeai serve`, without the dashes. */
  readonly flags: Readonly<Record<string, string>>;
  /** Rules for answers, by the number of the request; on HTTP/2 a reset is one of a stream. */
  readonly replies: ((isHttp2: boolean) => ReplyFile) | null;
  /** The rules in words. */
  readonly rules: string;
  readonly load: RungLoad;
  /** A placeholder without which the rung would repeat another. */
  readonly needs: "concurrency" | "rate" | null;
  /** Whether it is one of rising load. */
  readonly isRising: boolean;
}

/** Requests whose answers a rule decides one by one. Later ones are answered as usual. */
const mostRuled = 2000;

/** A rule of one reply for each request, made from its number, from 0. */
function ruled(replyTo: (number: number, isHttp2: boolean) => Reply): (isHttp2: boolean) => ReplyFile {
  return (isHttp2) => ({ replies: [{ reply: [...Array.from({ length: mostRuled }, (_, number) => replyTo(number, isHttp2)), {}] }] });
}

const flags = (ttft: number | string, itl: number | string, tokens: number): Record<string, string> => ({
  ttft: String(ttft),
  itl: String(itl),
  "output-tokens": String(tokens),
});

function rung(name: string, title: string, more: Partial<Rung> = {}): Rung {
  return {
    name,
    title,
    replies: null,
    rules: "",
    load: usualLoad,
    needs: null,
    isRising: false,
    ...more,
    flags: { ...flags(usual.ttft, usual.itl, usual.tokens), ...more.flags },
  };
}

/** Rungs that are played one by one, the most telling first: a budget leaves out the last ones. */
const steady: readonly Rung[] = [
  rung("constant", "a token every 20 ms after 100 ms", { isRising: true }),
  rung("role", "the chunk of the role at once, the first token after 100 ms", { flags: { "early-role": "" } }),
  rung("chunks", "four tokens in a chunk", { flags: { "tokens-per-chunk": "4", ...flags(usual.ttft, 10, 40) } }),
  rung("errors", "one in five requests is refused", {
    replies: ruled((number) => (number % 5 === 3 ? { fault: number % 10 === 3 ? "rate_limit" : "server_error" } : {})),
    rules: "requests 4, 9, 14, ...: 429 and 500 in turn",
  }),
  rung("cuts", "one in five answers is cut after 5 tokens", {
    replies: ruled((number, isHttp2) =>
      number % 5 === 3 ? { fault: number % 10 === 3 ? "truncate(after=5)" : isHttp2 ? "rst_stream(after=5)" : "reset(after=5)" } : {},
    ),
    rules: "requests 4, 9, 14, ...: the body ends in order, or by a reset, in turn",
  }),
  rung("slow-first", "the first of every hundred requests waits a second longer", {
    replies: ruled((number) => (number % 100 === 0 ? { ttft: usual.ttft + 1000 } : {})),
    rules: "requests 1, 101, 201, ...: TTFT 1,100 ms",
  }),
  rung("stalls", "one in four answers stands still for 300 ms, then sends all that is due", {
    replies: ruled((number) => (number % 4 === 1 ? { fault: "burst(after=8,silence=300ms)" } : {})),
    rules: "requests 2, 6, 10, ...: after 8 tokens a silence of 300 ms",
  }),
  rung("jittered", "TTFT and gaps spread", { flags: flags("lognormal(100,0.3)", "lognormal(20,0.5)", usual.tokens) }),
  rung("reasoning", "reasoning before content, as vLLM sends it", {
    flags: { profile: "vllm" },
    replies: ruled(() => ({ reasoning: "First I think about what was asked, and then I answer it." })),
    rules: "every answer reasons first",
  }),
  rung("streams-1", "1 request at once", { load: { ...usualLoad, concurrency: 1 }, needs: "concurrency" }),
];

/**
 * Tokens of an answer on the way up. Its events, of 200 bytes or so, fit the buffers of a socket and a stream's first window of HTTP/2:
 * a client that reads late does not make the server late.
 */
const fastTokens = 200;
const fast = flags(usual.ttft, 2, fastTokens);

/** Rungs of rising load, one of which each command climbs: by requests at once, by their rate, or by the pace of tokens alone. */
const climbs: Readonly<Record<"concurrency" | "rate" | "pace", readonly Rung[]>> = {
  concurrency: [5, 10, 20, 40, 80, 160, 320].map((concurrency) =>
    rung(`streams-${concurrency}`, `${concurrency} requests at once, a token every 2 ms`, {
      flags: fast,
      load: { ...shortLoad, concurrency },
      needs: "concurrency",
      isRising: true,
    }),
  ),
  rate: [10, 20, 40, 80, 160, 320, 640].map((ratePerSecond) =>
    rung(`rate-${ratePerSecond}`, `${ratePerSecond} requests/s, a token every 2 ms`, {
      flags: fast,
      load: { ...shortLoad, ratePerSecond },
      needs: "rate",
      isRising: true,
    }),
  ),
  pace: [5, 2, 1, 0.5, 0.25, 0.1].map((itl) =>
    rung(`pace-${itl}`, itl === 1 ? "a token every millisecond" : `a token every ${itl} ms`, {
      flags: flags(20, itl, fastTokens),
      load: shortLoad,
      isRising: true,
    }),
  ),
};

/** Every rung, in the order of a page. */
export const ladder: readonly Rung[] = [...steady, ...climbs.concurrency, ...climbs.rate, ...climbs.pace];

/** Names of the rungs of rising load. */
export const risingRungs: ReadonlySet<string> = new Set(ladder.filter(({ isRising }) => isRising).map(({ name }) => name));

/** What a command is played: the first rung, then the way up, then the others while there is time. */
export interface Course {
  readonly first: Rung;
  /** In rising order. */
  readonly climb: readonly Rung[];
  readonly others: readonly Rung[];
}

/** The course of a command with these placeholders. */
export function courseOf(has: (needed: "concurrency" | "rate") => boolean): Course {
  const [first, ...others] = steady.filter(({ needs }) => needs === null || has(needs));
  return { first: first!, climb: climbs[has("concurrency") ? "concurrency" : has("rate") ? "rate" : "pace"], others };
}

/** Rungs of the way up that are passed over at first, and later. */
const firstJump = 3;
const jump = 2;

/**
 * Which rung of a way up is to be played next, by how those that were played ended: up by jumps while they pass, then between the
 * highest that passed and the lowest that did not. null: these two are neighbours, or the highest of all has passed.
 */
export function nextOnClimb(count: number, outcomes: ReadonlyMap<number, "passed" | "ended">): number | null {
  const played = [...outcomes];
  const end = Math.min(count, ...played.flatMap(([index, outcome]) => (outcome === "ended" ? [index] : [])));
  // -1: the first rung of all, at rest.
  const passed = Math.max(-1, ...played.flatMap(([index, outcome]) => (outcome === "passed" && index < end ? [index] : [])));
  if (end === count) return passed === count - 1 ? null : Math.min(count - 1, passed + (passed < 0 ? firstJump : jump));
  return end - passed <= 1 ? null : Math.floor((passed + end) / 2);
}

/** A rung's plan in one line. */
export function planOf({ flags, rules }: Rung): string {
  const words = Object.entries(flags).map(([name, value]) => (value === "" ? `--${name}` : `--${name} ${value}`));
  return [words.join(" "), ...(rules === "" ? [] : [rules])].join("; ");
}
