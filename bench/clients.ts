/**
 * What real clients make of each fault, as a Markdown table: the error's class, how many requests the server saw, and how
 * long the client took.
 */
import { createOpenAI } from "@ai-sdk/openai";
import { ChatOpenAI } from "@langchain/openai";
import { streamText } from "ai";
import OpenAI from "openai";
import { Agent, fetch as undiciFetch, request } from "undici";
import { createServer } from "../src/index.ts";
import { table } from "./support/page.ts";

/** A client that has not come back after this hangs. */
const patienceMs = 9000;
const text = "Où est né l’été ? À Gênes, déjà.";
const prompt = "Hello";
const messages = [{ role: "user" as const, content: prompt }];

/** Reads a whole stream and returns its text. Throws what the client throws. */
type Client = (to: To, fault: string, signal: AbortSignal) => Promise<string>;

/** A server, and how to get there. `fetch` undefined: the client's own. */
interface To {
  readonly url: string;
  readonly dispatcher: Agent;
  readonly fetch: typeof globalThis.fetch | undefined;
}

const headersOf = (fault: string): Record<string, string> => ({
  "x-fakeai-fault": fault,
  "x-fakeai-text": Buffer.from(text).toString("latin1"),
});

const clients: Readonly<Record<string, Client>> = {
  openai: async ({ url, fetch }, fault, signal) => {
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", fetch, defaultHeaders: headersOf(fault) });
    const stream = await client.chat.completions.create({ model: "gpt-4o", stream: true, messages }, { signal });
    let said = "";
    for await (const { choices } of stream) said += choices[0]?.delta.content ?? "";
    return said;
  },
  "@ai-sdk/openai": async ({ url, fetch }, fault, signal) => {
    const provider = createOpenAI({ baseURL: `${url}/v1`, apiKey: "any", headers: headersOf(fault), ...(fetch && { fetch }) });
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
  "@langchain/openai": async ({ url, fetch }, fault, signal) => {
    const configuration = { baseURL: `${url}/v1`, fetch, defaultHeaders: headersOf(fault) };
    const model = new ChatOpenAI({ model: "gpt-4o", apiKey: "any", maxRetries: 2, configuration });
    let said = "";
    for await (const chunk of await model.stream(prompt, { signal })) said += chunk.text;
    return said;
  },
  undici: async ({ url, dispatcher }, fault, signal) => {
    const { statusCode, body } = await request(`${url}/v1/chat/completions`, {
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
  },
};

const faults: readonly string[] = [
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

/** Over HTTP/2 (TLS) with undici's fetch on one connection. */
const http2Faults: readonly string[] = [
  "reset",
  "reset(after=3)",
  "rst_stream(code=7)",
  "rst_stream(code=2,after=3)",
  "rst_stream(code=8,after=3)",
  "goaway(after=3)",
  "goaway(code=2,after=3)",
  "truncate(after=3)",
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

async function cell(client: Client, fault: string, protocol: "h1" | "h2"): Promise<string> {
  // HTTP/1.1 on node:http, which can send a TCP RST; a server of its own, so that its counts are this client's.
  await using server = await createServer({ protocol, h1Engine: "node", grace: 0 });
  const connect = { rejectUnauthorized: false };
  const dispatcher = protocol === "h2" ? new Agent({ allowH2: true, connections: 1, pipelining: 100, connect }) : new Agent();
  const overHttp2: typeof globalThis.fetch = async (input, init) => {
    // The same class under two declarations.
    const response: unknown = await undiciFetch(input instanceof Request ? input.url : input, { ...(init as object), dispatcher });
    return response as Response;
  };
  const to: To = { url: server.urls[protocol]!, dispatcher, fetch: protocol === "h2" ? overHttp2 : undefined };
  const abort = new AbortController();
  const startedMs = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const hung = new Promise<string>((resolve) => {
    timer = setTimeout(() => {
      resolve("**hangs**");
      abort.abort();
    }, patienceMs);
  });
  const asked = client(to, fault, abort.signal).then(
    (said) => (said === text ? "fine" : text.startsWith(said) ? "**cut short, no error**" : "**wrong text, no error**"),
    (error: unknown) => describe(error),
  );
  const said = await Promise.race([hung, asked]);
  const ms = performance.now() - startedMs;
  clearTimeout(timer);
  abort.abort();
  await asked;
  await dispatcher.destroy();
  const made = Object.values(server.stats().faults);
  const requests = Math.max(0, ...made);
  return `${said}; ${requests}; ${said === "**hangs**" ? `> ${patienceMs / 1000}` : (ms / 1000).toFixed(1)} s`;
}

// What clients print about broken JSON is not part of the table.
console.error = () => {};
console.warn = () => {};
process.on("unhandledRejection", () => {});

const only = process.argv.slice(2);
const names = Object.keys(clients);
for (const [protocol, list] of [
  ["h1", faults],
  ["h2", http2Faults],
] as const) {
  console.log(`\n${table([`fault on ${protocol}`, ...names], [])}`);
  for (const fault of list.filter((name) => only.length === 0 || only.includes(name) || only.includes(protocol))) {
    const cells = await Promise.all(names.map((name) => cell(clients[name]!, fault, protocol)));
    console.log(`| \`${fault}\` | ${cells.join(" | ")} |`);
  }
}
process.exit(0);
