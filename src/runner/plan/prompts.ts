/** What a round asks: prompts of words, of a file or of a trace, the same in every arm. */
import { randomInt } from "node:crypto";
import { UsageError } from "../../base/usage-error.ts";
import { countUnits, type Distribution } from "../../core/random/distribution.ts";
import { Random, seedOf } from "../../core/random/random.ts";
import { type DatasetPrompt, estimatedTokens, readDataset, textsOf } from "../../load/dataset.ts";
import { type Piece, seedOfText, textOfPieces } from "../../load/prompts.ts";
import type { TraceRequest } from "../../load/trace.ts";
import type { PromptsSent } from "../../results/types.ts";
import { distribution } from "../../settings/values.ts";
import type { Workload } from "./scenario.ts";

/** Seeds of one run lie apart from those of the next: a million for each round, a thousand rounds for each run. */
export function seedOfCall(runSeed: number, round: number, index: number): number {
  return runSeed * 1_000_000_000 + round * 1_000_000 + index;
}

/** What one request says. */
export interface Prompt {
  /** Words that are made where the prompt is sent; what `given` says follows them. */
  readonly pieces: readonly Piece[];
  readonly given: DatasetPrompt | null;
  /** Of the pieces exactly; of a text in a file a quarter of its characters. */
  readonly tokens: number;
}

/** Where prompts begin with other words in each arm and round, their number: enough to fill no block of a prefix cache alike. */
const cacheBustTokens = 4;
/** One process runs one bench: another run of the same seed does not meet its prompts in the server's cache. */
let cacheBustOfRun = randomInt(0x1_0000_0000);

/** The shards of one load are one run: their prompts begin alike. */
export function bustCacheAs(number: number): void {
  cacheBustOfRun = number;
}

/** Apart from the seeds of calls, which are far above. */
const sharedPrefixSeed = 500_000_000;
/** The purpose of the random numbers that lengths come from. */
const lengthPurpose = 100;
const mostInputTokens = 1_000_000;

const lengths = new Map<string, Distribution>();

/** The length of a prompt by its spec: the same for the same seed. Throws UsageError. */
export function inputTokensOf(spec: number | string, seed: number): number {
  if (typeof spec === "number") return spec;
  const known = lengths.get(spec) ?? distribution(spec, countUnits("inputTokens", mostInputTokens));
  lengths.set(spec, known);
  const drawn = Math.round(known.sample(new Random(seedOf(seed), lengthPurpose)));
  return Math.min(mostInputTokens, Math.max(1, drawn));
}

const datasets = new Map<string, readonly DatasetPrompt[]>();

/** The prompts of a file, read once. Throws UsageError. */
export function datasetOf(file: string): readonly DatasetPrompt[] {
  let prompts = datasets.get(file);
  if (prompts === undefined) {
    try {
      prompts = readDataset(file);
    } catch (error) {
      throw new UsageError(`--dataset: ${(error as Error).message}`);
    }
    datasets.set(file, prompts);
  }
  return prompts;
}

/** What all prompts of an arm in a round begin with. `arm` is its id. */
export function beginning({ sharedPrefix, cacheBust }: Workload, runSeed: number, round: number, arm: string): Piece[] {
  const bust = { seed: seedOfText(`${cacheBustOfRun} ${arm} ${round}`), tokens: cacheBustTokens };
  return [
    ...(cacheBust === true ? [bust] : []),
    ...(sharedPrefix === null ? [] : [{ seed: sharedPrefixSeed + runSeed, tokens: sharedPrefix }]),
  ];
}

/** The prompt of request `index` in a round; round -1 and indices from 900,000 warm up. */
export function promptOf(workload: Workload, runSeed: number, round: number, index: number, arm: string): Prompt {
  const pieces = beginning(workload, runSeed, round, arm);
  if (workload.dataset !== null) {
    const prompts = datasetOf(workload.dataset.file);
    const given = prompts[(Math.max(0, round) * workload.requests + index) % prompts.length]!;
    return { pieces, given, tokens: tokensOf(pieces) + estimatedTokens(given) };
  }
  const seed = seedOfCall(runSeed, round + 1, index);
  const all = [...pieces, { seed, tokens: inputTokensOf(workload.inputTokens, seed) }];
  return { pieces: all, given: null, tokens: tokensOf(all) };
}

/**
 * The prompt of a request of a trace: its text, or words as many as were recorded. Equal blocks have equal words, and the turns
 * of a conversation begin with those of the turn before.
 */
export function tracePrompt(workload: Workload, row: TraceRequest, runSeed: number, round: number, index: number, arm: string): Prompt {
  const first = beginning(workload, runSeed, round, arm);
  const { given } = row;
  if (given !== null) return { pieces: first, given, tokens: tokensOf(first) + row.inputTokens };
  const pieces = [...first, ...ownPieces(row, runSeed, round, index)];
  return { pieces, given, tokens: tokensOf(pieces) };
}

function ownPieces({ inputTokens, session, blocks }: TraceRequest, runSeed: number, round: number, index: number): Piece[] {
  const tokens = Math.max(1, inputTokens);
  const named = (what: string): number => seedOfText(`${runSeed} ${round} ${what}`);
  if (blocks !== null)
    return blocks.ids.map((id, i) => ({
      seed: named(`block ${blocks.scope ?? ""}${id}`),
      tokens: Math.min(blocks.tokens, tokens - i * blocks.tokens),
    }));
  return [{ seed: session === null ? seedOfCall(runSeed, round + 1, index) : named(`session ${session}`), tokens }];
}

/** The tokens of an answer: as ordered, as its prompt's file says, or as in its file a quarter of the answer's characters. */
export function outputTokensOf({ dataset, outputTokens }: Workload, { given }: Prompt): number {
  if (given === null || dataset === null) return outputTokens;
  const recorded = given.answer === null ? null : Math.max(1, Math.ceil(given.answer.length / 4));
  return dataset.outputTokens ?? given.outputTokens ?? recorded ?? outputTokens;
}

export function tokensOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { tokens }) => sum + tokens, 0);
}

/** All texts in the messages, one after the other. */
export function textOfMessages({ messages }: DatasetPrompt): string {
  return messages.flatMap(textsOf).join("\n");
}

/** Prompts so short that unlike pieces may say the same are compared by their text. */
const shortTokens = 8;

/** What a round's prompts were, for the result. */
export function describePrompts(
  workload: Workload,
  prompts: readonly Prompt[],
  seed: number,
  source: PromptsSent["source"],
  file: string | null,
): PromptsSent {
  const distinct = new Set(
    prompts.map(({ pieces, given, tokens }) =>
      given !== null
        ? `${JSON.stringify(pieces)}${JSON.stringify(given.messages)}`
        : tokens <= shortTokens
          ? textOfPieces(pieces)
          : JSON.stringify(pieces),
    ),
  );
  const sorted = prompts.map(({ tokens }) => tokens).sort((a, b) => a - b);
  const sum = sorted.reduce((all, tokens) => all + tokens, 0);
  return {
    source,
    file,
    seed,
    requests: prompts.length,
    distinct: distinct.size,
    tokens: { mean: sum / sorted.length, p50: sorted[Math.ceil(sorted.length / 2) - 1]!, max: sorted.at(-1)! },
    tokensCountedBy: prompts.some(({ given }) => given !== null) ? "characters" : "words",
    sharedPrefix: workload.sharedPrefix ?? 0,
    cacheBust: workload.cacheBust === true ? cacheBustOfRun : null,
  };
}
