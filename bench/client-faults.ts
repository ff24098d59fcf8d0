/**
 * What real clients make of each fault, as a Markdown table: the error's class, how many requests the server saw, and how
 * long the client took. `npm run bench:clients`.
 */
import { createOpenAI } from "@ai-sdk/openai";
import { ChatOpenAI } from "@langchain/openai";
import { streamText } from "ai";
import OpenAI from "openai";
import { Agent, request } from "undici";
import { createServer, type FakeAiServer } from "../src/index.ts";

/** A client that has not come back after this hangs. */
const patienceMs = 9000;
const text = "Où est né l’été ? À Gênes, déjà.";
const prompt = "Hello";
const messages = [{ role: "user" as const, content: prompt }];

/** Reads a whole stream and returns its text. Throws what the client throws. */
type Client = (server: FakeAiServer, fault: string, signal: AbortSignal) => Promise<string>;

const headersOf = (fault: string): Record<string, string> => ({
  "x-fakeai-fault": fault,
  "x-fakeai-text": Buffer.from(text).toString("latin1"),
});

const clients: Readonly<Record<string, Client>> = {
  openai: async ({ urls }, fault, signal) => {
    const client = new OpenAI({ baseURL: `${urls.h1}/v1`, apiKey: "any", defaultHeaders: headersOf(fault) });
    const stream = await client.chat.completions.create({ model: "gpt-4o", stream: true, messages }, { signal });
    let said = "";
    for await (const { choices } of stream) said += choices[0]?.delta.content ?? "";
    return said;
  },
  "@ai-sdk/openai": async ({ urls }, fault, signal) => {
    const provider = createOpenAI({ baseURL: `${urls.h1}/v1`, apiKey: "any", headers: headersOf(fault) });
    let failure: unknown;
    const { textStream } = streamText({
      model: provider.chat("gpt-4o"),
      prompt,
      abortSignal: signal,
      onError: ({ error }) => {
        failure ??= error;
      },
    });
    let said = "";
    for await (const text of textStream) said += text;
    if (failure !== undefined) throw failure;
    return said;
  },
  "@langchain/openai": async ({ urls }, fault, signal) => {
    const configuration = { baseURL: `${urls.h1}/v1`, defaultHeaders: headersOf(fault) };
    const model = new ChatOpenAI({ model: "gpt-4o", apiKey: "any", maxRetries: 2, configuration });
    let said = "";
    for await (const chunk of await model.stream(prompt, { signal })) said += chunk.text;
    return said;
  },
  undici: async ({ urls }, fault, signal) => {
    const dispatcher = new Agent();
    try {
      const { statusCode, body } = await request(`${urls.h1}/v1/chat/completions`, {
        method: "POST",
        headers: headersOf(fault),
        body: JSON.stringify({ model: "gpt-4o", stream: true, messages }),
        dispatcher,
        signal,
      });
      const events = await body.text();
      // undici reports statuses and bodies, and judges neither.
      if (statusCode !== 200) throw Object.assign(new Error(String(statusCode)), { name: `status ${statusCode}` });
      return Array.from(events.matchAll(/"content":("(?:[^"\\]|\\.)*")/g), ([, json]) => JSON.parse(json!) as string).join("");
    } finally {
      await dispatcher.destroy();
    }
  },
};

const faults = [
  "rate_limit",
  "rate_limit(retry_after=1)",
  "rate_limit(retry_after_ms=300)",
  "invalid_api_key",
  "context_length",
  "model_not_found",
  "server_error",
  "status(503)",
  "delay(1s)",
  "hang",
  "hang(after=3)",
  "burst(after=3,silence=1s)",
  "reset",
  "reset(after=3)",
  "truncate",
  "truncate(after=3)",
  "no_done",
  "malformed(after=3)",
  "error(after=3)",
  "duplicate(after=3)",
  "reorder(after=3)",
  "split_utf8",
  "split_lines",
  "bytewise",
  "comments(every=100ms),delay(500ms)",
];

/** The innermost class names of an error: a wrapper says less than what it wraps. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return "an object that is no Error";
  const { name, cause } = error;
  const own = name === "Error" ? error.constructor.name : name;
  const last = (error as { lastError?: unknown }).lastError;
  const code = (error as { code?: unknown }).code;
  const shown = typeof code === "string" && /^[A-Z_]+$/.test(code) && own !== code ? `${own} ${code}` : own;
  if (last instanceof Error) return `${shown} (${describe(last)})`;
  return cause instanceof Error && cause.name !== name ? `${shown} (${describe(cause)})` : shown;
}

async function cell(client: Client, fault: string): Promise<string> {
  // HTTP/1.1 on node:http, which can send a TCP RST; a server of its own, so that its counts are this client's.
  await using server = await createServer({ h1Engine: "node", grace: 0 });
  const abort = new AbortController();
  const startedMs = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const hung = new Promise<string>((resolve) => {
    timer = setTimeout(() => {
      resolve("**hangs**");
      abort.abort();
    }, patienceMs);
  });
  const asked = client(server, fault, abort.signal).then(
    (said) => (said === text ? "fine" : text.startsWith(said) ? "**cut short, no error**" : "**wrong text, no error**"),
    (error: unknown) => describe(error),
  );
  const said = await Promise.race([hung, asked]);
  const ms = performance.now() - startedMs;
  clearTimeout(timer);
  abort.abort();
  await asked;
  const made = [...server.stats().faults.values()];
  const requests = Math.max(0, ...made);
  return `${said}; ${requests}; ${said === "**hangs**" ? `> ${patienceMs / 1000}` : (ms / 1000).toFixed(1)} s`;
}

// What clients print about broken JSON is not part of the table.
console.error = () => {};
console.warn = () => {};
process.on("unhandledRejection", () => {});

const only = process.argv.slice(2);
const names = Object.keys(clients);
console.log(`| fault | ${names.join(" | ")} |`);
console.log(`| --- | ${names.map(() => "---").join(" | ")} |`);
for (const fault of faults.filter((name) => only.length === 0 || only.includes(name))) {
  const cells = await Promise.all(names.map((name) => cell(clients[name]!, fault)));
  console.log(`| \`${fault}\` | ${cells.join(" | ")} |`);
}
process.exit(0);
