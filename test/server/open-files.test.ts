/** The limit of open files: the server stays within it, says so, and serves those that it has. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { Agent, get } from "node:http";
import { connect as connectH2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { Bounds } from "../../src/listeners/bounds.ts";
import { loadUws } from "../../src/listeners/uws/module.ts";
import { OpenFiles, roomNotice, sparedFiles } from "../../src/listeners/open-files.ts";
import { statOf } from "../../src/base/proc.ts";
import { freePorts, resolveConfig } from "../../src/settings/server.ts";
import { serve, type Serving } from "../support/process.ts";
import { eventually, sleep } from "../support/wait.ts";

const hasUws = (await loadUws()) !== null;

/** `fakeai serve` in a shell that has lowered its limits, the hard one too. */
function serveWithin(limit: number, args: readonly string[]): Promise<Serving> {
  return serve(args, { node: "bash", nodeArgs: ["-c", `ulimit -n ${limit}; exec "$0" "$@"`, process.execPath] });
}

interface Flood {
  readonly sockets: ReadonlySet<Socket>;
  /** Connections that the server has closed. */
  closed: number;
}

function flood({ hostname, port }: URL, count: number): Flood {
  const sockets = new Set<Socket>();
  const flood: Flood = { sockets, closed: 0 };
  for (let i = 0; i < count; i++) {
    const socket = connect({ host: hostname, port: Number(port) });
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => flood.closed++);
    socket.resume();
  }
  onTestFinished(() => leave(flood));
  return flood;
}

function leave({ sockets }: Flood): void {
  for (const socket of sockets) socket.destroy();
}

/** Share of a core that a process takes in the next 600 ms. */
async function cpuShare(pid: number): Promise<number> {
  // utime and stime, hundredths of a second (proc(5)).
  const ticks = (): number => Number(statOf(pid)![11]) + Number(statOf(pid)![12]);
  const before = ticks();
  await sleep(600);
  return (ticks() - before) / 60;
}

/** GET on a connection that stays open. */
interface Asker {
  readonly ask: (path: string) => Promise<string>;
  readonly stop: () => void;
}

function asker(url: string, isHttp2: boolean): Asker {
  if (isHttp2) {
    const session = connectH2(url);
    session.on("error", () => {});
    const ask = async (path: string): Promise<string> => {
      const stream = session.request({ ":path": path });
      let text = "";
      for await (const chunk of stream) text += String(chunk);
      return text;
    };
    return { ask, stop: () => session.destroy() };
  }
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = async (path: string): Promise<string> => {
    const [response] = (await once(get(`${url}${path}`, { agent }), "response")) as [AsyncIterable<Buffer>];
    let text = "";
    for await (const chunk of response) text += String(chunk);
    return text;
  };
  return { ask, stop: () => agent.destroy() };
}

const refusedIn = (metrics: string): number =>
  metrics
    .split("\n")
    .filter((line) => line.startsWith("fakeai_bounds_met_total") && line.includes('bound="open-files"'))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);

describe
  .runIf(process.platform === "linux")
  .each([...(hasUws ? [["h1", "uws"] as const] : []), ["h1", "node"] as const, ["h2c", "node"] as const, ["h2c", "own"] as const])(
  "%s on %s with 64 files",
  (protocol, engine) => {
    test("what fits is served, the rest is refused, counted and told once", async () => {
      const chosen = [protocol === "h2c" ? "--h2-engine" : "--h1-engine", engine];
      const server = await serveWithin(64, ["--protocol", `${protocol}:0`, ...chosen, "--ttft", "0", "--itl", "5"]);
      const { url } = server.listening[0]!;
      const { ask, stop } = asker(url, protocol === "h2c");
      onTestFinished(async () => {
        stop();
        await server.stop();
      });
      expect(await ask("/health")).toContain("ok");
      const many = flood(new URL(url), 300);
      await eventually(async () => refusedIn(await ask("/metrics")) >= 260, "most are refused");
      await eventually(async () => refusedIn(await ask("/metrics")) === many.closed, "all that are closed are counted");
      const kept = 300 - many.closed;
      expect(kept).toBeGreaterThan(8);
      expect(kept).toBeLessThan(64 - sparedFiles);
      expect(await cpuShare(server.child.pid!)).toBeLessThan(0.5);
      expect(await ask("/health")).toContain("ok");
      leave(many);
      await eventually(async () => {
        const other = asker(url, protocol === "h2c");
        const answer = await other.ask("/health").catch(() => "");
        other.stop();
        return answer.includes("ok");
      }, "a new connection is served");
      stop();
      const { stderr } = await server.stop();
      expect(stderr).toMatch(
        /^fakeai: connections are refused: \d+ are open, and the limit of open files is 64 \(raise it with ulimit -n\)\n$/,
      );
    });
  },
);

const hasPrlimit = process.platform === "linux" && spawnSync("prlimit", ["--version"]).status === 0;

describe.runIf(hasPrlimit).each([...(hasUws ? ["uws"] : []), "node"])("%s when other code has taken all files", (engine) => {
  test("accepts and closes, counted, without a busy loop, until files are free", async () => {
    const server = await serve(["--protocol", "h1:0", "--h1-engine", engine]);
    const { url } = server.listening[0]!;
    const pid = server.child.pid!;
    const { ask, stop } = asker(url, false);
    onTestFinished(async () => {
      stop();
      await server.stop();
    });
    await ask("/health");
    // Numbers below the first that is free: to the process it looks the same as if it had opened all that it may.
    const setLimit = (limit: number): void => {
      expect(spawnSync("prlimit", ["--pid", String(pid), `--nofile=${limit}:`]).status).toBe(0);
    };
    const taken = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
    setLimit(Array.from({ length: 1000 }, (_, file) => file).find((file) => !taken.has(file))!);
    const many = flood(new URL(url), 50);
    await eventually(() => many.closed === 50, "all are closed");
    const metrics = await ask("/metrics");
    expect(metrics).toContain("process_cpu_seconds_total");
    // node drops some by itself before the server looks.
    if (engine === "uws") expect(refusedIn(metrics)).toBe(50);
    expect(await cpuShare(pid)).toBeLessThan(0.5);
    setLimit(4096);
    const other = asker(url, false);
    await eventually(async () => (await other.ask("/health").catch(() => "")).includes("ok"), "a new connection is served");
    other.stop();
    stop();
    expect((await server.stop()).stderr).toMatch(
      engine === "uws" ? /^fakeai: connections are refused: .*\n$/ : /^(?:fakeai: connections are refused: .*\n)?$/,
    );
  });
});

test.runIf(process.platform === "linux")("each worker keeps to the limit, and tells", async () => {
  const server = await serveWithin(64, ["--protocol", "h2c:0", "--workers", "2"]);
  const { url } = server.listening[0]!;
  const { ask, stop } = asker(url, true);
  onTestFinished(async () => {
    stop();
    await server.stop();
  });
  await ask("/health");
  // In steps: the primary accepts for all, and has no more files than they.
  for (let step = 0; step < 15; step++) {
    flood(new URL(url), 10);
    await sleep(20);
  }
  await eventually(async () => refusedIn(await ask("/metrics")) >= 50, "many are refused");
  expect(await ask("/health")).toContain("ok");
  stop();
  const { stderr } = await server.stop();
  const lines = stderr.trimEnd().split("\n").toSorted();
  expect(lines.map((line) => line.replace(/\d+ are open/, "n are open"))).toEqual(
    [0, 1].map(
      (worker) =>
        `fakeai: worker ${worker}: connections are refused: n are open, and the limit of open files is 64 (raise it with ulimit -n)`,
    ),
  );
});

describe("the room that the limit leaves", () => {
  const made = (limit: number, used: number, tell: (line: string) => void = () => {}): OpenFiles => {
    const files = new OpenFiles({ limit, used }, tell);
    onTestFinished(() => files.close());
    return files;
  };

  test("some files are spared, and one connection always fits", () => {
    expect(made(1024, 24).room).toBe(1024 - 24 - sparedFiles);
    expect(made(20, 18).room).toBe(1);
  });

  test("start-up speaks of it where fewer fit than were asked for, or than many", () => {
    const small = made(1040, 24);
    const hint = "(raise it with ulimit -n)";
    expect(roomNotice(small, 1001)).toBe(
      `the limit of open files is 1040: up to 1000 connections in place of --max-connections 1001 ${hint}`,
    );
    expect(roomNotice(small, 1000)).toBeNull();
    expect(roomNotice(small, null)).toBe(`the limit of open files is 1040: up to 1000 connections ${hint}`);
    expect(roomNotice(made(20_000, 24), null)).toBeNull();
  });

  test("one line for all that are refused soon after each other", () => {
    const told: string[] = [];
    const files = made(64, 24, (line) => told.push(line));
    files.met(25);
    files.met(25);
    expect(told).toHaveLength(1);
  });

  test("bounds: the smaller of both decides, and names itself", () => {
    const bounds = new Bounds(resolveConfig({ maxConnections: 30 }, freePorts).limits);
    bounds.files = made(64, 24);
    bounds.connections = 24;
    expect(bounds.excess()).toBeNull();
    bounds.connections = 25;
    expect(bounds.excess()).toBe("open-files");
    bounds.files = made(128, 24);
    expect(bounds.excess()).toBeNull();
    bounds.connections = 31;
    expect(bounds.excess()).toBe("too-many-connections");
    expect(bounds.canTellRefused).toBe(true);
    bounds.connections = 200;
    expect(bounds.canTellRefused).toBe(false);
  });
});

test.runIf(process.platform === "linux")("node raises the soft limit to the hard one, and what is open is counted", () => {
  const script = `import { openFileLimit, openFiles } from ${JSON.stringify(new URL("../../dist/base/proc.js", import.meta.url).href)};
    import { openSync } from "node:fs";
    const before = openFiles();
    for (let i = 0; i < 10; i++) openSync("/dev/null");
    console.log(openFileLimit(), openFiles() - before);`;
  const { stdout } = spawnSync(
    "bash",
    ["-c", 'ulimit -Sn 64; ulimit -Hn 200; exec "$0" --input-type=module -e "$1"', process.execPath, script],
    { encoding: "utf8" },
  );
  expect(stdout).toBe("200 10\n");
});
