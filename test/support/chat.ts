/** Chat requests, and the events of their streams. */

/** A streamed chunk, as far as the tests look at it. */
export interface Chunk {
  readonly id: string;
  readonly object: string;
  readonly created: number;
  readonly model: string;
  readonly choices: readonly {
    readonly index: number;
    readonly delta?: { role?: string; content?: string };
    readonly text?: string;
    readonly finish_reason: string | null;
  }[];
  readonly usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number } | null;
  readonly fakeai?: { due: number; sent: number };
}

/** The body of a stream without the two empty lines that uws sends after each write; how many writes there are, timing decides. */
export const withoutEmptyLines = (body: string): string => body.replaceAll("\n\n\n\n", "\n\n");

/** The data of each event. */
export function eventsOf(body: string): string[] {
  return body
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => event.replace(/^data: /, ""));
}

/** The chunks of a chat stream; throws when it does not end with [DONE]. */
export function chunksOf(body: string): Chunk[] {
  const events = eventsOf(body);
  if (events.at(-1) !== "[DONE]") throw new Error(`the stream does not end with [DONE]: ${body.slice(-200)}`);
  return events.slice(0, -1).map((event) => JSON.parse(event) as Chunk);
}

export const textOf = (chunks: readonly Chunk[]): string =>
  chunks.map(({ choices }) => choices[0]?.delta?.content ?? choices[0]?.text ?? "").join("");

export const chat = (more: object = {}): object => ({ model: "gpt-4o", messages: [{ role: "user", content: "Hello there" }], ...more });
