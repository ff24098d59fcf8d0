/** With continuous batching a turn that goes on pays for what is new alone, however it says what came before. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StartedServer } from "../../src/server/server.ts";
import { connectSocket, runnableTargets, type SocketClient, startSockets } from "../support/sockets.ts";

const blockSize = 16;
const tools = [
  {
    type: "function",
    name: "look",
    description: "Looks at a city. ".repeat(20),
    parameters: { type: "object", properties: { city: { type: "string" } } },
  },
];
const fixed = { model: "m", instructions: "Be brief, be kind, and be right. ".repeat(10), tools, tool_choice: "none" };

interface Turn {
  readonly id: string;
  readonly input: number;
  readonly output: number;
  readonly cached: number;
  readonly items: readonly object[];
}

type Said = NonNullable<Awaited<ReturnType<SocketClient["end"]>>["response"]>;

function turnOf({ id, usage, output }: Said): Turn {
  return { id, input: usage!.input_tokens, output: usage!.output_tokens, cached: usage!.input_tokens_details.cached_tokens, items: output };
}

const message = (text: string): object => ({ role: "user", content: text });

describe.each(runnableTargets.filter(({ protocol, engine }) => protocol === "ws" && engine === "node"))("$name", (target) => {
  let server: StartedServer;
  beforeAll(async () => {
    const fast = { stepTime: 0.1, stepTimePerSeq: 0, prefillTimePerToken: 0 };
    server = await startSockets(target, { protocol: "h1,ws", scheduler: "batched", outputTokens: 100, ...fast });
  });
  afterAll(() => server.close(0));

  const post = async (body: object): Promise<Turn> => {
    const response = await fetch(`${server.urls.h1!}/v1/responses`, { method: "POST", body: JSON.stringify({ ...fixed, ...body }) });
    return turnOf((await response.json()) as Said);
  };

  /** Tokens at most that a turn after this one has to read again: of a block that was not full, and of roles around messages. */
  const expectPaid = (before: Turn, after: Turn): void => {
    expect(after.cached).toBeLessThanOrEqual(after.input);
    expect(after.cached).toBeGreaterThanOrEqual(before.input + before.output - 2 * blockSize);
  };

  test("over HTTP, by its id and by all that was said", async () => {
    const words = `a first question of HTTP, ${"and more of it, ".repeat(20)}`;
    const one = await post({ input: [message(words)] });
    const two = await post({ input: [message("a second one")], previous_response_id: one.id });
    expectPaid(one, two);
    const three = await post({ input: [message("a third one")], previous_response_id: two.id });
    expectPaid(two, three);
    const anew = await post({ input: [message(words), ...one.items, message("a second one"), ...two.items, message("a third one")] });
    expectPaid(two, anew);
    // A fork shares what came before it.
    expectPaid(one, await post({ input: [message("another second one")], previous_response_id: one.id }));
    // Another beginning shares nothing.
    const other = await post({ input: [message("x")], previous_response_id: two.id, instructions: "Be long." });
    expect(other.cached).toBeLessThan(other.input / 2);
  });

  test("over WebSocket, warmed up, on its lane and forked to another", async () => {
    const client = await connectSocket(server);
    // Instructions of its own: those of the test above are in the cache, with the tools.
    const own = { ...fixed, instructions: `Over a socket. ${fixed.instructions}`, tools: [] };
    const ask = async (body: object, lane?: string): Promise<Turn> => {
      client.send({ type: "response.create", ...own, store: false, ...body, ...(lane !== undefined && { stream_id: lane }) });
      return turnOf((await client.end(lane)).response!);
    };
    const warm = await ask({ input: [message(`over WebSocket, ${"with a long context, ".repeat(20)}`)], generate: false });
    expect([warm.output, warm.cached]).toEqual([0, 0]);
    const one = await ask({ input: [message("go on")], previous_response_id: warm.id });
    expectPaid(warm, one);
    const two = await ask({ input: [message("and on")], previous_response_id: one.id });
    expectPaid(one, two);
    expectPaid(two, await ask({ input: [message("aside")], previous_response_id: two.id }, "side"));
    client.socket.terminate();
  });

  test("chats, whose history comes anew each time", async () => {
    const chat = async (messages: readonly object[]) => {
      const response = await fetch(`${server.urls.h1!}/v1/chat/completions`, {
        method: "POST",
        body: JSON.stringify({ model: "m", messages }),
      });
      return (await response.json()) as {
        choices: { message: object }[];
        usage: { prompt_tokens: number; completion_tokens: number; prompt_tokens_details: { cached_tokens: number } };
      };
    };
    const first = [message(`chat ${"with words ".repeat(40)}`)];
    const one = await chat(first);
    const two = await chat([...first, one.choices[0]!.message, message("more")]);
    expect(two.usage.prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual(
      one.usage.prompt_tokens + one.usage.completion_tokens - 2 * blockSize,
    );
  });
});
