/**
 * What one request may cause before and while it is answered. Small requests can ask for work without end (a schema that
 * refers to itself twice, an array of long strings), and all requests share one thread: each kind of work has a bound.
 */

/** The most tokens one answer may have. */
export const maxOutputTokens = 1_048_576;
/** The most tokens one event may hold. */
export const maxTokensPerChunk = 1024;

/** A kind of work. */
export type Work =
  | "bodyMembers"
  | "bodyContainers"
  | "bodyValues"
  | "bodyStrings"
  | "schemaParts"
  | "properties"
  | "patternPieces"
  | "values"
  | "characters"
  | "searched";

/** How much work of a kind one request may cause. */
export interface WorkBound {
  readonly most: number;
  /** What is counted, for messages and the table in docs/serve.md. */
  readonly counted: string;
  /** OpenAI's published limit that stands nearest; null: none. */
  readonly openai: string | null;
}

/**
 * The bounds. Each takes a few milliseconds at most, and none refuses what OpenAI takes by its published limits
 * (platform.openai.com/docs/guides/structured-outputs, "Supported schemas").
 */
export const workBounds: Readonly<Record<Work, WorkBound>> = {
  bodyMembers: { most: 16_000, counted: "members of all objects of the body", openai: null },
  bodyContainers: { most: 50_000, counted: "arrays and objects of the body", openai: null },
  bodyValues: {
    most: 300_000,
    counted:
      "commas of the body: one less than the values of each list; three behind a number of ten digits, or with a fraction or exponent",
    openai: "300,000 tokens to embed",
  },
  // V8 looks up each short string: 350,000 different ones in 2.4 MB take 170 ms to parse, as many numbers 9.
  bodyStrings: { most: 40_000, counted: "strings of the body, names of members included", openai: "2,048 texts to embed" },
  schemaParts: {
    most: 50_000,
    counted: "schemas, properties, branches and references looked at, each time anew",
    openai: "10 levels, 1,000 enum values",
  },
  properties: { most: 5000, counted: "properties of schemas that are followed", openai: "5,000 properties" },
  patternPieces: { most: 8000, counted: "pieces of patterns read, repetitions counted", openai: null },
  values: { most: 5200, counted: "values made for schemas", openai: null },
  characters: {
    most: 200_000,
    counted: "characters made for schemas: strings, names, constants",
    openai: "120,000 characters of names, enum values and constants",
  },
  searched: { most: 524_288, counted: "characters of answers searched for stop sequences", openai: null },
};

/** How much of the four bounds of a body it may use together: a text that is near all of them takes four times as long to parse. */
export const mostShares = 1.75;

/** The most output tokens, all choices together, of an answer that is made at once: in one piece, or repeated whole at the end of its stream. */
export const mostWholeTokens = 131_072;
/** The most characters of the same, where the text is given. */
export const mostWholeCharacters = 1_048_576;
/** The most tokens, and log probabilities, that one event of a stream holds for all choices. */
export const mostInEvent = 8192;
/** The most log probabilities of an answer that is made at once. */
export const mostWholeLogprobs = 8192;
/** The most of an answer of `/v1/responses`: the end of its stream repeats them four times. */
export const mostResponseLogprobs = 4096;
/** The most characters of a given text that is cut into tokens: one that the answer repeats, or that `/tokenize` is asked for. */
export const mostGivenCharacters = 262_144;
/** The most characters of a request that an answer of `/v1/responses` repeats. */
export const mostEchoedCharacters = 1_048_576;

/** A request causes more than `workBounds` allows of one kind of work. The message says of which, and how much. */
export class BudgetError extends Error {
  readonly work: Work;

  constructor(work: Work) {
    const { most, counted } = workBounds[work];
    super(`it takes more than ${most} ${counted}`);
    this.work = work;
  }
}

/** Counts the work of one request. */
export class Budget {
  /** What is left of each bound: one look-up for each amount, which values of schemas spend tens of thousands of times. */
  readonly #left: Record<Work, number> = {
    bodyMembers: workBounds.bodyMembers.most,
    bodyContainers: workBounds.bodyContainers.most,
    bodyValues: workBounds.bodyValues.most,
    bodyStrings: workBounds.bodyStrings.most,
    schemaParts: workBounds.schemaParts.most,
    properties: workBounds.properties.most,
    patternPieces: workBounds.patternPieces.most,
    values: workBounds.values.most,
    characters: workBounds.characters.most,
    searched: workBounds.searched.most,
  };

  /** Counts work that is about to be done. Throws BudgetError where that is too much. */
  spend(work: Work, amount = 1): void {
    if ((this.#left[work] -= amount) < 0) throw new BudgetError(work);
  }

  /** Takes from what is left, until it is given back: for a part that may not use all of it. */
  withhold(work: Work, amount: number): void {
    this.#left[work] -= amount;
  }

  giveBack(work: Work, amount: number): void {
    this.#left[work] += amount;
  }

  spent(work: Work): number {
    return workBounds[work].most - this.#left[work];
  }
}
