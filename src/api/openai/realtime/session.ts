/** The settings of a Realtime session (openai-node 7, RealtimeSessionCreateRequest): those that change answers, and those that are only shown. */
import { ApiError } from "../../errors/api-error.ts";
import { isObject, type JsonObject, missing, outOfRange, unsupportedValue } from "../../shared/body.ts";
import { type ConversationMemory, type Input, noAudio } from "./conversation.ts";

/** Output tokens of a response, as the API allows them. */
const mostOutputTokens = 4096;

/** Characters of all settings of a session. */
const mostSettings = 262_144;

/** Members that a client may set. */
const settable = [
  "output_modalities",
  "instructions",
  "tools",
  "tool_choice",
  "max_output_tokens",
  "tracing",
  "truncation",
  "prompt",
  "reasoning",
  "parallel_tool_calls",
  "include",
  "audio",
] as const;

export class RealtimeSession {
  readonly model: string;
  #settings: JsonObject = {
    // The API begins with audio, which is not there.
    output_modalities: ["text"],
    instructions: "",
    tools: [],
    tool_choice: "auto",
    max_output_tokens: "inf",
    tracing: null,
    truncation: "auto",
    prompt: null,
  };
  readonly #id: string;
  readonly #expiresAt: number;
  readonly #memory: ConversationMemory;
  /** Bytes of what a client has set. */
  #bytes = 0;

  /** `expiresAt`: seconds since 1970. */
  constructor(id: string, model: string, expiresAt: number, memory: ConversationMemory) {
    this.#id = id;
    this.model = model;
    this.#expiresAt = expiresAt;
    this.#memory = memory;
  }

  /** As events show it. */
  shown(): JsonObject {
    return {
      type: "realtime",
      object: "realtime.session",
      id: this.#id,
      model: this.model,
      ...this.#settings,
      expires_at: this.#expiresAt,
    };
  }

  /** Sets what an update names, or nothing. Its form was checked. Throws ApiError. */
  update(given: unknown): void {
    if (!isObject(given)) throw missing("session");
    if (given["type"] !== "realtime") {
      throw new ApiError(
        400,
        "Sessions of transcription are not supported here: 'session.type' is 'realtime'.",
        "session.type",
        "invalid_value",
      );
    }
    const { model } = given;
    if (typeof model === "string" && model !== this.model)
      throw new ApiError(400, "The model of a session cannot be changed.", "session.model", "invalid_value");
    checkSettings(given, "session");
    const set = settable.flatMap((name) => (given[name] === undefined ? [] : [[name, given[name]] as const]));
    const settings = { ...this.#settings, ...Object.fromEntries(set) };
    const { length } = JSON.stringify(settings);
    if (length > mostSettings) {
      const message = `Invalid 'session': its settings come back with each change, and hold up to ${mostSettings} characters.`;
      throw new ApiError(400, message, "session", "string_above_max_length");
    }
    // A character has up to two bytes.
    this.#memory.checkRoom(2 * length - this.#bytes);
    this.#count(2 * length);
    this.#settings = settings;
  }

  /** It is over. */
  clear(): void {
    this.#count(0);
  }

  #count(bytes: number): void {
    this.#memory.bytes += bytes - this.#bytes;
    this.#bytes = bytes;
  }

  /** The settings of one response: those of the session, where `params` has no own. */
  settingsWith(params: JsonObject): JsonObject {
    const own = settable.flatMap((name) => (params[name] === undefined || params[name] === null ? [] : [[name, params[name]] as const]));
    return { ...this.#settings, ...Object.fromEntries(own) };
  }
}

/** Throws ApiError for settings that this server cannot follow. `param`: what holds them. */
export function checkSettings({ output_modalities: modalities, max_output_tokens: limit }: JsonObject, param: string): void {
  if (Array.isArray(modalities)) {
    if (modalities.includes("audio")) throw noAudio(`${param}.output_modalities`);
    if (modalities.length !== 1) throw unsupportedValue(`${param}.output_modalities`, modalities, ["text"]);
  }
  if (typeof limit !== "number") return;
  const name = `${param}.max_output_tokens`;
  if (!Number.isInteger(limit)) throw new ApiError(400, `Invalid type for '${name}': expected an integer.`, name, "invalid_type");
  if (limit < 1 || limit > mostOutputTokens) throw outOfRange(name, "integer", limit, 1, mostOutputTokens);
}

/** The body of the request to /v1/responses that a response stands for, and its JSON. */
export function bodyOf(model: string, settings: JsonObject, metadata: unknown, inputs: readonly Input[]): Input {
  const { instructions, tools, tool_choice: choice, max_output_tokens: limit, prompt, reasoning, parallel_tool_calls: parallel } = settings;
  const hasTools = Array.isArray(tools) && tools.length > 0;
  const body = {
    model,
    ...(instructions !== "" && { instructions }),
    // Without tools there is nothing to choose.
    ...(hasTools && { tools, tool_choice: choice }),
    ...(typeof limit === "number" && { max_output_tokens: limit }),
    ...(isObject(prompt) && { prompt }),
    ...(isObject(reasoning) && { reasoning }),
    ...(typeof parallel === "boolean" && { parallel_tool_calls: parallel }),
    ...(isObject(metadata) && { metadata }),
    stream: true,
    store: false,
  };
  // A response may be asked for before anything was said.
  if (inputs.length === 0) return { value: { ...body, input: "" }, json: JSON.stringify({ ...body, input: "" }) };
  return {
    value: { ...body, input: inputs.map(({ value }) => value) },
    json: `${JSON.stringify(body).slice(0, -1)},"input":[${inputs.map(({ json }) => json).join(",")}]}`,
  };
}
