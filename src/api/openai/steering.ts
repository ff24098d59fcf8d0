/**
 * Steering of responses over WebSocket (`response.steer`; openai-node 7, resources/responses/responses.d.ts): input that is queued for
 * a response under way. It ends at the next token of its text with `response.incomplete` and the reason "steered", or as it was
 * settled where no text is being written; a successor with its settings goes on from it with that input. Where it waits for the output of
 * tools, the input waits too, and goes before those in the next request of its lane.
 */
import { isObject, type JsonObject } from "../shared/body.ts";

/** Inputs that may wait for one response, and their bytes. */
const mostPending = 16;
const mostPendingBytes = 1_048_576;

/** A response under way, as its plan was made. */
export interface Steerable {
  readonly id: string;
  /** null: it can be steered. Else why it cannot. */
  readonly refusal: string | null;
  /** Settles that it ends here; returns its last events. null: no text of it is being written. */
  cut(): Uint8Array | null;
}

/** One accepted submission. */
interface Submission {
  readonly id: string;
  readonly input: unknown;
  readonly bytes: number;
}

export type SteerCode =
  | "response_not_found"
  | "invalid_input"
  | "steering_not_supported"
  | "too_many_pending_steers"
  | "response_already_completed"
  | "response_not_active"
  | "successor_creation_failed";

/** Input that is queued for one response. */
export class Steering {
  readonly responseId: string;
  readonly #lane: string | null;
  readonly #send: (text: string) => void;
  readonly #submissions: Submission[] = [];
  #bytes = 0;
  #sequence = 0;

  constructor(responseId: string, lane: string | null, send: (text: string) => void) {
    this.responseId = responseId;
    this.#lane = lane;
    this.#send = send;
  }

  get isEmpty(): boolean {
    return this.#submissions.length === 0;
  }

  /** Queues input, and says so. false: too much of it waits, and that was said. */
  add(input: unknown): boolean {
    const bytes = JSON.stringify(input).length;
    if (this.#submissions.length >= mostPending || this.#bytes + bytes > mostPendingBytes) {
      const words = `At most ${mostPending} inputs, and ${mostPendingBytes} bytes, wait for a response.`;
      this.#send(steerFailed("too_many_pending_steers", words, { input, responseId: this.responseId }, this.#lane, this.#sequence++));
      return false;
    }
    this.#bytes += bytes;
    const id = `steer_${crypto.randomUUID().replaceAll("-", "")}`;
    this.#submissions.push({ id, input, bytes });
    this.#say("response.steer.accepted", id, {});
    return true;
  }

  /** Says that the input waits for the output of these calls. */
  pend(calls: readonly { readonly call_id: string; readonly name: string }[]): void {
    const required_input = calls.map(({ call_id, name }) => ({ type: "function_call_output", call_id, name }));
    for (const { id } of this.#submissions)
      this.#say("response.steer.pending", id, { reason: "waiting_for_required_input", required_input });
  }

  /** Gives the input back: no successor could be made. Returns the message for the last of it; those before are sent. */
  giveBack(words: string): string {
    const messages = this.#submissions.splice(0).map(({ id, input }) => {
      const steer = { id, input, responseId: this.responseId };
      return steerFailed("successor_creation_failed", words, steer, this.#lane, this.#sequence++);
    });
    const last = messages.pop()!;
    for (const message of messages) this.#send(message);
    return last;
  }

  /** The queued input as items, in the order in which it came. */
  items(): unknown[] {
    return this.#submissions.flatMap(({ input }) => itemsOf(input));
  }

  #say(type: string, id: string, members: object): void {
    const steer = { id, previous_response_id: this.responseId };
    this.#send(JSON.stringify({ type, sequence_number: this.#sequence++, ...members, steer, ...laneMember(this.#lane) }));
  }
}

/** Input as items: a text is a user's message. */
export function itemsOf(input: unknown): unknown[] {
  if (Array.isArray(input)) return input as unknown[];
  return input === undefined || input === null ? [] : [{ type: "message", role: "user", content: input }];
}

/** The message that input was not taken, or could not be used. */
export function steerFailed(
  code: SteerCode,
  message: string,
  { id, input, responseId }: { readonly id?: string; readonly input: unknown; readonly responseId: unknown },
  lane: string | null = null,
  sequence = 0,
): string {
  const error = { type: "invalid_request_error", code, message };
  const steer = { ...(id !== undefined && { id }), input: input ?? null, previous_response_id: responseId ?? null };
  return JSON.stringify({ type: "response.steer.failed", sequence_number: sequence, error, steer, ...laneMember(lane) });
}

function laneMember(lane: string | null): object {
  return lane === null ? {} : { stream_id: lane };
}

const steerMembers: ReadonlySet<string> = new Set(["type", "previous_response_id", "input"]);
const messageMembers: ReadonlySet<string> = new Set(["type", "role", "content", "id", "status"]);
const partTypes: ReadonlySet<unknown> = new Set(["input_text", "input_image", "input_file"]);

/** What is wrong with a steer message, in a sentence; null: nothing. */
export function steerFault(message: JsonObject): string | null {
  const other = Object.keys(message).find((name) => !steerMembers.has(name));
  if (other !== undefined) return "A response.steer has 'type', 'previous_response_id' and 'input', and nothing else.";
  const { previous_response_id: id, input } = message;
  if (typeof id !== "string" || id === "") return "'previous_response_id' has to name the response that is steered.";
  if (typeof input === "string") return input === "" ? "'input' is empty." : null;
  if (!Array.isArray(input) || input.length === 0) return "'input' has to be a text, or messages of the user.";
  return input.every(isUserMessage) ? null : "'input' has to be messages of the role 'user': texts, images and files.";
}

function isUserMessage(item: unknown): boolean {
  if (!isObject(item) || item["role"] !== "user" || (item["type"] ?? "message") !== "message") return false;
  if (!Object.keys(item).every((name) => messageMembers.has(name))) return false;
  const { content } = item;
  return (
    typeof content === "string" ||
    (Array.isArray(content) && content.length > 0 && content.every((part) => isObject(part) && partTypes.has(part["type"])))
  );
}

/** Calls of a response that wait for the client's output. */
export function callsOf(responseJson: string): { readonly call_id: string; readonly name: string }[] {
  const { output } = JSON.parse(responseJson) as { output?: unknown };
  if (!Array.isArray(output)) return [];
  return output.flatMap((item: unknown) =>
    isObject(item) && item["type"] === "function_call" ? [{ call_id: String(item["call_id"]), name: String(item["name"]) }] : [],
  );
}

/** The body of a request as JSON with other input, and what it goes on from. */
export function continued(body: JsonObject, input: readonly unknown[], previousId: string): JsonObject {
  return { ...body, previous_response_id: previousId, input };
}
