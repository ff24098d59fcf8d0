/** The codes that a client of HTTP/3 finds on the wire: of faults on purpose, and of connections that are refused. */
import { describe, expect, onTestFinished, test } from "vitest";
import { createServer, type FakeAiServer, type ServerOptions } from "../../../src/index.ts";
import { Peer } from "../../support/quic-peer.ts";
import { quicRuns } from "../../support/targets.ts";
import { eventually } from "../../support/wait.ts";

async function serve(options: ServerOptions = {}): Promise<FakeAiServer> {
  const server = await createServer({ protocol: "h3:0", ttft: 5, itl: 2, outputTokens: 20, ...options });
  onTestFinished(() => server.close(0));
  return server;
}

async function open(server: FakeAiServer): Promise<Peer> {
  const peer = await Peer.open(Number(new URL(server.urls.h3!).port));
  onTestFinished(() => peer.end());
  return peer;
}

/** How a request with a fault ended, and one beside it on the same connection. */
async function faulted(fault: string): Promise<{ readonly hit: object; readonly beside: object; readonly closed: number | null }> {
  const peer = await open(await serve());
  peer.ask(0, [["x-fakeai-fault", fault]]);
  peer.ask(4);
  const isOver = (id: number): boolean => peer.of(id).ended || peer.of(id).reset !== null;
  await peer.until(() => peer.closed !== null || (isOver(0) && isOver(4)));
  const told = (id: number): object => ({ status: peer.of(id).status, ended: peer.of(id).ended, reset: peer.of(id).reset });
  return { hit: told(0), beside: told(4), closed: peer.closed };
}

describe.skipIf(!quicRuns)("faults over HTTP/3", () => {
  test.each([
    [0, 0x100],
    [1, 0x101],
    [2, 0x102],
    [7, 0x10b],
    [8, 0x10c],
    [11, 0x107],
    [0x10d, 0x10d],
  ])("rst_stream with code %d: RESET_STREAM with %d, and the connection goes on", async (given, sent) => {
    const { hit, beside, closed } = await faulted(`rst_stream(code=${given},after=2)`);
    expect(hit).toEqual({ status: 200, ended: false, reset: sent });
    expect(beside).toEqual({ status: 200, ended: true, reset: null });
    expect(closed).toBeNull();
  });

  test.each([
    ["reset(after=2)", 0x102],
    ["goaway(code=11,after=2)", 0x107],
    ["goaway(code=2,after=2)", 0x102],
  ])("%s: CONNECTION_CLOSE, with every stream", async (fault, code) => {
    expect((await faulted(fault)).closed).toBe(code);
  });

  test("goaway with code 0: streams under way finish, and the next is refused with H3_REQUEST_REJECTED", async () => {
    const peer = await open(await serve());
    peer.ask(0, [["x-fakeai-fault", "goaway(after=2)"]]);
    await peer.until(() => peer.of(0).ended);
    expect(peer.of(0)).toMatchObject({ status: 200, ended: true, reset: null });
    peer.ask(4);
    await peer.until(() => peer.of(4).reset !== null);
    expect([peer.of(4).status, peer.of(4).reset, peer.closed]).toEqual([0, 0x10b, null]);
  });

  test("protocol=h3 keeps a fault to HTTP/3", async () => {
    const server = await serve({ protocol: "h2c:0,h3:0", fault: "rst_stream(code=8,protocol=h3)" });
    const peer = await open(server);
    peer.ask(0);
    await peer.until(() => peer.of(0).reset !== null);
    expect(peer.of(0).reset).toBe(0x10c);
  });
});

test.skipIf(!quicRuns)(
  "a connection beyond --max-connections: H3_EXCESSIVE_LOAD, before the handshake ends APPLICATION_ERROR of QUIC",
  async () => {
    const server = await serve({ maxConnections: 1 });
    await open(server);
    await eventually(() => server.stats().openConnections === 1, "the first is there");
    // Which of the two is a race of threads: the handshake may be complete by then.
    const peer = await open(server).catch((error: Error) => error.message);
    if (typeof peer !== "string") await peer.until(() => peer.closed !== null);
    expect(typeof peer === "string" ? peer : `closed with ${peer.closed}`).toMatch(/closed with (?:12|263)$/);
  },
);
