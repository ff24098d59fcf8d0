/** What a server that is not ours is asked before it is measured: which parameters it takes. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { probeParameters } from "../../src/runner/processes/probe.ts";

type Body = Readonly<Record<string, unknown>>;

let server: Server | null = null;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

/** A server that answers a body with what `answerTo` says of it, or well; what was asked, and what came of the probe. */
async function probed(answerTo: (body: Body) => { status: number; message: string } | null, path = "/v1/chat/completions") {
  const bodies: Body[] = [];
  server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      const body = JSON.parse(text) as Body;
      bodies.push(body);
      const refused = answerTo(body);
      if (refused === null) response.writeHead(200, { "content-type": "text/event-stream" }).end("data: [DONE]\n\n");
      else response.writeHead(refused.status).end(JSON.stringify({ error: { message: refused.message } }));
    });
  });
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const tls = { ca: null, insecure: false, cipher: null };
  const { accepted, refusal } = await probeParameters({ origin, protocol: "h1", path, method: "POST", headers: {}, tls }, "m");
  return { bodies, accepted, refusal };
}

describe("parameters", () => {
  test("a server that takes all of them is asked once", async () => {
    const { bodies, accepted } = await probed(() => null);
    expect(bodies).toHaveLength(1);
    expect(accepted).toEqual({ lengthParameter: "max_tokens", refused: new Set() });
  });

  test("max_tokens refused in OpenAI's words: max_completion_tokens", async () => {
    const { bodies, accepted } = await probed((body) =>
      "max_tokens" in body
        ? {
            status: 400,
            message: "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
          }
        : null,
    );
    expect(accepted).toEqual({ lengthParameter: "max_completion_tokens", refused: new Set() });
    expect(bodies.at(-1)).toMatchObject({ max_completion_tokens: 16, seed: 1 });
  });

  test("seed and max_tokens refused one after the other", async () => {
    const { accepted } = await probed((body) =>
      "seed" in body
        ? { status: 422, message: "seed: Extra inputs are not permitted" }
        : "max_tokens" in body
          ? { status: 400, message: "unknown field max_tokens" }
          : null,
    );
    expect(accepted).toEqual({ lengthParameter: "max_completion_tokens", refused: new Set(["seed"]) });
  });

  test.each([
    ["a server that refuses everything", 400, "seed and max_tokens and max_completion_tokens are wrong"],
    ["a model that is not there", 404, "The model `m` does not exist"],
    ["a key that is wrong", 401, "max_tokens"],
  ])("%s: not known, and not asked for ever", async (_name, status, message) => {
    const { bodies, accepted, refusal } = await probed(() => ({ status, message }));
    expect(accepted).toBeNull();
    expect(refusal).toBe(`status ${status}: "${message}"`);
    expect(bodies.length).toBeLessThan(5);
  });

  test("the shape of each endpoint", async () => {
    expect((await probed(() => null, "/v1/responses")).bodies[0]).toMatchObject({ input: "hello", max_output_tokens: 16 });
    server!.close();
    expect((await probed(() => null, "/v1/completions?a=1")).bodies[0]).toMatchObject({ prompt: "hello", max_tokens: 16 });
    server!.close();
    expect((await probed(() => null, "/v1/messages")).bodies[0]).toMatchObject({ messages: [{ role: "user" }], max_tokens: 16 });
  });
});
