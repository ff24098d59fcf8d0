/** Servers behind one address: each numbers its requests, and so draws, by itself. */
import { afterAll, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";

const servers: FakeAiServer[] = [];
afterAll(() => Promise.all(servers.map((server) => server.close(0))));

async function texts(instance: string | undefined, count: number): Promise<string[]> {
  const server = await createServer({ protocol: ["h1"], port: 0, seed: 7, ...(instance === undefined ? {} : { instance }) });
  servers.push(server);
  const said: string[] = [];
  for (let i = 0; i < count; i++) {
    const body = JSON.stringify({ model: "m", max_tokens: 12, messages: [{ role: "user", content: "Hi" }] });
    const response = await fetch(`${server.urls.h1}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    said.push(((await response.json()) as { choices: [{ message: { content: string } }] }).choices[0].message.content);
  }
  return said;
}

test("replicas K of N take the requests of one server in turns, and * a place of its own", async () => {
  const [whole, one, two, own] = await Promise.all([texts(undefined, 6), texts("1/2", 3), texts("2/2", 3), texts("*", 3)]);
  expect([one[0], two[0], one[1], two[1], one[2], two[2]]).toEqual(whole);
  expect(whole).not.toContain(own[0]);
});

test.each(["0/2", "3/2", "2", "a"])("--instance %s is refused", async (instance) => {
  await expect(createServer({ protocol: ["h1"], port: 0, instance })).rejects.toThrow("is no replica");
});

const metricsOf = async (server: FakeAiServer): Promise<string> => (await fetch(`${server.urls.h1}/metrics`)).text();

test("every sample of /metrics says which replica and which pod it is of, whatever is in the name", async () => {
  const label = 'pod=a "b" \\n c\\';
  const server = await createServer({ protocol: ["h1"], port: 0, instance: "2/3", metricsLabel: [label, "zone=eu"] });
  servers.push(server);
  const samples = (await metricsOf(server)).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  expect(samples.length).toBeGreaterThan(50);
  // A quotation mark and a backslash are escaped (Prometheus, text format).
  const common = String.raw`{replica="2/3",pod="a \"b\" \\n c\\",zone="eu"`;
  expect(samples.filter((line) => !line.slice(line.indexOf("{")).startsWith(common))).toEqual([]);
  const plain = await createServer({ protocol: ["h1"], port: 0, instance: "*" });
  servers.push(plain);
  expect(await metricsOf(plain)).toMatch(/^process_cpu_seconds_total \S+$/m);
});

test.each(["pod", "=a", "le=1", "__name__=a", "a-b=c", "pod=a\nb 1", "pod=\u001b[2J", `pod=${"x".repeat(257)}`])(
  "--metrics-label %j is refused in one line",
  async (label) => {
    const refused = createServer({ protocol: ["h1"], port: 0, metricsLabel: label });
    // oxlint-disable-next-line no-control-regex -- that is what must not be there
    await expect(refused).rejects.toThrow(/^--metrics-label: [^\n\u001b]*$/);
  },
);
