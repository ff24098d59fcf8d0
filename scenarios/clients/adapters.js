/**
 * The client libraries, each as its documentation uses it: defaults where it has them, HTTP/2 by its own switch.
 *
 * `connect` gives a function that streams one chat completion, calls `onToken` each time the application gets text, and
 * throws what the library throws. A protocol that is not in `protocols` is one that the library does not speak.
 */
import http from "node:http";
import https from "node:https";
import http2 from "node:http2";
import { buffer } from "node:stream/consumers";

const model = "fakeai";
const prompt = "Hello";
const messages = [{ role: "user", content: prompt }];
/** Streams that only warm up are quick; our server takes its pace from headers. */
const quick = { "x-fakeai-ttft": "10", "x-fakeai-itl": "5" };
const named = (key) => ({ "x-client-request-id": key, ...(key.startsWith("run-") ? {} : quick) });
const bodyOf = (maxTokens) => JSON.stringify({ model, stream: true, max_tokens: maxTokens, messages });
const headersOf = (key) => ({ "content-type": "application/json", authorization: "Bearer any", ...named(key) });
const path = "/v1/chat/completions";
const isHttp2 = (protocol) => protocol === "h2" || protocol === "h2c";

/** The text of a chunk, as clients without a library of their own take it out of an event. */
function takeEvent(data, onToken) {
  if (data === "[DONE]") return;
  if (JSON.parse(data).choices[0]?.delta.content) onToken();
}

/** Events out of text as it comes: what people write by hand. */
function eventReader(onToken) {
  let rest = "";
  return (text) => {
    rest += text;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const event = rest.slice(0, end);
      rest = rest.slice(end + 2);
      if (event.startsWith("data: ")) takeEvent(event.slice(6), onToken);
    }
  };
}

async function readStream(body, onToken) {
  const read = eventReader(onToken);
  const decoder = new TextDecoder();
  for await (const chunk of body) read(decoder.decode(chunk, { stream: true }));
}

function accept(status, expected = 200) {
  if (status !== expected) throw Object.assign(new Error(`status ${status}`), { code: `status ${status}` });
}

/**
 * undici 7 sends one POST after another on a connection of HTTP/2, because it might have to repeat one when the connection
 * breaks, and likewise bodies that are streams, which all bodies of its `fetch` are. This says that requests may be repeated,
 * and reads their bodies first. https://github.com/nodejs/undici/issues/5390, https://github.com/nodejs/undici/issues/5494
 */
function manyAtOnce(dispatch) {
  return (options, handler) => {
    const send = (body) => dispatch({ ...options, body, idempotent: true }, handler);
    if (typeof options.body?.[Symbol.asyncIterator] !== "function") return send(options.body);
    void buffer(options.body).then(send);
    return true;
  };
}

/** undici's dispatcher: HTTP/2 by ALPN over TLS, by prior knowledge without. Its defaults else, unless told to multiplex. */
async function dispatcherOf(protocol, url, isMultiplexed = false) {
  const { Agent, H2CClient } = await import("undici");
  // It has one connection, so by default one stream would wait for the one before it.
  if (protocol === "h2c") return new H2CClient(url, { pipelining: 100 }).compose(manyAtOnce);
  // By default each stream that has to wait opens a connection of its own.
  if (isMultiplexed) return new Agent({ allowH2: true, connections: 1, pipelining: 100 }).compose(manyAtOnce);
  return new Agent({ allowH2: protocol === "h2" });
}

/** For SDKs that take a `fetch`: their own on HTTP/1.1, undici's on HTTP/2. */
async function fetchOf(protocol, url, isMultiplexed = false) {
  if (!isHttp2(protocol)) return undefined;
  const undici = await import("undici");
  const dispatcher = await dispatcherOf(protocol, url, isMultiplexed);
  return (input, init) => undici.fetch(input, { ...init, dispatcher });
}

const everyProtocol = ["h1", "h1s", "h2c", "h2"];
const http1 = ["h1", "h1s"];

export const adapters = {
  "node:http": {
    packages: [],
    protocols: http1,
    async connect({ url, protocol }) {
      const { request, Agent } = protocol === "h1s" ? https : http;
      const agent = new Agent({ keepAlive: true });
      return ({ key, maxTokens, onToken }) =>
        new Promise((resolve, reject) => {
          const sent = request(`${url}${path}`, { method: "POST", headers: headersOf(key), agent }, (response) => {
            const read = eventReader(onToken);
            response.setEncoding("utf8");
            response.on("data", read);
            response.on("end", resolve);
            response.on("error", reject);
            if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`));
          });
          sent.on("error", reject);
          sent.end(bodyOf(maxTokens));
        });
    },
  },

  "node:http2": {
    packages: [],
    protocols: ["h2c", "h2"],
    async connect({ url }) {
      const session = http2.connect(url);
      // A session that broke fails its streams; that is where it is told.
      session.on("error", () => {});
      return ({ key, maxTokens, onToken }) =>
        new Promise((resolve, reject) => {
          const stream = session.request({ ":method": "POST", ":path": path, ...headersOf(key) });
          stream.setEncoding("utf8");
          stream.on("response", (headers) => headers[":status"] !== 200 && reject(new Error(`status ${headers[":status"]}`)));
          stream.on("data", eventReader(onToken));
          stream.on("error", reject);
          stream.on("end", resolve);
          stream.end(bodyOf(maxTokens));
        });
    },
  },

  undici: { packages: ["undici"], protocols: everyProtocol, connect: (to) => withUndici(to, false) },

  // All streams on one connection, which undici does not do on its own. Measured when it is named.
  "undici multiplexed": { packages: ["undici"], protocols: ["h2"], isApart: true, connect: (to) => withUndici(to, true) },

  // The `fetch` of Node itself has no switch for HTTP/2.
  fetch: {
    packages: [],
    protocols: http1,
    async connect({ url }) {
      return async ({ key, maxTokens, onToken }) => {
        const response = await fetch(`${url}${path}`, { method: "POST", headers: headersOf(key), body: bodyOf(maxTokens) });
        accept(response.status);
        await readStream(response.body, onToken);
      };
    },
  },

  "eventsource-parser": {
    packages: ["eventsource-parser", "undici"],
    protocols: everyProtocol,
    async connect({ url, protocol }) {
      const { EventSourceParserStream } = await import("eventsource-parser/stream");
      const ask = (await fetchOf(protocol, url)) ?? fetch;
      return async ({ key, maxTokens, onToken }) => {
        const response = await ask(`${url}${path}`, { method: "POST", headers: headersOf(key), body: bodyOf(maxTokens) });
        accept(response.status);
        const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
        for await (const { data } of events) takeEvent(data, onToken);
      };
    },
  },

  got: {
    packages: ["got"],
    // Its HTTP/2 is negotiated by ALPN, so there is none without TLS.
    protocols: [...http1, "h2"],
    async connect({ url, protocol }) {
      const { got } = await import("got");
      return async ({ key, maxTokens, onToken }) => {
        const options = { headers: headersOf(key), body: bodyOf(maxTokens), http2: protocol === "h2" };
        await readStream(got.stream.post(`${url}${path}`, options), onToken);
      };
    },
  },

  axios: {
    packages: ["axios"],
    protocols: everyProtocol,
    async connect({ url, protocol }) {
      const { default: axios } = await import("axios");
      return async ({ key, maxTokens, onToken }) => {
        const options = { headers: headersOf(key), responseType: "stream", adapter: "http" };
        const { data } = await axios.post(`${url}${path}`, bodyOf(maxTokens), {
          ...options,
          ...(isHttp2(protocol) ? { httpVersion: 2 } : {}),
        });
        await readStream(data, onToken);
      };
    },
  },

  openai: { packages: ["openai", "undici"], protocols: everyProtocol, connect: (to) => withOpenAI(to, false) },

  "openai multiplexed": { packages: ["openai", "undici"], protocols: ["h2"], isApart: true, connect: (to) => withOpenAI(to, true) },

  "@ai-sdk/openai": {
    packages: ["@ai-sdk/openai", "ai", "undici"],
    protocols: everyProtocol,
    async connect({ url, protocol }) {
      const { createOpenAI } = await import("@ai-sdk/openai");
      const provider = createOpenAI({ baseURL: `${url}/v1`, apiKey: "any", fetch: await fetchOf(protocol, url) });
      return streamTextOf(provider.chat(model));
    },
  },

  "@ai-sdk/openai-compatible": {
    packages: ["@ai-sdk/openai-compatible", "ai", "undici"],
    protocols: everyProtocol,
    async connect({ url, protocol }) {
      const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
      const settings = { name: "fakeai", baseURL: `${url}/v1`, apiKey: "any", fetch: await fetchOf(protocol, url) };
      return streamTextOf(createOpenAICompatible(settings).chatModel(model));
    },
  },

  "@langchain/openai": {
    packages: ["@langchain/openai", "@langchain/core", "undici"],
    protocols: everyProtocol,
    async connect({ url, protocol }) {
      const { ChatOpenAI } = await import("@langchain/openai");
      const configuration = { baseURL: `${url}/v1`, fetch: await fetchOf(protocol, url) };
      // One model for each length: a new one for each request would be a client of its own.
      const chats = new Map();
      return async ({ key, maxTokens, onToken }) => {
        const chat = chats.get(maxTokens) ?? new ChatOpenAI({ model, apiKey: "any", maxTokens, configuration });
        chats.set(maxTokens, chat);
        for await (const chunk of await chat.stream(prompt, { headers: named(key) })) if (chunk.text) onToken();
      };
    },
  },

  "@anthropic-ai/sdk": {
    packages: ["@anthropic-ai/sdk", "undici"],
    protocols: everyProtocol,
    async connect({ url, protocol }) {
      const { default: Anthropic } = await import("@anthropic-ai/sdk");
      const client = new Anthropic({ baseURL: url, apiKey: "any", fetch: await fetchOf(protocol, url) });
      return async ({ key, maxTokens, onToken }) => {
        const body = { model, stream: true, max_tokens: maxTokens, messages };
        for await (const event of await client.messages.create(body, { headers: named(key) }))
          if (event.type === "content_block_delta") onToken();
      };
    },
  },
};

async function withUndici({ url, protocol }, isMultiplexed) {
  const { request } = await import("undici");
  const dispatcher = await dispatcherOf(protocol, url, isMultiplexed);
  return async ({ key, maxTokens, onToken }) => {
    const options = { method: "POST", headers: headersOf(key), body: bodyOf(maxTokens), dispatcher };
    const { statusCode, body } = await request(`${url}${path}`, options);
    accept(statusCode);
    await readStream(body, onToken);
  };
}

async function withOpenAI({ url, protocol }, isMultiplexed) {
  const { default: OpenAI } = await import("openai");
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", fetch: await fetchOf(protocol, url, isMultiplexed) });
  return async ({ key, maxTokens, onToken }) => {
    const body = { model, stream: true, max_tokens: maxTokens, messages };
    const stream = await client.chat.completions.create(body, { headers: named(key) });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) onToken();
  };
}

/** The AI SDK reports failures beside the stream. */
function streamTextOf(languageModel) {
  return async ({ key, maxTokens, onToken }) => {
    const { streamText } = await import("ai");
    let failure;
    const onError = ({ error }) => (failure ??= error);
    const { textStream } = streamText({ model: languageModel, prompt, maxOutputTokens: maxTokens, headers: named(key), onError });
    for await (const text of textStream) if (text !== "") onToken();
    if (failure !== undefined) throw failure;
  };
}
