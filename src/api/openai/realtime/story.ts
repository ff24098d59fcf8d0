/**
 * One response of a Realtime session as events (a text session of 2026 in their order: response.created, output_item.added,
 * conversation.item.added, content_part.added, deltas, their .done, conversation.item.done, output_item.done, response.done; shapes:
 * openai-node 7, resources/realtime/realtime.d.ts).
 */
import { monotonicUs } from "../../../base/clock.ts";
import { EscapedTokens, EventBuffer, type Part, type Script } from "../../../core/frames/script.ts";
import type { Answer, ToolCall } from "../../shared/ask.ts";
import type { JsonObject } from "../../shared/body.ts";
import { randomLetters } from "../../shared/ids.ts";
import type { Run } from "../../shared/run.ts";
import { usageOf } from "../bodies.ts";
import { obfuscationBytes } from "../wire.ts";
import type { Conversation, Item } from "./conversation.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Texts are filled up to this many characters. */
const obfuscationBlock = 16;

/** Events beside the frames of a stream. */
const aside = new EventBuffer();

/** What a response has of its session. */
export interface Turn {
  /** What its items go into; null: it is out of band. */
  readonly conversation: Conversation | null;
  /** Its number in its session, from 1: responses of one seed have different ids. */
  readonly number: number;
  readonly maxOutputTokens: unknown;
  readonly metadata: unknown;
}

/** Why a response ends as it does. */
type Ending =
  | { readonly status: "completed" }
  | { readonly status: "cancelled"; readonly reason: "client_cancelled" }
  | { readonly status: "incomplete"; readonly reason: "max_output_tokens" | "content_filter" }
  | { readonly status: "failed"; readonly error: JsonObject };

/** The item whose tokens are being sent. */
interface Open {
  readonly whole: Run;
  /** Tokens of it that were sent. */
  shown: number;
  /** Writes its last events, as it is after so much. */
  close(out: EventBuffer, said: Run, status: string): void;
}

export class RealtimeStory {
  readonly id: string;
  readonly #answer: Answer;
  readonly #turn: Turn;
  readonly #obfuscated: boolean;
  /** Begins the id of each event. */
  readonly #eventId: string;
  #events = 0;
  /** Tokens of images in the prompt. */
  readonly #imageTokens: number;
  readonly #makeId: (prefix: string) => string;
  /** Items that have ended. */
  readonly #items: Item[] = [];
  #open: Open | null = null;
  /** Output tokens of the items that have ended. */
  #tokens = 0;
  #hasBegun = false;
  #hasEnded = false;

  constructor(answer: Answer, turn: Turn, imageTokens: number, obfuscated: boolean) {
    this.#answer = answer;
    this.#turn = turn;
    this.#imageTokens = imageTokens;
    this.#obfuscated = obfuscated;
    const number = turn.number.toString(36).padStart(3, "0");
    this.#makeId = (prefix) => `${prefix}_${randomLetters(answer.identity, 18)}${number}`;
    this.id = this.#makeId("resp");
    this.#eventId = `${this.#makeId("event")}_`;
  }

  /** false: the conversation has no end of it yet. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** The events of its stream. */
  script(): Script {
    const { text, calls } = this.#answer.choices[0]!;
    return {
      choices: [[...(text === null ? [] : [this.#textPart(text)]), ...calls.map((call, index) => this.#callPart(call, index))]],
      open: (out) => this.#begin(out),
      close: (out) => this.#end(out, this.#whole()),
      tokensPerFrame: this.#answer.tokensPerChunk,
      hiddenTokens: this.#answer.reasoning.tokens,
      stamped: this.#answer.stamped,
    };
  }

  /** The event that it has begun, ahead of its first token. Valid until the next call. */
  begin(dueUs: number, sentUs: number): Uint8Array {
    aside.reset(this.#answer.stamped, dueUs, sentUs);
    this.#begin(aside);
    return aside.frame();
  }

  /** Its last events, cancelled as it is; null: it has ended. Valid until the next call. */
  cancel(): Uint8Array | null {
    return this.#cut({ status: "cancelled", reason: "client_cancelled" });
  }

  /** Its last events as messages, where something went wrong. */
  fail(error: JsonObject): string[] {
    const events = this.#cut({ status: "failed", error });
    return events === null ? [] : [...decoder.decode(events).matchAll(/^data: (.*)$/gm)].map((match) => match[1]!);
  }

  #cut(ending: Ending): Uint8Array | null {
    if (this.#hasEnded) return null;
    const nowUs = monotonicUs();
    aside.reset(this.#answer.stamped, nowUs, nowUs);
    this.#begin(aside);
    this.#closeOpen(aside, "incomplete");
    this.#end(aside, ending);
    return aside.frame();
  }

  /** It was cut without a word: its item stays in the conversation as far as it was sent. */
  abandon(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    aside.reset(false, 0, 0);
    this.#closeOpen(aside, "incomplete");
  }

  #whole(): Ending {
    const { finish } = this.#answer.choices[0]!;
    if (finish === "length") return { status: "incomplete", reason: "max_output_tokens" };
    return finish === "content_filter" ? { status: "incomplete", reason: finish } : { status: "completed" };
  }

  #begin(out: EventBuffer): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    this.#emit(out, "response.created", { response: this.#object("in_progress", null, null) });
  }

  #end(out: EventBuffer, ending: Ending): void {
    this.#hasEnded = true;
    const { status, ...details } = ending;
    const told = status === "completed" ? null : { type: status, ...details };
    this.#emit(out, "response.done", { response: this.#object(status, told, this.#usage(status)) });
  }

  #object(status: string, details: object | null, usage: object | null): object {
    const { conversation, maxOutputTokens, metadata } = this.#turn;
    return {
      object: "realtime.response",
      id: this.id,
      status,
      status_details: details,
      output: this.#items,
      conversation_id: conversation?.id ?? null,
      output_modalities: ["text"],
      max_output_tokens: maxOutputTokens,
      usage,
      metadata: metadata ?? null,
    };
  }

  #usage(status: Ending["status"]): object {
    const { promptTokens, cachedTokens, completionTokens } = usageOf(this.#answer);
    const isCut = status === "cancelled" || status === "failed";
    const sent = this.#tokens === 0 ? 0 : this.#tokens + this.#answer.reasoning.tokens;
    const output = isCut ? sent : completionTokens;
    return {
      total_tokens: promptTokens + output,
      input_tokens: promptTokens,
      output_tokens: output,
      input_token_details: {
        text_tokens: Math.max(0, promptTokens - this.#imageTokens),
        audio_tokens: 0,
        image_tokens: this.#imageTokens,
        cached_tokens: cachedTokens,
        cached_tokens_details: { text_tokens: cachedTokens, audio_tokens: 0, image_tokens: 0 },
      },
      output_token_details: { text_tokens: output, audio_tokens: 0 },
    };
  }

  #emit(out: EventBuffer, type: string, members: object): void {
    const json = JSON.stringify({ type, event_id: `${this.#eventId}${this.#events++}`, ...members });
    out.text(`data: ${json.slice(0, -1)}`);
    out.endEvent();
  }

  #openItem(out: EventBuffer, index: number, item: Item, open: Omit<Open, "shown">): void {
    this.#open = { ...open, shown: 0 };
    this.#emit(out, "response.output_item.added", { response_id: this.id, output_index: index, item });
    const { conversation } = this.#turn;
    if (conversation !== null) this.#emit(out, "conversation.item.added", { previous_item_id: conversation.append(item), item });
  }

  #closeItem(out: EventBuffer, index: number, item: Item): void {
    this.#items.push(item);
    const { conversation } = this.#turn;
    if (conversation !== null) this.#emit(out, "conversation.item.done", { previous_item_id: conversation.finish(item), item });
    this.#emit(out, "response.output_item.done", { response_id: this.id, output_index: index, item });
  }

  /** Ends the item whose tokens are being sent, as far as they were. */
  #closeOpen(out: EventBuffer, status: string): void {
    const open = this.#open;
    if (open === null) return;
    this.#open = null;
    this.#tokens += open.shown;
    open.close(out, open.whole.tokens === open.shown ? open.whole : open.whole.cutTo(open.shown), status);
  }

  /** The status of an item whose tokens were all sent: the last one of an answer that is not whole is not either. */
  #statusAt(index: number): string {
    const { text, calls } = this.#answer.choices[0]!;
    const isLast = index === (text === null ? 0 : 1) + calls.length - 1;
    return isLast && this.#whole().status !== "completed" ? "incomplete" : "completed";
  }

  #textPart(text: Run): Part {
    const id = this.#makeId("item");
    const at = { response_id: this.id, item_id: id, output_index: 0, content_index: 0 };
    const item = (status: string, content: readonly object[]): Item => ({ id, type: "message", status, role: "assistant", content });
    return {
      ...this.#runOf("response.output_text.delta", at, text),
      open: (out) => {
        this.#openItem(out, 0, item("in_progress", []), {
          whole: text,
          close: (to, run, status) => {
            const said = run.text();
            this.#emit(to, "response.output_text.done", { ...at, text: said });
            this.#emit(to, "response.content_part.done", { ...at, part: { type: "text", text: said } });
            this.#closeItem(to, 0, item(status, [{ type: "output_text", text: said }]));
          },
        });
        this.#emit(out, "response.content_part.added", { ...at, part: { type: "text", text: "" } });
      },
      close: (out) => this.#closeOpen(out, this.#statusAt(0)),
    };
  }

  #callPart(call: ToolCall, position: number): Part {
    const index = position + (this.#answer.choices[0]!.text === null ? 0 : 1);
    const id = this.#makeId("item");
    const callId = this.#makeId("call");
    const { name, arguments: text } = call;
    const at = { response_id: this.id, item_id: id, output_index: index, call_id: callId };
    const item = (status: string, said: string): Item => ({
      id,
      type: "function_call",
      status,
      name,
      call_id: callId,
      arguments: said,
    });
    return {
      ...this.#runOf("response.function_call_arguments.delta", at, text),
      open: (out) =>
        this.#openItem(out, index, item("in_progress", ""), {
          whole: text,
          close: (to, run, status) => {
            const said = run.text();
            this.#emit(to, "response.function_call_arguments.done", { ...at, name, arguments: said });
            this.#closeItem(to, index, item(status, said));
          },
        }),
      close: (out) => this.#closeOpen(out, this.#statusAt(index)),
    };
  }

  /** A run of tokens whose events hold them beside their place. */
  #runOf(type: string, at: object, text: Run): Omit<Part, "open" | "close"> {
    const before = encoder.encode(`data: {"type":"${type}","event_id":"${this.#eventId}`);
    const middle = encoder.encode(`",${JSON.stringify(at).slice(1, -1)},"delta":"`);
    const after = encoder.encode('"');
    return {
      tokens: text.tokens,
      source: EscapedTokens.of(text.vocabulary),
      cursor: text.cursor(),
      // Hot path.
      run: (out, run) => {
        this.#open!.shown += run.count;
        out.bytes(before);
        out.number(this.#events++);
        out.bytes(middle);
        run.write(out);
        out.bytes(after);
        if (this.#obfuscated) out.bytes(obfuscationBytes(run.characters, obfuscationBlock));
        out.endEvent();
      },
    };
  }
}
