/**
 * How much each command loads: own files of dist, and files of packages apart; node's own modules do not count. A bound that
 * fails says that something heavy was imported where it is not needed: import it in the command, or when it is asked for.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadedBy } from "../support/modules.ts";

import { sampleResult } from "../support/sample-result.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-modules-"));
const result = join(folder, "result.json");
writeFileSync(result, JSON.stringify(sampleResult()));

interface Case {
  readonly args: readonly string[];
  readonly untilReady?: boolean;
  /** Own files at most, with room for files that are split: the rooms are what guards. */
  readonly own: number;
  /** Rooms that it may load from. */
  readonly rooms: readonly string[];
  /** Packages that it may load. */
  readonly packages: readonly string[];
}

const line = "commander";
/** hdr-histogram-js and ajv, with what they need. */
const histograms = ["hdr-histogram-js", "base64-js", "pako", "@assemblyscript"];
const schemas = ["ajv", "fast-deep-equal", "json-schema-traverse", "fast-uri"];

const onResults = { rooms: ["cli", "base", "settings", "core", "results", "report"], packages: [line, ...histograms, ...schemas] };
const cases: Readonly<Record<string, Case>> = {
  "--version": { args: ["--version"], own: 1, rooms: [], packages: [] },
  "--help": { args: ["--help"], own: 8, rooms: ["cli", "base", "settings"], packages: [] },
  "bench --help": { args: ["bench", "--help"], own: 24, rooms: ["cli", "base", "settings", "core", "results"], packages: [line] },
  compare: { args: ["compare", result, result], own: 32, ...onResults },
  merge: { args: ["merge", result, result, "--out", join(folder, "merged")], own: 64, ...onResults },
  report: { args: ["report", result, "--out", join(folder, "page.html")], own: 60, ...onResults },
  "proxy-config": {
    args: ["proxy-config", "nginx", "--listen", "h2c:9080"],
    // Each gateway that it knows, one file of text each, is read for the list of names.
    own: 32,
    rooms: ["cli", "base", "settings", "network", "core"],
    packages: [line],
  },
  proxy: {
    args: ["proxy", "--to", "127.0.0.1:1"],
    untilReady: true,
    own: 50,
    rooms: ["cli", "base", "settings", "network", "wire", "core"],
    packages: [line, ...histograms],
  },
  serve: {
    args: ["serve", "--port", "0"],
    untilReady: true,
    own: 180,
    rooms: ["cli", "base", "settings", "core", "api", "wire", "listeners", "server"],
    packages: [line, "uWebSockets.js"],
  },
  bench: {
    args: ["bench", "--url", "http://127.0.0.1:1", "--scenario", "stream", "--rounds", "1", "--out", join(folder, "run")],
    own: 220,
    // A tape is one of its workloads.
    rooms: ["shards", "tape", "cli", "base", "settings", "core", "wire", "network", "load", "runner", "results", "report"],
    packages: [line, ...histograms, ...schemas],
  },
};

describe("modules that a command loads", () => {
  test.each(Object.entries(cases))("%s", async (name, { args, untilReady = false, own, rooms, packages }) => {
    const loaded = await loadedBy(args, join(folder, `${name.replaceAll(/[^a-z]/g, "")}.log`), untilReady);
    console.info(`${name}: ${loaded.own.length} own modules, ${loaded.packageFiles} of packages`);
    const other = loaded.own.filter((path) => path !== "cli.js" && !rooms.some((room) => path.startsWith(`${room}/`)));
    expect(other).toEqual([]);
    expect(loaded.packages.filter((one) => !packages.includes(one))).toEqual([]);
    expect(loaded.own.length).toBeLessThanOrEqual(own);
    expect(loaded.own).toContain("cli.js");
  });
});
