/** HTTP/1.0: node:http serves it; uWebSockets.js answers 505 by itself, and the server says what to do when it starts. */
import { once } from "node:events";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { describe, expect, onTestFinished, test } from "vitest";
import { createServer } from "../../src/index.ts";
import { loadUws } from "../../src/listeners/uws/module.ts";
import { runCli, serve, type Serving } from "../support/process.ts";
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

/** What a server prints when it starts. */
async function linesOf(flags: readonly string[]): Promise<string[]> {
  const running = runCli(["serve", "--protocol", "h1:0,h1s:0", ...flags]);
  await running.firstLine;
  running.child.kill("SIGTERM");
  return (await running.ended).stdout.trimEnd().split("\n");
}

const hint = "HTTP/1.0 (ab, nginx without proxy_http_version 1.1) is served with --h1-engine node alone";

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

test.each([
  ["h1s:0", "http/1.0"],
  ["h2:0", "http/1.0"],
  ["h2:0", undefined],
])("%s: over TLS to clients that offer %s by ALPN", async (protocol, offered) => {
  await using server = await createServer({ protocol, h1Engine: "node" });
  const socket = connectTls({
    port: Number(new URL(Object.values(server.urls)[0]!).port),
    rejectUnauthorized: false,
    ...(offered !== undefined && { ALPNProtocols: [offered] }),
  });
  let got = "";
  socket.on("data", (chunk: Buffer) => (got += chunk.toString()));
  socket.write("GET /health HTTP/1.0\r\n\r\n");
  await once(socket, "close");
  expect(got).toMatch(/^HTTP\/1\.1 200 OK\r\n.*connection: close.*"status":"ok"/is);
});

test("node: nothing is said of it", async () => {
  expect(await linesOf(["--h1-engine", "node"])).not.toContain(hint);
});

describe.runIf(hasUws)("uws", () => {
  test("says what to do when it starts, once for both protocols, and not where a program reads", async () => {
    expect((await linesOf([])).filter((line) => line === hint)).toHaveLength(1);
    expect(await linesOf(["--json"])).toHaveLength(1);
  });

  test("says nothing later: to it HTTP/1.0 looks like a check that the port is open", async () => {
    const server = await started("uws");
    for (let i = 0; i < 5; i++) expect(await exchange(server, "GET /health HTTP/1.0\r\n\r\n")).toMatch(/^HTTP\/1\.1 505 /);
    for (let i = 0; i < 5; i++) {
      const probe = connect(Number(new URL(server.listening[0]!.url).port), "127.0.0.1");
      await once(probe, "connect");
      probe.destroy();
    }
    expect(await exchange(server, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 /);
    expect((await server.stop()).stderr).toBe("");
  });
});
