/** A pause of the whole process: what its clients did meanwhile is read at once, and is no flood. */
import { describe, expect, test } from "vitest";
import { rawStreams } from "../support/h2-frames.ts";
import { serve } from "../support/process.ts";
import { chat } from "../support/chat.ts";
import { eventually, sleep } from "../support/wait.ts";

describe.concurrent.each(["node", "own"])("cancels while the server is stopped for 2 s, engine %s", (engine) => {
  test.each([
    ["of streams that were under way", 400, true],
    ["of requests that were sent meanwhile", 100, false],
  ])("%s leave the connection and its other streams alone", async (_what, mostStreams, wereUnderWay) => {
    const flags = ["--protocol", "h2c:0", "--h2-engine", engine, "--max-concurrent-streams", String(mostStreams)];
    const running = await serve([...flags, "--itl", "20", "--output-tokens", "250"]);
    const client = rawStreams(Number(new URL(running.listening[0]!.url).port), 1_000_000);
    const others = [1, 3, 5, 7];
    const cancelled = Array.from({ length: 300 }, (_, i) => 9 + 2 * i);
    client.give(0, 100_000_000);
    for (const id of others) client.open(id, chat({ stream: true }));
    const isUnderWay = (ids: readonly number[]) => (): boolean => ids.every((id) => client.bytes.has(id));
    await eventually(isUnderWay(others), "they are under way");
    if (wereUnderWay) {
      for (const id of cancelled) client.open(id, chat({ stream: true }));
      await eventually(isUnderWay(cancelled), "all are under way");
    }
    running.child.kill("SIGSTOP");
    const stoppedMs = performance.now();
    for (const [at, id] of cancelled.entries()) {
      if (!wereUnderWay) client.open(id, chat({ stream: true }));
      client.cancel(id);
      if (at % 30 === 29) await sleep(150);
    }
    await sleep(Math.max(0, 2000 - (performance.now() - stoppedMs)));
    running.child.kill("SIGCONT");
    await eventually(() => others.every((id) => client.ended.has(id)) || client.closed, "the others have ended", 20_000);
    expect({ ended: client.ended.size, reset: client.reset.size, goaways: client.goaways }).toEqual({ ended: 4, reset: 0, goaways: [] });
    client.destroy();
    await running.stop();
  });
});
