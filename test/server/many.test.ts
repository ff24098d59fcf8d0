/** Servers of a test suite: many, one after the other, in one process. What each takes is measured by `npm run measure -- starts`. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { createServer } from "../../src/index.ts";
import { chat } from "../support/chat.ts";
import { eventually } from "../support/wait.ts";

/** What keeps node alive, by kind. */
function held(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

test.each(["h1", "h1s,h2c,h2"])("twenty servers on %s leave nothing behind", async (protocol) => {
  const before = held();
  const listeners = process.eventNames().map((name) => process.listenerCount(name));
  for (let i = 0; i < 20; i++) {
    const server = await createServer({ protocol, outputTokens: 3, keepRequests: 10, replies: [{ reply: { text: `Number ${i}.` } }] });
    if (server.urls.h1 !== undefined) {
      const headers = { connection: "close" };
      const answer = await fetch(`${server.urls.h1}/v1/chat/completions`, { method: "POST", body: JSON.stringify(chat()), headers });
      expect(await answer.text()).toContain(`Number ${i}.`);
    }
    await server.close(0);
  }
  const kinds = ["TCPServerWrap", "TCPSocketWrap", "Timeout", "Immediate"];
  const most = (kind: string): number => before[kind] ?? 0;
  await eventually(
    () => kinds.every((kind) => (held()[kind] ?? 0) <= most(kind)),
    `${JSON.stringify(held())} as before: ${JSON.stringify(before)}`,
  );
  expect(process.eventNames().map((name) => process.listenerCount(name))).toEqual(listeners);
});

test.each(["uws", "node"] as const)("a server that is closed can be collected on %s", async (h1Engine) => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const closed = await (async () => {
    const server = await createServer({ h1Engine, keepRequests: 10 });
    await server.close(0);
    return new WeakRef(server.requests);
  })();
  await eventually(() => {
    collect();
    return closed.deref() === undefined;
  }, "collected");
});
