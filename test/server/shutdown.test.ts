/** SIGTERM: stop accepting, GOAWAY, let streams finish, exit 0. A second signal ends at once. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect as connectH2, type ClientHttp2Session } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createServer, type Protocol } from "../../src/index.ts";
import { endWithParent } from "../../src/base/parent-channel.ts";
import { cliPath, serve } from "../support/process.ts";
import { chat, chunksOf } from "../support/chat.ts";
import { type Answer, start, type Started, targets } from "../support/targets.ts";
import { eventually, sleep } from "../support/wait.ts";

/** A stream under way: its whole body, or what came until it broke. */
function streamOf(running: Pick<Started, "ask">): Promise<Answer | Error> {
  return running.ask({ body: chat({ stream: true }) }).catch((error: Error) => error);
}

describe.each(targets)("close() on $name", (target) => {
  test("streams under way finish whole, idle connections do not hold it up, new ones are refused", async () => {
    const running = await start(target, { ttft: 30, itl: 10, outputTokens: 30 });
    const idle = connectTcp(Number(new URL(running.origin).port), "127.0.0.1").on("error", () => {});
    await running.ask({ path: "/health" });
    const streams = [streamOf(running), streamOf(running), streamOf(running)];
    await eventually(() => running.server.stats().running === 3, "streams run");
    const closed = running.server.close(5000);
    await sleep(20);
    const refused = await new Promise<string>((resolve) => {
      connectTcp(Number(new URL(running.origin).port), "127.0.0.1")
        .on("error", (error: NodeJS.ErrnoException) => resolve(error.code!))
        .on("connect", () => resolve("connected"));
    });
    expect(refused).toBe("ECONNREFUSED");
    for (const answer of await Promise.all(streams)) {
      expect(answer).not.toBeInstanceOf(Error);
      expect(chunksOf((answer as Answer).body).filter(({ choices }) => choices[0]?.delta?.content)).toHaveLength(30);
    }
    const before = performance.now();
    await closed;
    expect(performance.now() - before).toBeLessThan(2000);
    await eventually(() => running.server.stats().openConnections === 0, "all connections closed");
    expect(running.server.stats()).toMatchObject({ running: 0, openStreams: 0, openSessions: 0 });
    idle.destroy();
    await running.stop();
  });

  test("past the grace, what is left is cut", async () => {
    const running = await start(target, { itl: 50, outputTokens: 1000 });
    const stream = streamOf(running);
    await eventually(() => running.server.stats().running === 1, "a stream runs");
    const before = performance.now();
    await running.server.close(200);
    expect(performance.now() - before).toBeGreaterThanOrEqual(190);
    expect(await stream).toBeInstanceOf(Error);
    await eventually(() => running.server.stats().running === 0, "nothing runs");
    expect(running.server.stats().abortedStreams).toBe(1);
    await running.stop();
  });
});

describe.each(targets.filter(({ protocol }) => protocol === "h1"))("readiness on $name", (target) => {
  test("is 503 while streams finish", async () => {
    const running = await start(target, { itl: 20, outputTokens: 20 });
    const socket = connectTcp(Number(new URL(running.origin).port), "127.0.0.1").on("error", () => {});
    let answer = "";
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString()));
    const ready = "GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n";
    socket.write(ready);
    await eventually(() => answer.endsWith('{"status":"ok"}'), "it is ready");
    // node:http closes idle connections when it drains: there the question comes behind a stream on the same connection.
    const text = JSON.stringify(chat({ stream: true }));
    const post = `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
    const stream = target.engine === "node" ? (socket.write(post), null) : streamOf(running);
    await eventually(() => running.server.stats().running === 1, "a stream runs");
    const closed = running.server.close(5000);
    answer = "";
    socket.write(ready);
    await eventually(() => answer.includes("draining"), "it answers");
    expect(answer).toMatch(/HTTP\/1\.1 503 Service Unavailable\r\n[\s\S]*\r\n\r\n\{"status":"draining"\}$/);
    await stream;
    await closed;
    socket.destroy();
    await running.stop();
  });
});

test("an HTTP/2 client is told to go away", async () => {
  const running = await start(
    targets.find(({ name }) => name === "h2c")!,
    { itl: 10, outputTokens: 30 },
  );
  const session: ClientHttp2Session = connectH2(running.origin);
  let goaway: number | null = null;
  session.on("goaway", (code) => {
    goaway = code;
  });
  const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions" });
  stream.end(JSON.stringify(chat({ stream: true })));
  stream.resume();
  await eventually(() => running.server.stats().running === 1, "a stream runs");
  const ended = new Promise((resolve) => stream.on("end", resolve));
  const closed = running.server.close(3000);
  await ended;
  await closed;
  expect(goaway).toBe(0);
  expect(running.server.stats()).toMatchObject({ finishedStreams: 1, abortedStreams: 0 });
  await running.stop();
});

test("`await using` closes at the end of the block, twice is once", async () => {
  let url = "";
  {
    await using server = await createServer();
    url = server.urls.h1!;
    expect((await fetch(`${url}/health`)).status).toBe(200);
    await server.close(0);
  }
  await expect(fetch(`${url}/health`)).rejects.toThrow("fetch failed");
});

const cases: [Protocol, "uws" | "node"][] = [
  ...(targets.some(({ engine }) => engine === "uws") ? ([["h1", "uws"]] as [Protocol, "uws"][]) : []),
  ["h1", "node"],
  ["h1s", "node"],
  ["h2c", "node"],
  ["h2", "node"],
];

describe.each(cases)("the process, %s on %s", (protocol, engine) => {
  const open = async (grace: string, tokens = "20"): Promise<{ server: Awaited<ReturnType<typeof serve>>; body: Promise<string> }> => {
    const server = await serve([
      "--protocol",
      `${protocol}:0,${protocol === "h1" ? "h2c" : "h1"}:0`,
      "--h1-engine",
      engine,
      "--itl",
      "20",
      "--output-tokens",
      tokens,
      "--grace",
      grace,
    ]);
    const origin = server.listening[0]!.url;
    const body = protocol.startsWith("h2") ? h2Body(origin, server.caPath) : h1Body(origin, server.caPath);
    await sleep(150);
    return { server, body };
  };
  const h1Body = (origin: string, caPath: string | null): Promise<string> => {
    const request = origin.startsWith("https") ? httpsRequest : httpRequest;
    return new Promise((resolve) => {
      const call = request(
        `${origin}/v1/chat/completions`,
        { method: "POST", ...(caPath === null ? {} : { ca: readFileSync(caPath) }) },
        (response) => {
          let text = "";
          response.on("data", (chunk: Buffer) => (text += chunk.toString()));
          response.on("end", () => resolve(text));
          response.on("error", () => resolve(`cut: ${text}`));
        },
      );
      call.on("error", (error) => resolve(`cut: ${error.message}`));
      call.end(JSON.stringify(chat({ stream: true })));
    });
  };
  const h2Body = (origin: string, caPath: string | null): Promise<string> =>
    new Promise((resolve) => {
      const session = connectH2(origin, caPath === null ? {} : { ca: readFileSync(caPath) });
      session.on("error", () => {});
      const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions" });
      let text = "";
      stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
      stream.on("error", () => {});
      stream.on("close", () => {
        session.destroy();
        resolve(text.includes("[DONE]") ? text : `cut: ${text}`);
      });
      stream.end(JSON.stringify(chat({ stream: true })));
    });

  test("SIGTERM: the stream finishes, exit 0", async () => {
    const { server, body } = await open("5000");
    const { code, signal } = await server.stop();
    expect(chunksOf(await body)).toHaveLength(22);
    expect([code, signal]).toEqual([0, null]);
  });

  test("SIGTERM with a short grace: cut, exit 0", async () => {
    const { server, body } = await open("50");
    const { code, signal } = await server.stop();
    expect(await body).toMatch(/^cut: /);
    expect([code, signal]).toEqual([0, null]);
  });

  test("Ctrl-C that arrives twice, from the terminal and from npm, is one: the stream finishes, exit 0", async () => {
    const { server, body } = await open("5000");
    server.child.kill("SIGINT");
    await sleep(5);
    server.child.kill("SIGINT");
    const { code, signal } = await server.ended;
    expect(chunksOf(await body)).toHaveLength(22);
    expect([code, signal]).toEqual([0, null]);
  });

  test("a second signal ends at once", async () => {
    const { server, body } = await open("60000", "500");
    server.child.kill("SIGTERM");
    await sleep(250);
    const before = performance.now();
    const { code, signal } = await server.stop();
    expect(performance.now() - before).toBeLessThan(300);
    expect([code, signal]).toEqual([143, null]);
    await body;
  });
});

describe("a server whose parent is gone", () => {
  const isGone = (pid: number): boolean => {
    try {
      return /^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
    } catch {
      return true;
    }
  };
  /** A parent that prints the id of its server, and waits. */
  const orphan = async (script: string, args: readonly string[], env: Record<string, string>): Promise<number> => {
    const parent = spawn(script, args, { env: { PATH: process.env["PATH"]!, ...env }, stdio: ["ignore", "pipe", "inherit"] });
    const text = await new Promise<string>((resolve) => {
      let seen = "";
      parent.stdout.on("data", (chunk: Buffer) => {
        seen += chunk.toString();
        if (/pid \d+/.test(seen) && seen.includes("listening")) resolve(seen);
      });
    });
    parent.kill("SIGKILL");
    return Number(/pid (\d+)/.exec(text)![1]);
  };
  const inShell = ["-c", `"${process.execPath}" "${cliPath}" serve --json --port 0 & echo pid $!; wait`];
  const linux = process.platform === "linux";

  // What npm sets of each.
  const npx = (script: string) => ({ npm_command: "exec", npm_lifecycle_event: "npx", npm_lifecycle_script: script });
  const npmRun = (script: string) => ({ npm_command: "run-script", npm_lifecycle_event: "start", npm_lifecycle_script: script });

  test.runIf(linux).each(["fakeai", "fakeai-server"])("under npx %s, which does not pass a signal on, it ends", async (script) => {
    const pid = await orphan("/bin/sh", inShell, npx(script));
    await eventually(() => isGone(pid), "the server to end");
  });

  const forked = `const child = require("node:child_process").fork(${JSON.stringify(cliPath)}, ["serve", "--json", "--port", "0"], { stdio: ["ignore", "inherit", "inherit", "ipc"], detached: true }); console.log("pid", child.pid);`;

  const letGo = `${forked} child.disconnect(); child.unref(); setInterval(() => {}, 1000);`;

  test.runIf(linux).each([
    ["killed", forked],
    ["gone before the server has started", letGo],
  ])("that was a bench with a channel, %s, ends", async (_, code) => {
    const pid = await orphan(process.execPath, ["-e", code], endWithParent);
    await eventually(() => isGone(pid), "the server to end");
  });

  test.runIf(linux).each<[string, string, readonly string[], Record<string, string>]>([
    ["in the background of a script", "/bin/sh", inShell, npmRun("fakeai serve & sleep 1")],
    ["in the background of another program under npx", "/bin/sh", inShell, npx("playwright")],
    ["with a channel that its parent has let go of", process.execPath, ["-e", letGo], {}],
    ["with a channel to a parent that has not asked for its end", process.execPath, ["-e", forked], {}],
  ])("%s stays", async (_, script, args, env) => {
    const pid = await orphan(script, args, env);
    await sleep(700);
    expect(isGone(pid)).toBe(false);
    process.kill(pid, "SIGTERM");
    await eventually(() => isGone(pid), "the server to end");
  });

  test.runIf(linux)("a process group that is guarded ends with who guards it", async () => {
    const directory = mkdtempSync(join(tmpdir(), "fakeai-guard-"));
    const code = `import { spawn } from "node:child_process";
      const { guardGroup } = await import(${JSON.stringify(new URL("../../dist/base/children.js", import.meta.url).href)});
      const child = spawn("/bin/sh", ["-c", "sleep 300 & wait"], { detached: true, stdio: "ignore" });
      guardGroup(child.pid, ${JSON.stringify(directory)});
      console.log("listening pid", child.pid);`;
    const pid = await orphan(process.execPath, ["--input-type=module", "-e", code], {});
    await eventually(() => isGone(pid) && !existsSync(directory), "the group and its directory to be gone");
  });
});
