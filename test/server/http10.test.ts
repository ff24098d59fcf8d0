/** HTTP/1.0: node:http serves it; uWebSockets.js answers 505 by itself, and the server says what to do. */
import { once } from "node:events";
import { connect } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { loadUws } from "../../src/listeners/uws/module.ts";
import { serve, type Serving } from "../support/process.ts";
import { chat } from "../support/chat.ts";

const hasUws = (await loadUws()) !== null;

/** What a connection brings until the server closes it. */
async function exchange({ listening }: Serving, text: string): Promise<string> {
  const socket = connect(Number(new URL(listening[0]!.url).port), "127.0.0.1");
  let got = "";
  socket.on("data", (chunk: Buffer) => (got += chunk.toString()));
  socket.write(text);
  await once(socket, "close");
  return got;
}

async function started(engine: string): Promise<Serving> {
  const server = await serve(["--port", "0", "--h1-engine", engine, "--ttft", "0", "--itl", "0", "--output-tokens", "4"]);
  onTestFinished(() => void server.child.kill("SIGKILL"));
  return server;
}

const hint =
  "fakeai: h1: 3 connections ended without a request of HTTP/1.1. To HTTP/1.0 (ab, nginx's default) uWebSockets.js answers 505: " +
  "set proxy_http_version 1.1 in nginx, or start with --h1-engine node\n";

test("node: a stream without chunks, ended by the close", async () => {
  const server = await started("node");
  const body = JSON.stringify(chat({ stream: true }));
  const answer = await exchange(server, `POST /v1/chat/completions HTTP/1.0\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  const [head, events] = answer.split("\r\n\r\n");
  expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(head).toMatch(/connection: close/i);
  expect(head).not.toMatch(/transfer-encoding/i);
  expect(events).toMatch(/^data: \{.*data: \[DONE\]\n\n$/s);
  expect((await server.stop()).stderr).toBe("");
});

describe.runIf(hasUws)("uws", () => {
  const old = "GET /health HTTP/1.0\r\n\r\n";
  const present = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

  test("says once what to do when nothing but HTTP/1.0 comes", async () => {
    const server = await started("uws");
    for (let i = 0; i < 5; i++) expect(await exchange(server, old)).toMatch(/^HTTP\/1\.1 505 /);
    expect((await server.stop()).stderr).toBe(hint);
  });

  test("says nothing to clients whose requests it reads, and of one that looks whether the port is open", async () => {
    const server = await started("uws");
    for (let i = 0; i < 5; i++) {
      expect(await exchange(server, present)).toMatch(/^HTTP\/1\.1 200 /);
      await exchange(server, old);
    }
    await Promise.all(Array.from({ length: 8 }, () => exchange(server, present)));
    expect((await server.stop()).stderr).toBe("");
  });
});
