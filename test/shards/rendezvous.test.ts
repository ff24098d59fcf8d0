/** The meeting point over sockets: who is turned away, and what is left of one that cannot listen. */
import { afterEach, expect, test } from "vitest";
import { UsageError } from "../../src/base/usage-error.ts";
import { Meeting } from "../../src/shards/meeting.ts";
import { openRendezvous, type Rendezvous } from "../../src/shards/rendezvous.ts";

const closing: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function open(
  told: string[],
  more: { readonly token?: string; readonly port?: number; readonly joinMs?: number } = {},
): Promise<Rendezvous> {
  const { token = null, port = 0, joinMs = 20_000 } = more;
  const held = await openRendezvous({ host: "127.0.0.1", port, token, of: 2, joinMs, barrierMs: 5000, notice: (text) => told.push(text) });
  closing.push(() => held.close());
  return held;
}

async function join(port: number, shard: number, token: string | null = null, told: string[] = []): Promise<Meeting> {
  const meeting = await Meeting.join({
    share: { shard, of: 2 },
    host: "127.0.0.1",
    port,
    token,
    plan: { "--seed": "1" },
    joinMs: 20_000,
    patienceMs: 5000,
    notice: (text) => told.push(text),
    signal: new AbortController().signal,
  });
  closing.push(() => meeting.close());
  return meeting;
}

test.each([
  [null, "the rendezvous asks for a token: give --rendezvous-token"],
  ["other", "the token is not the one of the rendezvous (--rendezvous-token)"],
])("token %j: both ends are told why, the rendezvous once", async (token, reason) => {
  const told: string[] = [];
  const { port } = await open(told, { token: "right" });
  for (let i = 0; i < 2; i++) await expect(join(port, 1, token)).rejects.toThrow(new UsageError(`--rendezvous: ${reason}`));
  expect(told).toEqual([`a shard at 127.0.0.1 was turned away: ${reason}`]);
});

test("one that cannot listen leaves no timer behind", async () => {
  const { port } = await open([]);
  const told: string[] = [];
  await expect(open(told, { port, joinMs: 50 })).rejects.toThrow("EADDRINUSE");
  await new Promise((resolve) => setTimeout(resolve, 150));
  expect(told).toEqual([]);
});

test("a successor waits until the end of its former life is noticed", async () => {
  const { port } = await open([]);
  const [former] = await Promise.all([join(port, 1), join(port, 2)]);
  const told: string[] = [];
  const successor = join(port, 1, null, told);
  await expect.poll(() => told).toEqual(["shard 1 of 2 is here already: waiting 20 s for its connection to end"]);
  former.close();
  expect((await successor).share).toEqual({ shard: 1, of: 2 });
});
