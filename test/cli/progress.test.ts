/** How a bench says how far it is, on a terminal and in a log. */
import { describe, expect, test } from "vitest";
import { LiveState } from "../../src/cli/live.ts";
import { Progress } from "../../src/cli/progress.ts";
import { summarize } from "../../src/results/recorder.ts";
import type { LiveEvent } from "../../src/runner/arms.ts";

/** As much of a terminal as progress is written for: lines that are wrapped anew where its width changes, and the cursor's ways. */
class Screen {
  readonly isTTY = true;
  columns: number;
  readonly rows = 24;
  isCursorShown = true;
  #lines: string[] = [""];
  #line = 0;
  #column = 0;

  constructor(columns: number) {
    this.columns = columns;
  }

  write(text: string): void {
    for (const [part, , count = "1", code] of text.replaceAll("\u001B", "␛").matchAll(/(␛\[\??(\d*)([A-Za-z]))|[^␛]/gu)) {
      if (code === undefined) this.#put(part);
      else if (code === "F") this.#up(Number(count));
      else if (code === "K") this.#lines[this.#line] = this.#lines[this.#line]!.slice(0, this.#column);
      else if (code === "J") this.#lines = [...this.#lines.slice(0, this.#line), this.#lines[this.#line]!.slice(0, this.#column)];
      else if (part === "␛[?25l") this.isCursorShown = false;
      else if (part === "␛[?25h") this.isCursorShown = true;
      else if (!part.includes("?2026")) throw new Error(`no terminal knows ${JSON.stringify(part)}`);
    }
  }

  #put(char: string): void {
    if (char === "\n") {
      this.#line++;
      this.#column = 0;
      this.#lines[this.#line] ??= "";
      return;
    }
    const line = this.#lines[this.#line]!;
    this.#lines[this.#line] = line.slice(0, this.#column) + char + line.slice(this.#column + 1);
    this.#column++;
  }

  /** So many rows up, to the first column; a line has as many rows as it is wrapped into. */
  #up(rows: number): void {
    for (let left = rows; left > 0;) {
      this.#line--;
      if (this.#line < 0) throw new Error("the cursor left the screen");
      left -= Math.max(1, Math.ceil(this.#lines[this.#line]!.length / this.columns));
      if (left < 0) throw new Error("the cursor stands within a line");
    }
    this.#column = 0;
  }

  /** Lines without the empty ones at the end. */
  shown(): string[] {
    return this.#lines.join("\n").trimEnd().split("\n");
  }
}

const asking: LiveEvent = { kind: "asking", question: "100 paced streams", seconds: 30, arms: ["h1", "h2c"], runs: 12 };

function measured(arm: string, ttftUs: number): LiveEvent {
  const metrics = {
    ttft: summarize([ttftUs], "us"),
    itl: summarize([10_000], "us"),
    tokensPerSecond: summarize([1234], "1/s"),
    requestsPerSecond: summarize([77], "1/s"),
  };
  return { kind: "measured", arm, metrics };
}

describe("on a terminal", () => {
  const on = (columns: number): { screen: Screen; progress: Progress } => {
    const screen = new Screen(columns);
    return { screen, progress: new Progress(screen, { TERM: "xterm" }) };
  };

  test("a few lines stand in place, notices stay above them, and the end leaves notices alone", () => {
    const { screen, progress } = on(80);
    progress.see({ kind: "plan", seconds: 60 });
    progress.notice("about 60 s: stream");
    progress.see(asking);
    progress.see(measured("h1", 50_800));
    progress.notice("h1, round 1 was disturbed");
    progress.see(measured("h2c", 50_900));
    progress.notice("last");
    const lines = screen.shown();
    expect(lines.slice(0, 3)).toEqual(["fakeai: about 60 s: stream", "fakeai: h1, round 1 was disturbed", "fakeai: last"]);
    expect(lines[3]).toBe("100 paced streams:");
    expect(lines[4]).toMatch(/^█+░+ +8% {2}0 s, about \d+ s left$/);
    expect(lines.slice(5)).toEqual([
      "                h1    h2c",
      "TTFT p50 ms   50.8   50.9",
      "ITL p50 ms      10     10",
      "tok/s        1,234  1,234",
    ]);
    progress.end();
    expect(screen.shown()).toEqual(["fakeai: about 60 s: stream", "fakeai: h1, round 1 was disturbed", "fakeai: last"]);
    expect(screen.isCursorShown).toBe(true);
    progress.update("too late");
    expect(screen.shown()).toHaveLength(3);
  });

  test("a screen that gets narrower or wider keeps no remains", () => {
    const { screen, progress } = on(80);
    progress.see({ kind: "plan", seconds: 60 });
    progress.see(asking);
    for (const arm of ["h1", "h2c", "h1s", "h2", "h1-uws"]) progress.see(measured(arm, 50_000));
    progress.notice("one");
    for (const columns of [40, 20, 120, 60]) {
      screen.columns = columns;
      progress.notice(`at ${columns}`);
      const [last] = screen.shown().slice(-1);
      expect(last!.length).toBeLessThan(columns);
    }
    progress.end();
    expect(screen.shown()).toEqual(["one", "at 40", "at 20", "at 120", "at 60"].map((text) => `fakeai: ${text}`));
  });

  test("the cursor is hidden only within one write", () => {
    const written: string[] = [];
    const progress = new Progress({ isTTY: true, columns: 80, rows: 24, write: (text) => written.push(text) }, { TERM: "xterm" });
    progress.see(asking);
    progress.update("stream: h1");
    progress.notice("said");
    for (const text of written.filter((one) => one.includes("?25l"))) expect(text.indexOf("?25h")).toBeGreaterThan(text.indexOf("?25l"));
    progress.end();
  });
});

describe("elsewhere few plain lines", () => {
  test.each<[string, { isTTY: boolean }, NodeJS.ProcessEnv]>([
    ["a pipe", { isTTY: false }, { TERM: "xterm" }],
    ["a dumb terminal", { isTTY: true }, { TERM: "dumb" }],
    ["CI", { isTTY: true }, { TERM: "xterm", CI: "true" }],
  ])("%s", (_, { isTTY }, environment) => {
    const lines: string[] = [];
    const progress = new Progress({ isTTY, columns: 20, write: (text) => lines.push(text) }, environment);
    progress.see(asking);
    for (let i = 0; i < 1000; i++) progress.update(`step ${i}`);
    progress.notice("said");
    progress.end();
    expect(lines).toEqual(["[  0 s] step 0\n", "fakeai: said\n"]);
  });
});

describe("what is shown", () => {
  test("lines are shorter than the screen, and fewer than it has", () => {
    const state = new LiveState(0);
    state.see({ kind: "plan", seconds: 60 }, 0);
    state.see(asking, 0);
    state.say("stream (a long variant of it): h1-pipelined-8, round 3 of 5, 63 of 100 requests");
    for (let arm = 0; arm < 12; arm++) state.see(measured(`arm-${arm}`, 50_000), 1000);
    for (const rows of [1, 3, 24])
      for (let columns = 12; columns < 200; columns += 3) {
        const lines = state.lines(columns, rows, 2000);
        const longest = Math.max(...lines.map(({ length }) => length));
        expect([lines.length < Math.max(2, rows), longest < columns]).toEqual([true, true]);
      }
    expect(state.lines(80, 24, 2000)[2]).toMatch(/ arm-0 .* \+\d+$/);
    expect(state.lines(200, 24, 2000)[2]).toMatch(/arm-11$/);
  });

  test("the time left is the estimate's, and then that of the pace so far", () => {
    const state = new LiveState(0);
    expect(state.leftS(0)).toBeNull();
    state.see({ kind: "plan", seconds: 60 }, 0);
    state.see(asking, 0);
    expect(state.leftS(1000)).toBe(60);
    // Half of a question of 30 s of 60 took 30 s: twice as long as estimated.
    for (let run = 0; run < 6; run++) state.see(measured("h1", 50_000), 30_000);
    expect(state.share(30_000)).toBe(0.25);
    expect(state.leftS(30_000)).toBe(90);
    // What is left out takes no time.
    state.see({ kind: "leftOut", seconds: 30 }, 30_000);
    expect(state.share(30_000)).toBe(0.5);
  });

  test("a new question forgets the readings of the last, and a metric that was not measured is a dash", () => {
    const state = new LiveState(0);
    state.see({ kind: "plan", seconds: 60 }, 0);
    state.see(asking, 0);
    state.see({ kind: "measured", arm: "h1", metrics: { durationUs: summarize([8000], "us") } }, 0);
    state.see({ kind: "measured", arm: "h2c", metrics: { requestsPerSecond: summarize([5], "1/s") } }, 0);
    expect(state.lines(80, 24, 0).slice(2)).toEqual(["            h1  h2c", "done in ms   8    –", "req/s        –    5"]);
    state.see({ ...asking, question: "next" }, 0);
    expect(state.lines(80, 24, 0)).toHaveLength(2);
  });
});
