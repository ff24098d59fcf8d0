/** The names a knob goes by: its flag, and what users of other tools call it. */
import { UsageError } from "../base/usage-error.ts";
import { type FlagKind, flagName, keyName } from "./flags.ts";
import { didYouMean } from "../base/guess.ts";
import type { ServerKey, ServerOptions } from "./options.ts";
import { serverFlags } from "./server.ts";
import { serveWords } from "./words.ts";
import { countUnits, latencyUnits, parseDistribution, SpecError } from "../core/random/distribution.ts";
import { failureTypes } from "../core/faults/fault.ts";

/**
 * What an alias does with its value. `same`: it is the flag's. `std`: the flag's constant becomes normal(constant, value).
 * `cv`: it becomes lognormal with the constant as its mean. `rpm`, `tpm`: that part of the rate limit. `rate`, `types`:
 * percent and errors of one fault among the others.
 */
type Role = "same" | "std" | "cv" | "rpm" | "tpm" | "rate" | "types";

export interface Alias {
  readonly name: string;
  readonly of: ServerKey;
  readonly role: Role;
  readonly takes: string;
  /** The tools that call it so. */
  readonly from: string;
}

/** Every alias. The help, the table in the docs and the configuration file follow from this. */
export const aliases: readonly Alias[] = [
  { name: "engine", of: "scheduler", role: "same", takes: "name", from: "fakeai 0.1" },
  { name: "time-to-first-token", of: "ttft", role: "same", takes: "spec", from: "llm-d-inference-sim" },
  { name: "ttft-ms", of: "ttft", role: "same", takes: "ms", from: "guidellm, llm-katan" },
  { name: "time-to-first-token-std-dev", of: "ttft", role: "std", takes: "ms", from: "llm-d-inference-sim" },
  { name: "ttft-ms-std", of: "ttft", role: "std", takes: "ms", from: "guidellm" },
  { name: "ttft-jitter-cv", of: "ttft", role: "cv", takes: "cv", from: "aiperf" },
  { name: "inter-token-latency", of: "itl", role: "same", takes: "spec", from: "llm-d-inference-sim" },
  { name: "itl-ms", of: "itl", role: "same", takes: "ms", from: "guidellm, llm-katan" },
  { name: "inter-token-latency-std-dev", of: "itl", role: "std", takes: "ms", from: "llm-d-inference-sim" },
  { name: "itl-ms-std", of: "itl", role: "std", takes: "ms", from: "guidellm" },
  { name: "itl-jitter-cv", of: "itl", role: "cv", takes: "cv", from: "aiperf" },
  { name: "output-tokens-std", of: "outputTokens", role: "std", takes: "n", from: "guidellm" },
  { name: "random-seed", of: "seed", role: "same", takes: "n", from: "aiperf" },
  { name: "served-model-name", of: "model", role: "same", takes: "name", from: "vLLM, llm-d-inference-sim" },
  { name: "ssl-certfile", of: "tlsCert", role: "same", takes: "file", from: "vLLM, uvicorn, llm-d-inference-sim" },
  { name: "ssl-keyfile", of: "tlsKey", role: "same", takes: "file", from: "vLLM, uvicorn, llm-d-inference-sim" },
  { name: "max-waiting-queue-length", of: "maxQueue", role: "same", takes: "n", from: "llm-d-inference-sim" },
  { name: "prefill-overhead", of: "requestOverhead", role: "same", takes: "ms", from: "llm-d-inference-sim" },
  { name: "kv-cache-size", of: "numGpuBlocksOverride", role: "same", takes: "n", from: "llm-d-inference-sim" },
  { name: "rate-limit-rpm", of: "rateLimit", role: "rpm", takes: "n", from: "fakeai for Python" },
  { name: "rate-limit-tpm", of: "rateLimit", role: "tpm", takes: "n", from: "fakeai for Python" },
  { name: "failure-injection-rate", of: "fault", role: "rate", takes: "percent", from: "llm-d-inference-sim" },
  { name: "failure-types", of: "fault", role: "types", takes: "names", from: "llm-d-inference-sim" },
];

/** What an alias means, in terms of flags. */
export function aliasMeaning({ of, role }: Alias): string {
  const flag = `--${flagName(of)}`;
  switch (role) {
    case "same":
      return flag;
    case "std":
      return `a plain ${flag} becomes normal(${flag},this)`;
    case "cv":
      return `a plain ${flag} becomes the mean of a lognormal with this cv`;
    case "rate":
      return `${flag} one_of(the failure types)@this%`;
    case "types":
      return `which errors those are (default all ${failureTypes.length})`;
    default:
      return `${flag} ${role}=this`;
  }
}

/** The aliases as a Markdown table: name, what it means, the tools that call it so. */
export function aliasTable(): string {
  const rows = aliases.map(
    (alias) => `| \`--${alias.name}\` | ${aliasMeaning(alias).replace(/--\S+?(?=,| |$)/g, "`$&`")} | ${alias.from} |`,
  );
  return ["| name | means | known from |", "| --- | --- | --- |", ...rows].join("\n");
}

/** Every name with what its value may be. */
const kinds: ReadonlyMap<string, FlagKind> = new Map([
  ...serverFlags.map(({ key, kind }): [string, FlagKind] => [flagName(key), kind]),
  ...aliases.map(({ name, of, role }): [string, FlagKind] => [
    name,
    role === "same" ? serverFlags.find(({ key }) => key === of)!.kind : role === "types" ? "list" : "text",
  ]),
]);

/**
 * Names that are like this one, to end a complaint about it with, or "". `others` are taken beside the flags and aliases; `shown`
 * is how the reader would write a flag or an alias.
 */
export function guessAtName(name: string, others: readonly string[] = [], shown: (flag: string) => string = (flag) => flag): string {
  const word = flagName(name);
  if (Object.hasOwn(serveWords, word))
    return `: did you mean ${serveWords[word]!.replaceAll(/--([a-z0-9-]+)/g, (_, flag: string) => shown(flag))}?`;
  return didYouMean(name, [...kinds.keys(), ...others], shown);
}

/** Throws UsageError for an option that is not there, which JavaScript lets pass and which would change nothing. */
export function checkOptionNames(options: ServerOptions): void {
  const given: unknown = options;
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw new UsageError("createServer takes an object of options, as in createServer({ ttft: 100 })");
  const unknown = Object.keys(given).find((key) => key !== "engine" && !serverFlags.some((flag) => flag.key === key));
  if (unknown === undefined) return;
  const optionOf = (flag: string): string => aliases.find(({ name }) => name === flag)?.of ?? keyName(flag);
  const guess = guessAtName(unknown, [], optionOf);
  const see = "; options are the flags of fakeai serve, as in maxConcurrentStreams";
  throw new UsageError(`"${unknown.slice(0, 60)}" is not an option${guess === "" ? see : guess}`);
}

export function kindOf(name: string): FlagKind | undefined {
  return kinds.get(name);
}

/** Checks a value from a file or a request; the message of the UsageError begins with `where`. */
export function checkedValue(where: string, kind: FlagKind, value: unknown): unknown {
  const isScalar = typeof value === "string" || typeof value === "number";
  const fits = {
    boolean: typeof value === "boolean",
    integer: typeof value === "number" && Number.isInteger(value),
    number: typeof value === "number" && Number.isFinite(value),
    text: isScalar,
    list: isScalar || (Array.isArray(value) && value.every((item) => typeof item === "string")),
  }[kind];
  if (!fits) {
    const wanted = {
      boolean: "true or false",
      integer: "a whole number",
      number: "a number",
      text: "a text or number",
      list: "a text or a list of texts",
    };
    throw new UsageError(`${where} must be ${wanted[kind]}`);
  }
  return kind === "text" || (kind === "list" && isScalar) ? String(value) : value;
}

/** What one source gave, by flag or alias name. */
export type Given = Readonly<Record<string, unknown>>;

/** What fills one slot: a knob's own value, its spread, or a part of it. */
interface Slot {
  readonly name: string;
  readonly value: unknown;
  readonly role: Role;
  readonly of: ServerKey;
  /** Number of the source. */
  readonly source: number;
}

function slotOf(name: string, value: unknown, source: number): [string, Slot] {
  const { of, role }: Pick<Alias, "of" | "role"> = aliases.find((alias) => alias.name === name) ?? {
    of: serverFlags.find(({ key }) => flagName(key) === name)!.key,
    role: "same",
  };
  const part = role === "std" || role === "cv" ? "spread" : role;
  return [`${of} ${part}`, { name, value, role, of, source }];
}

/** A complaint about a flag in the words of who has given it by another tool's name. */
export function inGivenNames(message: string, sources: readonly Given[]): string {
  let said = message;
  for (const { name, of, role } of aliases) {
    const flag = flagName(of);
    const source = sources.find((given) => given[name] !== undefined || given[flag] !== undefined);
    if (role === "same" && source?.[name] !== undefined) said = said.replaceAll(new RegExp(`--${flag}(?![\\w-])`, "g"), `--${name}`);
  }
  return said;
}

/**
 * Settles all names into options: of several sources the first that gives a knob wins. `base` are options already in force,
 * over which the sources win; null asks for the default. Throws UsageError for two names of one knob in one source, and for
 * a spread around what is not constant.
 */
export function optionsOf(sources: readonly Given[], base: ServerOptions = {}): ServerOptions {
  const slots = new Map<string, Slot>();
  for (const [source, given] of sources.entries()) {
    for (const [name, value] of Object.entries(given)) {
      if (value === undefined) continue;
      const [key, slot] = slotOf(name, value, source);
      const taken = slots.get(key);
      if (taken === undefined) slots.set(key, slot);
      else if (taken.source === source) throw twoNames(taken.name, name);
    }
  }
  const options: Record<string, unknown> = { ...base };
  const rank = ({ role }: Slot): number => (role === "same" ? 0 : role === "types" ? 2 : 1);
  const inOrder = [...slots.values()].sort((a, b) => rank(a) - rank(b));
  for (const slot of inOrder) {
    const own = slots.get(`${slot.of} same`);
    if (slot.role === "same") {
      if (slot.value === null) delete options[slot.of];
      else options[slot.of] = slot.value;
    } else if (slot.value === null) {
      throw new UsageError(`--${slot.name} has no default: set --${flagName(slot.of)}`);
    } else if (slot.role === "std" || slot.role === "cv") {
      const spec = spread(slot, options[slot.of]);
      if (spec !== null) options[slot.of] = spec;
    } else if (own !== undefined && own.source <= slot.source) {
      if (own.source === slot.source) throw twoNames(own.name, slot.name);
    } else if (slot.role === "rate" || slot.role === "types") {
      options[slot.of] = withFailures(slot, options[slot.of] as ServerOptions["fault"], slots.has("fault rate"));
    } else {
      const others = ((options[slot.of] as string | undefined) ?? "")
        .split(",")
        .filter((word) => word !== "" && !word.trim().toLowerCase().startsWith(slot.role));
      options[slot.of] = [...others, `${slot.role}=${slot.value as string}`].join(",");
    }
  }
  return options;
}

/** The fault that the failure aliases make, as it stands among the others. */
const failures = /^one_of\(([a-z_|]+)\)@([\d.]+)%$/;

/** The faults with that of the failure aliases in it, which has what `slot` says and otherwise keeps what it had. */
function withFailures({ role, name, value }: Slot, given: ServerOptions["fault"], rated: boolean): string[] {
  const faults = [given ?? []].flat();
  const present = faults.map((fault) => failures.exec(fault)).find((match) => match !== null);
  let types: readonly string[] = present?.[1]!.split("|") ?? failureTypes;
  let percent = Number(present?.[2] ?? 0);
  if (role === "rate") {
    percent = /^\d*\.?\d+$/.test(String(value).trim()) ? Number(value) : NaN;
    if (!(percent <= 100)) throw new UsageError(`--${name}: "${String(value).slice(0, 60)}" is not a percentage from 0 to 100`);
  } else {
    types = [value as string | readonly string[]].flat().flatMap((words) => words.split(/[\s,]+/).filter((word) => word !== ""));
    const unknown = types.find((type) => !failureTypes.some((known) => known === type));
    if (unknown !== undefined || types.length === 0) {
      const guess = didYouMean(unknown ?? "", failureTypes);
      throw new UsageError(`--${name}: "${(unknown ?? "").slice(0, 60)}" is none of ${failureTypes.join(", ")}${guess}`);
    }
    if (!rated && present === undefined) throw new UsageError(`--${name} does nothing without --failure-injection-rate`);
  }
  const others = faults.filter((fault) => !failures.test(fault));
  return percent === 0 ? others : [...others, `one_of(${types.join("|")})@${percent}%`];
}

function twoNames(one: string, other: string): UsageError {
  return new UsageError(`--${one} and --${other} are two names of one knob: give one of them`);
}

/** The spec of a constant with a spread around it; null: the spread is none. */
function spread({ of, role, name, value }: Slot, given: unknown): string | null {
  const isLatency = of !== "outputTokens";
  const flag = `--${flagName(of)}`;
  const constantOf = (text: unknown, name: string): number | null => {
    try {
      return parseDistribution(text as string | number, isLatency ? latencyUnits(name) : countUnits(name, Number.MAX_SAFE_INTEGER))
        .constant;
    } catch (error) {
      if (error instanceof SpecError) throw new UsageError(error.message);
      throw error;
    }
  };
  const amount = value as string | number;
  const shown = String(amount).slice(0, 60);
  const size = role === "std" ? constantOf(amount, `--${name}`) : /^\d*\.?\d+$/.test(shown.trim()) ? Number(shown) : null;
  if (size === null) throw new UsageError(`--${name}: "${shown}" is not a single number`);
  if (role === "cv" && size > 10) throw new UsageError(`--${name}: "${shown}" is not a number from 0 to 10`);
  if (size === 0) return null;
  const mean = constantOf(given ?? serverFlags.find(({ key }) => key === of)!.default, flag);
  if (mean === null || (mean === 0 && isLatency)) {
    throw new UsageError(`--${name} needs a plain ${flag} above 0 to spread around${mean === null ? ", not a distribution" : ""}`);
  }
  const scale = isLatency ? 1000 : 1;
  if (role === "std") return `normal(${mean / scale},${size / scale})`;
  // aiperf's jitter keeps the mean; our lognormal takes the median.
  return `lognormal(${(mean / scale / Math.sqrt(1 + size * size)).toFixed(6)},${size})`;
}
