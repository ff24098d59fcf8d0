/** OpenAI's own client over WebSocket: text, calls, usage, errors, a socket that is closed in the middle, reconnection. */
import OpenAI from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StartedServer } from "../../src/server/server.ts";
import { runnableTargets, startSockets } from "../support/sockets.ts";

type Sent = Parameters<ResponsesWS["send"]>[0];

const look = {
  type: "function",
  name: "look",
  strict: true,
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
} as const;

describe.each(runnableTargets.filter(({ protocol }) => protocol === "ws"))("openai for Node: $name", (target) => {
  let server: StartedServer;
  let client: OpenAI;
  beforeAll(async () => {
    server = await startSockets(target, { protocol: "h1,ws", outputTokens: 8 });
    client = new OpenAI({ apiKey: "any", baseURL: `${server.urls.h1!}/v1` });
  });
  afterAll(() => server.close(0));

  /** Sends messages, and collects events until so many responses have ended, or the socket is closed. */
  async function run(messages: readonly Sent[], ends: number) {
    const socket = new ResponsesWS(client);
    for (const message of messages) socket.send(message);
    const texts = new Map<string, string>();
    const responses: OpenAI.Responses.Response[] = [];
    const errors: string[] = [];
    let closed: number | null = null;
    for await (const event of socket) {
      if (event.type === "error") {
        errors.push(event.error.message);
        if (errors.length + responses.length === ends) socket.close();
      } else if (event.type === "close") {
        closed = event.code;
      } else if (event.type === "message") {
        const { message } = event;
        if (message.type === "response.output_text.delta") texts.set(message.item_id, (texts.get(message.item_id) ?? "") + message.delta);
        if (message.type === "response.completed") responses.push(message.response);
        if (errors.length + responses.length === ends) socket.close();
      }
    }
    return { texts, responses, errors, closed };
  }

  test("text and usage, on two lanes at once", async () => {
    const { texts, responses } = await run(
      [
        { type: "response.create", model: "gpt-x", store: false, input: "hi" },
        { type: "response.create", model: "gpt-x", store: false, input: "hi2", stream_id: "b" },
      ],
      2,
    );
    expect(responses.map(({ usage }) => usage!.output_tokens)).toEqual([8, 8]);
    const said = responses.flatMap(({ output }) =>
      output.map((item) => (item.type === "message" && item.content[0]!.type === "output_text" ? item.content[0]!.text : "")),
    );
    expect(new Set(said)).toEqual(new Set(texts.values()));
  });

  test("a call, and the answer to its result", async () => {
    const called = await run([{ type: "response.create", model: "gpt-x", input: "hi", tools: [look], tool_choice: "required" }], 1);
    const [response] = called.responses;
    const call = response!.output[0]!;
    if (call.type !== "function_call") throw new Error(`not a call: ${call.type}`);
    expect(Object.keys(JSON.parse(call.arguments) as object)).toEqual(["city"]);
    const answered = await run(
      [
        {
          type: "response.create",
          model: "gpt-x",
          previous_response_id: response!.id,
          tools: [look],
          input: [{ type: "function_call_output", call_id: call.call_id, output: "fog" }],
        },
      ],
      1,
    );
    expect(answered.responses[0]!.output[0]!.type).toBe("message");
    expect(answered.responses[0]!.usage!.input_tokens).toBeGreaterThan(response!.usage!.input_tokens);
  });

  test("an error has its words, and the next response comes on the same socket", async () => {
    const { errors, responses } = await run(
      [
        { type: "response.create", model: "gpt-x", input: "hi", previous_response_id: "resp_none" },
        { type: "response.create", model: "gpt-x", input: "hi" },
      ],
      2,
    );
    expect(errors).toEqual([expect.stringContaining("Previous response with id 'resp_none' not found.")]);
    expect(responses).toHaveLength(1);
  });

  test("a socket that is closed in the middle says with which code", async () => {
    const { closed, responses } = await run(
      [{ type: "response.create", model: "gpt-x", input: "hi", metadata: { "x-fakeai-fault": "close(1011,after=3)" } }],
      1,
    );
    expect([closed, responses]).toEqual([1011, []]);
  });
});
