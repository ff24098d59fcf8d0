/**
 * Conversations of agents: what a turn sends depends on what the answers before it said. The plan has what each turn adds; the
 * history is written here, when the turn is sent: anew, with the answers as they came, or by the id of the response before it.
 */
import type { DatasetMessage } from "./dataset.ts";
import { type Piece, textOfPieces } from "./prompts.ts";

/** full: a turn sends all that was said. previous: its new part, and the id of the response before it (Responses API). */
export type History = "full" | "previous";

/** What a turn adds to its conversation. */
export interface Addition {
  /** result: what a tool answered, to the call in the answer before; where that called none, a message of the user's. */
  readonly as: "system" | "user" | "assistant" | "result";
  /** Its words. */
  readonly pieces: readonly Piece[];
  /** The message itself, in place of words. */
  readonly given?: DatasetMessage;
}

/** The place of a request in a session, and what it says. */
export interface SessionTurn {
  /** Number of the session in its load, from 0. */
  readonly session: number;
  /** Which of the session's agents asks: 0 is the one that it begins and ends with, others are its sub-agents. */
  readonly agent: number;
  /** Place in that agent's conversation, from 0. */
  readonly turn: number;
  /** Whether it is the last of that conversation. */
  readonly isLast: boolean;
  readonly history: History;
  /** Where the history goes: `messages` of chat completions, `input` of responses. */
  readonly form: "chat" | "responses";
  readonly adds: readonly Addition[];
}

/** What an answer said, as far as the next turn needs it. */
export interface TurnOutput {
  /** Its id; null: it names none. */
  readonly id: string | null;
  /** JSON of the messages, or items, that stand for it in a history. */
  readonly said: readonly string[];
  /** Ids of the calls that it made. */
  readonly calls: readonly string[];
}

interface Conversation {
  /** JSON of messages or items, in order; with `previous` it stays empty. */
  readonly said: string[];
  previousId: string | null;
  /** Calls that wait for their results. */
  calls: readonly string[];
}

/** A turn that goes on from a response which no answer named. */
const unknownId = "resp_unknown";

/** All conversations of a run. */
export class Conversations {
  readonly #open = new Map<string, Conversation>();
  readonly #tools: string | undefined;

  /** `tools`: JSON of those that every turn offers. */
  constructor(tools: string | undefined) {
    this.#tools = tools;
  }

  /** The body of a turn, which is sent next: the planned one, and what it says. */
  bodyOf({ body, turn }: { readonly body: string; readonly turn: SessionTurn }): string {
    const one = this.#of(turn);
    const added = turn.adds.flatMap((addition) => itemsOf(addition, turn.form, one));
    one.calls = [];
    const name = turn.form === "chat" ? "messages" : "input";
    const isShort = turn.history === "previous";
    if (!isShort) one.said.push(...added);
    const members = [
      ...(this.#tools === undefined ? [] : [`"tools":${this.#tools}`]),
      ...(isShort && turn.turn > 0 ? [`"previous_response_id":${JSON.stringify(one.previousId ?? unknownId)}`] : []),
      `"${name}":[${(isShort ? added : one.said).join(",")}]`,
    ];
    return `${body.slice(0, -1)},${members.join(",")}}`;
  }

  /** The turn was answered. */
  onAnswer(turn: SessionTurn, { id, said, calls }: TurnOutput): void {
    if (turn.isLast) return this.forget(turn);
    const one = this.#of(turn);
    if (turn.history === "full") one.said.push(...said);
    one.previousId = id;
    one.calls = calls;
  }

  /** The conversation does not go on. */
  forget({ session, agent }: SessionTurn): void {
    this.#open.delete(`${session} ${agent}`);
  }

  /** Conversations that go on. */
  get open(): number {
    return this.#open.size;
  }

  #of({ session, agent }: SessionTurn): Conversation {
    const key = `${session} ${agent}`;
    let one = this.#open.get(key);
    if (one === undefined) this.#open.set(key, (one = { said: [], previousId: null, calls: [] }));
    return one;
  }
}

/** What an addition is in a request: one message or item, or one for each call that it answers. */
function itemsOf({ as, pieces, given }: Addition, form: SessionTurn["form"], { calls }: Conversation): string[] {
  if (given !== undefined) return [JSON.stringify(form === "chat" ? given : { ...given, type: "message" })];
  const text = textOfPieces(pieces);
  if (as !== "result" || calls.length === 0) return [JSON.stringify({ role: as === "result" ? "user" : as, content: text })];
  // A model that made several calls at once has to hear of each: the result is that of the first.
  return calls.map((id, index) => {
    const output = index === 0 ? text : "done";
    return JSON.stringify(
      form === "chat" ? { role: "tool", tool_call_id: id, content: output } : { type: "function_call_output", call_id: id, output },
    );
  });
}

/** Reads one answer for what its conversation goes on with. */
export class OutputReader {
  readonly #form: SessionTurn["form"];
  #id: string | null = null;
  /** Responses: the output items. */
  #items: readonly unknown[] = [];
  #content = "";
  readonly #calls = new Map<number, { id: string; name: string; arguments: string }>();

  constructor(form: SessionTurn["form"]) {
    this.#form = form;
  }

  /** Takes the JSON of an event, or of a whole answer. `isEnd`: it is the last that says something. */
  push(json: string, isEnd: boolean): void {
    // A Responses stream ends with all that it said.
    if (this.#form === "responses" && !isEnd) return;
    let value: unknown;
    try {
      value = JSON.parse(json);
    } catch {
      return;
    }
    if (!isObject(value)) return;
    if (this.#form === "chat") return this.#chat(value);
    const response = isObject(value["response"]) ? value["response"] : value;
    this.#id = typeof response["id"] === "string" ? response["id"] : null;
    this.#items = Array.isArray(response["output"]) ? (response["output"] as readonly unknown[]) : [];
  }

  /** What the answer said. */
  output(): TurnOutput {
    return this.#form === "chat" ? this.#chatOutput() : this.#responseOutput();
  }

  #chat({ id, choices }: Record<string, unknown>): void {
    if (typeof id === "string") this.#id ??= id;
    const [choice] = Array.isArray(choices) ? (choices as readonly unknown[]) : [];
    if (!isObject(choice)) return;
    const part = isObject(choice["delta"]) ? choice["delta"] : choice["message"];
    if (!isObject(part)) return;
    if (typeof part["content"] === "string") this.#content += part["content"];
    const calls = Array.isArray(part["tool_calls"]) ? (part["tool_calls"] as readonly unknown[]) : [];
    for (const [place, call] of calls.entries()) {
      if (!isObject(call)) continue;
      const index = typeof call["index"] === "number" ? call["index"] : place;
      const known = this.#calls.get(index) ?? { id: "", name: "", arguments: "" };
      if (typeof call["id"] === "string") known.id = call["id"];
      const called = isObject(call["function"]) ? call["function"] : {};
      if (typeof called["name"] === "string") known.name += called["name"];
      if (typeof called["arguments"] === "string") known.arguments += called["arguments"];
      this.#calls.set(index, known);
    }
  }

  #chatOutput(): TurnOutput {
    const calls = [...this.#calls.values()];
    const message = {
      role: "assistant",
      content: this.#content === "" && calls.length > 0 ? null : this.#content,
      ...(calls.length === 0
        ? {}
        : { tool_calls: calls.map(({ id, name, arguments: given }) => ({ id, type: "function", function: { name, arguments: given } })) }),
    };
    return { id: this.#id, said: [JSON.stringify(message)], calls: calls.map(({ id }) => id) };
  }

  #responseOutput(): TurnOutput {
    const calls = this.#items.flatMap((item) => {
      const isCall = isObject(item) && item["type"] === "function_call" && typeof item["call_id"] === "string";
      return isCall ? [item["call_id"] as string] : [];
    });
    return { id: this.#id, said: this.#items.map((item) => JSON.stringify(item)), calls };
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
