/** OpenAI's own clients of Realtime, in their text mode over wss, the one protocol that they speak: for Node, and for pages. */
import { readFileSync } from "node:fs";
import OpenAI, { AzureOpenAI } from "openai";
import { OpenAIRealtimeWebSocket } from "openai/realtime/websocket";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { Agent, WebSocket as PageSocket } from "undici";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { StartedServer } from "../../src/server/server.ts";
import { runnableTargets, startSockets } from "../support/sockets.ts";

type Client = OpenAIRealtimeWS | OpenAIRealtimeWebSocket;
type Response = OpenAI.Realtime.RealtimeResponse;

const look = {
  type: "function" as const,
  name: "look",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
};

const user = (text: string): OpenAI.Realtime.ConversationItemCreateEvent => ({
  type: "conversation.item.create",
  item: { type: "message", role: "user", content: [{ type: "input_text", text }] },
});

describe.each(runnableTargets.filter(({ protocol }) => protocol === "wss"))("openai for Node: $name", (target) => {
  let server: StartedServer;
  let client: OpenAI;
  let ca: string;
  beforeAll(async () => {
    server = await startSockets(target, { protocol: "h1s,wss", outputTokens: 8, apiKey: "secret" });
    client = new OpenAI({ apiKey: "secret", baseURL: `${server.urls.h1s!}/v1` });
    ca = readFileSync(server.caPath!, "utf8");
  });
  afterAll(() => server.close(0));
  afterEach(() => vi.unstubAllGlobals());

  const ways: readonly (readonly [string, () => Client])[] = [
    ["OpenAIRealtimeWS", () => new OpenAIRealtimeWS({ model: "gpt-realtime", options: { ca } }, client)],
    [
      "OpenAIRealtimeWebSocket",
      () => {
        // What a page has, and Node 20 has not: no headers, but subprotocols.
        const dispatcher = new Agent({ connect: { ca } });
        vi.stubGlobal(
          "WebSocket",
          class extends PageSocket {
            constructor(url: string | URL, protocols: string[]) {
              super(url, { protocols, dispatcher });
            }
          },
        );
        return new OpenAIRealtimeWebSocket({ model: "gpt-realtime", dangerouslyAllowBrowser: true }, client);
      },
    ],
  ];

  test("an Azure client of Realtime: its path, its deployment, its key", async () => {
    const azure = new AzureOpenAI({ endpoint: server.urls.h1s!, apiKey: "secret", apiVersion: "2025-04-01-preview", deployment: "mine" });
    const rt = await OpenAIRealtimeWS.azure(azure, { options: { ca } });
    const { session } = await new Promise<OpenAI.Realtime.SessionCreatedEvent>((resolve, reject) => {
      rt.once("session.created", resolve);
      rt.once("error", reject);
    });
    expect(session).toMatchObject({ model: "mine" });
    rt.send({ type: "response.create" });
    expect((await done(rt)).status).toBe("completed");
    rt.close();
  });

  /** The next response that is done; what the API calls an error rejects. */
  const done = (rt: Client): Promise<Response> =>
    new Promise((resolve, reject) => {
      const onDone = ({ response }: { response: Response }): void => {
        rt.off("response.done", onDone);
        resolve(response);
      };
      rt.on("response.done", onDone);
      rt.once("error", reject);
    });

  test.each(ways)("%s: text as it comes, usage, a call and the answer to its result", async (_name, open) => {
    const rt = open();
    let said = "";
    rt.on("response.output_text.delta", ({ delta }) => (said += delta));
    const created = await new Promise<OpenAI.Realtime.SessionCreatedEvent>((resolve, reject) => {
      rt.once("session.created", resolve);
      rt.once("error", reject);
    });
    expect(created.session).toMatchObject({ type: "realtime", model: "gpt-realtime", output_modalities: ["text"] });
    rt.send({ type: "session.update", session: { type: "realtime", output_modalities: ["text"], instructions: "Be short." } });
    rt.send(user("Hello"));
    rt.send({ type: "response.create" });
    const first = await done(rt);
    expect(first.output).toMatchObject([{ type: "message", content: [{ type: "output_text", text: said }] }]);
    expect(first.usage!.output_tokens).toBe(8);

    rt.send(user("Look"));
    rt.send({ type: "response.create", response: { tools: [look], tool_choice: "required" } });
    const [call] = (await done(rt)).output!;
    if (call!.type !== "function_call") throw new Error(`not a call: ${call!.type}`);
    expect(Object.keys(JSON.parse(call!.arguments) as object)).toEqual(["city"]);
    rt.send({ type: "conversation.item.create", item: { type: "function_call_output", call_id: call!.call_id!, output: "fog" } });
    rt.send({ type: "response.create", response: { tools: [look] } });
    expect((await done(rt)).output![0]!.type).toBe("message");
    rt.close();
  });

  test.each(ways)("%s: an error has its words, and the session goes on", async (_name, open) => {
    const rt = open();
    await new Promise((resolve) => rt.once("session.created", resolve));
    const failed = new Promise<Error>((resolve) => rt.once("error", resolve));
    rt.send({ type: "input_audio_buffer.append", audio: "AAAA", event_id: "sound" });
    expect(await failed).toMatchObject({ error: { code: "audio_not_supported", event_id: "sound" } });
    rt.send({ type: "response.create" });
    expect((await done(rt)).status).toBe("completed");
    rt.close();
  });
});
