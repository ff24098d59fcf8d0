/** What the server sends to an address that is not proven, counted on a raw socket (RFC 9000, section 8.1). */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { describe, expect, onTestFinished, test } from "vitest";
import { createServer, type FakeAiServer, type ServerOptions } from "../../../src/index.ts";
import { clientHello, cryptoFrame, initialBytes, initialPacket, openingDatagram, readRetry } from "../../support/quic-packets.ts";
import { quicRuns } from "../../support/targets.ts";
import { eventually, sleep } from "../../support/wait.ts";

async function serve(options: ServerOptions): Promise<FakeAiServer> {
  const server = await createServer({ protocol: "h3:0", ...options });
  onTestFinished(() => server.close(0));
  return server;
}

async function rawClient(server: FakeAiServer) {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  onTestFinished(() => void socket.close());
  const got: Buffer[] = [];
  socket.on("message", (bytes) => got.push(bytes));
  const port = Number(new URL(server.urls.h3!).port);
  return {
    got,
    bytes: () => got.reduce((sum, { length }) => sum + length, 0),
    send: (datagram: Buffer) => new Promise<void>((resolve) => socket.send(datagram, port, "127.0.0.1", () => resolve())),
  };
}

describe.skipIf(!quicRuns)("an address that is not proven", () => {
  test.each<[string, ServerOptions]>([
    ["with --quic-retry", { quicRetry: true }],
    ["beyond loopback, by itself", { host: "0.0.0.0" }],
  ])("%s: a flood of openings gets a Retry each, and nothing is kept", async (_name, options) => {
    const server = await serve(options);
    const { got, bytes, send } = await rawClient(server);
    for (let number = 0; number < 200; number++) {
      await send(openingDatagram());
      // The engine sends what is lost again after a second: that it keeps nothing is seen sooner, by the types of what comes.
      if (number % 20 === 19) await sleep(1);
    }
    await eventually(() => got.length === 200, "all are answered");
    await sleep(50);
    expect(got.filter((datagram) => readRetry(datagram) === null)).toEqual([]);
    expect(bytes()).toBeLessThan(3 * 200 * initialBytes);
    expect(server.stats()).toMatchObject({ openConnections: 0, openSessions: 0 });
  });

  test("a client that sends the token back has a connection, and one that makes it up has none", async () => {
    const server = await serve({ quicRetry: true });
    const { got, send } = await rawClient(server);
    const ids = { dcid: Buffer.alloc(8, 1), scid: Buffer.alloc(8, 2) };
    const hello = cryptoFrame(clientHello(ids.scid));
    await send(initialPacket(ids, hello));
    await eventually(() => got.length === 1, "a Retry comes");
    const { scid, token } = readRetry(got[0]!)!;
    const forged = Buffer.from(token);
    forged[20]! ^= 1;
    await send(initialPacket({ dcid: scid, scid: ids.scid }, hello, forged));
    await sleep(100);
    expect(server.stats().openConnections).toBe(0);
    await send(initialPacket({ dcid: scid, scid: ids.scid }, hello, token));
    await eventually(() => server.stats().openConnections === 1, "it is taken");
  });
});
