/** Prompts out of a file, in the forms that other tools for measuring models read. */
import { extname } from "node:path";
import { readBytes, RecordError, type Row, tableOf } from "./records.ts";

/** A message of a chat as the file has it: `content` may be a list of parts. */
export interface DatasetMessage {
  readonly role: string;
  readonly content: unknown;
}

/** One prompt, with what the file says of its answer. */
export interface DatasetPrompt {
  readonly messages: readonly DatasetMessage[];
  /** Members of a chat's request that belong to its prompt: `tools`. */
  readonly more: Readonly<Record<string, unknown>>;
  /** The tokens of the answer; null: the file does not say. */
  readonly outputTokens: number | null;
  /** The answer that was given; null: the file has none. */
  readonly answer: string | null;
}

/** The file is no set of prompts; the message is one line. */
export class DatasetError extends Error {}

/** So many usable prompts are read from the start of a file: published sets have hundreds of thousands. */
export const mostPrompts = 10_000;
const mostOutputTokens = 1_000_000;

/** Members that hold a prompt: vLLM's custom set, AIPerf's single_turn and random_pool, guidellm's columns. */
const promptNames = ["prompt", "text", "text_input", "input", "question"] as const;
/** Members that hold the length of an answer, in the same tools. */
const lengthNames = ["output_tokens", "output_length", "output_tokens_count", "completion_tokens_count", "max_tokens"] as const;
/** Members that hold what comes before a prompt, in guidellm. */
const prefixNames = ["system_prompt", "system", "prefix"] as const;

/**
 * Reads the first prompts of a file: ShareGPT's JSON, OpenAI's chats and batches, the JSON lines or CSV of vLLM, guidellm and
 * AIPerf, or a text with one prompt a line. Records without a prompt, which published sets have, are left out. Throws
 * DatasetError, which names the line.
 */
export function readDataset(path: string): DatasetPrompt[] {
  try {
    const prompts = [...firstOf(promptsOf(path))];
    if (prompts.length === 0) throw new DatasetError(`${path} holds no prompt`);
    return prompts;
  } catch (error) {
    if (error instanceof RecordError) throw new DatasetError(error.message);
    throw error;
  }
}

function* firstOf(prompts: Iterable<DatasetPrompt | null>): Generator<DatasetPrompt> {
  let count = 0;
  for (const prompt of prompts) {
    if (prompt === null) continue;
    yield prompt;
    count++;
    if (count === mostPrompts) return;
  }
}

function* promptsOf(path: string): Generator<DatasetPrompt | null> {
  const bytes = readBytes(path, "the prompts");
  const isJson = /^\s*[[{]/.test(bytes.toString("latin1", 0, 4096).trimStart());
  if (!isJson && ![".csv", ".tsv"].includes(extname(path).toLowerCase())) {
    // A line that is no UTF-8 shows as U+FFFD, which is text too.
    for (const line of bytes.toString().split(/\r\n|\n|\r/)) yield userPrompt(line, null, null);
    return;
  }
  const { form, columns, rows } = tableOf(bytes, path);
  if (form === "csv" && !promptNames.some((name) => columns.includes(name)))
    throw new DatasetError(`${path}: no column is called ${promptNames.join(", ")}`);
  for (const row of rows) yield promptOfRow(row, `${path}, line ${row.line}`, form === "csv");
}

function userPrompt(text: string, prefix: string | null, outputTokens: number | null): DatasetPrompt | null {
  if (text.trim() === "") return null;
  const system = prefix === null || prefix === "" ? [] : [{ role: "system", content: prefix }];
  return { messages: [...system, { role: "user", content: text }], more: {}, outputTokens, answer: null };
}

function promptOfRow({ values }: Row, at: string, isCsv: boolean): DatasetPrompt | null {
  if (Array.isArray(values["conversations"])) return sharedPrompt(values["conversations"], at);
  // A line of a batch holds the request in its body.
  const { body } = values;
  const request = typeof body === "object" && body !== null ? (body as Row["values"]) : values;
  const outputTokens = lengthOf(request, at, isCsv);
  if (Array.isArray(request["messages"])) return chatPrompt(request["messages"], request["tools"], outputTokens, at);
  const name = promptNames.find((known) => request[known] !== undefined);
  if (name === undefined) throw new DatasetError(`${at}: no member is called conversations, messages, ${promptNames.join(", ")}`);
  const text = request[name];
  if (typeof text !== "string") throw new DatasetError(`${at}: "${name}" must be a text`);
  const prefix = prefixNames.map((known) => request[known]).find((value) => typeof value === "string") ?? null;
  return userPrompt(text, prefix, outputTokens);
}

function lengthOf(values: Row["values"], at: string, isCsv: boolean): number | null {
  const name = lengthNames.find((known) => values[known] !== undefined && values[known] !== null && values[known] !== "");
  if (name === undefined) return null;
  const given = values[name];
  const tokens = isCsv && /^\d{1,9}$/.test(String(given).trim()) ? Number(given) : given;
  if (typeof tokens !== "number" || !Number.isInteger(tokens) || tokens < 1 || tokens > mostOutputTokens)
    throw new DatasetError(`${at}: "${name}" must be a whole number of tokens from 1 to ${mostOutputTokens}`);
  return tokens;
}

/** OpenAI's: all messages up to the answer, which the last one may be. */
function chatPrompt(given: readonly unknown[], tools: unknown, outputTokens: number | null, at: string): DatasetPrompt | null {
  const messages = messagesOf(given, at);
  const last = messages.at(-1);
  const answer = last?.role === "assistant" && typeof last.content === "string" ? last.content : null;
  const asked = answer === null ? messages : messages.slice(0, -1);
  if (asked.length === 0) return null;
  return { messages: asked, more: tools === undefined ? {} : { tools }, outputTokens, answer };
}

/** Checks that each message has a role. Throws DatasetError, whose message begins with `at`. */
export function messagesOf(given: readonly unknown[], at: string): DatasetMessage[] {
  return given.map((message) => {
    const { role, content } = (typeof message === "object" && message !== null ? message : {}) as Partial<DatasetMessage>;
    if (typeof role !== "string") throw new DatasetError(`${at}: a message has no role`);
    return Object.assign({}, message, { role, content });
  });
}

/** The texts of a message, whose content is one or a list of parts. */
export function textsOf({ content }: DatasetMessage): string[] {
  if (typeof content === "string") return [content];
  if (!Array.isArray(content)) return [];
  return content.flatMap((part: unknown) => {
    const text = typeof part === "object" && part !== null ? (part as { readonly text?: unknown }).text : null;
    return typeof text === "string" ? [text] : [];
  });
}

/** Four characters a token, at least one. */
export function estimatedTokens({ messages }: Pick<DatasetPrompt, "messages">): number {
  const characters = messages.flatMap(textsOf).reduce((sum, { length }) => sum + length, 0);
  return Math.max(1, Math.ceil(characters / 4));
}

const shareRoles: Readonly<Record<string, string>> = {
  human: "user",
  user: "user",
  gpt: "assistant",
  assistant: "assistant",
  system: "system",
};

/** ShareGPT's: the first turn of a person, and the answer that it got, as vLLM takes it. Some records have neither. */
function sharedPrompt(turns: readonly unknown[], at: string): DatasetPrompt | null {
  const messages = turns.map((turn) => {
    const { from, value } = (typeof turn === "object" && turn !== null ? turn : {}) as {
      readonly from?: unknown;
      readonly value?: unknown;
    };
    if (typeof from !== "string" || typeof value !== "string") throw new DatasetError(`${at}: a turn needs "from" and "value"`);
    return { role: Object.hasOwn(shareRoles, from) ? shareRoles[from]! : from, content: value };
  });
  const first = messages[0]?.role === "system" ? 1 : 0;
  const [question, reply] = [messages[first], messages[first + 1]];
  if (question?.role !== "user" || question.content.trim() === "" || reply?.role !== "assistant") return null;
  return { messages: messages.slice(0, first + 1), more: {}, outputTokens: null, answer: reply.content };
}
