/** Where requests to a server that is not ours go. The paths are those of OpenAI's libraries, given the same base URL. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { shownArguments } from "../../src/cli/bench.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import { parseAddress, pathAt, wholePathAt } from "../../src/runner/processes/address.ts";

const chat = "/v1/chat/completions";

describe("a base URL", () => {
  test.each([
    ["http://h", "/v1/chat/completions"],
    ["http://h/", "/v1/chat/completions"],
    ["http://h/v1", "/v1/chat/completions"],
    ["http://h/v1/", "/v1/chat/completions"],
    ["http://h//v1//", "//v1/chat/completions"],
    ["http://h/api/v3", "/api/v3/chat/completions"],
    ["http://h/api/v4/", "/api/v4/chat/completions"],
    ["http://h/proxy", "/proxy/chat/completions"],
    ["https://h/v1beta/openai/", "/v1beta/openai/chat/completions"],
    ["https://h/openai/deployments/gpt-4o?api-version=2024-10-21", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"],
    ["https://h/openai/v1/?api-version=preview", "/openai/v1/chat/completions?api-version=preview"],
    ["http://h?key=1", "/v1/chat/completions?key=1"],
    ["http://h/v1#part", "/v1/chat/completions"],
    ["http://h/a%20b", "/a%20b/chat/completions"],
    ["http://h/v1/chat/completions", "/v1/chat/completions"],
    ["http://h/v1/chat/completions/", "/v1/chat/completions"],
    [
      "https://h/openai/deployments/d/chat/completions?api-version=2024-10-21",
      "/openai/deployments/d/chat/completions?api-version=2024-10-21",
    ],
  ])("%s is asked at %s", (url, path) => {
    const address = parseAddress(url);
    expect(pathAt(address, address.endpoint ?? chat)).toBe(path);
  });

  test.each([
    ["http://h/v1/completions", "/v1/completions"],
    ["http://h/v1/responses", "/v1/responses"],
    ["http://h/v1/messages", "/v1/messages"],
    ["http://h/chat/completions", "/v1/chat/completions"],
    ["http://h/v1", null],
  ])("%s names the endpoint %s", (url, endpoint) => {
    expect(resolveBench({ url }).endpoint).toBe(endpoint);
  });

  test("models stand below the base, metrics beside its /v1", () => {
    expect(pathAt(parseAddress("http://h/x/v1"), "/v1/models")).toBe("/x/v1/models");
    expect(pathAt(parseAddress("http://h/x/v1"), "/metrics")).toBe("/x/metrics");
    expect(pathAt(parseAddress("http://h/api/v3"), "/metrics")).toBe("/api/v3/metrics");
    expect(pathAt(parseAddress("http://h/chat/completions"), "/v1/models")).toBe("/models");
  });

  test("--endpoint: a name is below the base, a path is from the origin on, and both before what the address names", () => {
    const url = "http://h/api/v3/chat/completions?a=1";
    expect(resolveBench({ url, endpoint: "completions" })).toMatchObject({ endpoint: "/v1/completions", isEndpointWhole: false });
    expect(pathAt(parseAddress(url), "/v1/completions")).toBe("/api/v3/completions?a=1");
    expect(resolveBench({ url, endpoint: "/other/chat/completions" })).toMatchObject({
      endpoint: "/other/chat/completions",
      isEndpointWhole: true,
    });
    expect(wholePathAt(parseAddress(url), "/other")).toBe("/other?a=1");
    expect(wholePathAt(parseAddress(url), "/other?b=2")).toBe("/other?b=2");
  });

  test("a key in a query is in no message and not in the record of the command", () => {
    expect(() => parseAddress("h?key=secret")).toThrow(/^--url: "h" is not an address/);
    expect(() => parseAddress("ftp://h?key=secret", "--via")).toThrow(/^--via: ftp: is neither http: nor https:$/);
    expect(shownArguments({ url: "https://h/v1?api-version=1&subscription-key=secret&x=2" })).toEqual([
      "--url",
      "https://h/v1?api-version=1&subscription-key=***&x=2",
    ]);
  });
});

describe("OpenAI's library for Node, given the same base URL", () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url!);
    response.writeHead(200, { "content-type": "application/json" }).end('{"choices":[]}');
  });
  beforeAll(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)));
  afterAll(() => server.close());

  test.each(["/v1", "/v1/", "/api/v3", "/v1beta/openai/", "/proxy"])("%s", async (path) => {
    const baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
    await new OpenAI({ baseURL, apiKey: "k", maxRetries: 0 }).chat.completions.create({ model: "m", messages: [] });
    expect(pathAt(parseAddress(baseURL), chat)).toBe(asked.at(-1));
  });
});
