/** The helper for vitest, as a test file uses it. */
import OpenAI from "openai";
import { describe, expect, test } from "vitest";
import { useFakeAi } from "../../src/vitest.ts";

describe("a server for the tests of a file", () => {
  const fakeai = useFakeAi({ replies: [{ reply: { text: "From the options." } }] });
  let early = "";
  try {
    void fakeai.server;
  } catch (error) {
    early = (error as Error).message;
  }

  const said = async (): Promise<string | null> => {
    const client = new OpenAI({ baseURL: fakeai.baseUrl, apiKey: "k", maxRetries: 0 });
    const answer = await client.chat.completions.create({ model: "m", messages: [{ role: "user", content: "Hi" }] });
    return answer.choices[0]!.message.content;
  };

  test("answers, and tells what came in", async () => {
    expect(await said()).toBe("From the options.");
    expect((await fakeai.server.requests.waitForRequest("/v1/chat/completions")).body).toMatchObject({ model: "m" });
    await fakeai.server.setReplies([{ reply: { text: "From a test." } }]);
    expect(await said()).toBe("From a test.");
  });

  test("says when it is asked too early", () => {
    expect(early).toBe("the server starts before the first test: ask for it inside a test or a hook");
  });

  test("begins each test anew", async () => {
    expect(fakeai.server.requests.length).toBe(0);
    expect(await said()).toBe("From the options.");
  });
});
