/** The direction of imports: what stands in `src` keeps to the allow list, and the test sees what does not. */
import { describe, expect, test } from "vitest";
import { root } from "../support/process.ts";
import { circles, forbidden, importsOf, readSources, rooms, type Sources } from "./imports.ts";

const sources = readSources(`${root}src`);

/** The sources with one more import in a file. */
function planted(file: string, specifier: string, form = (specifier: string) => `import type { X } from "${specifier}";\n`): Sources {
  expect(sources.has(file)).toBe(true);
  return new Map([...sources, [file, form(specifier) + sources.get(file)!]]);
}

test("every import is allowed, and every file has a room", () => {
  expect(sources.size).toBeGreaterThan(100);
  expect(forbidden(sources)).toEqual([]);
});

test("no circle", () => {
  expect(circles(sources)).toEqual([]);
});

test("no list names a room that is not there", () => {
  const folders = new Set([...sources.keys()].filter((file) => file.includes("/")).map((file) => file.split("/")[0]!));
  expect(folders).toEqual(new Set(Object.keys(rooms)));
  for (const { rooms: named } of Object.values(rooms)) expect(named.filter((room) => !folders.has(room))).toEqual([]);
});

describe("what is planted is found", () => {
  test.each([
    ["load/pool.ts", "../server/gate.ts", "server/gate.ts"],
    ["listeners/bounds.ts", "../runner/bench.ts", "runner/bench.ts"],
    ["server/gate.ts", "../cli/main.ts", "cli/main.ts"],
    ["api/routes.ts", "../runner/bench.ts", "runner/bench.ts"],
    ["core/seams.ts", "../base/clock.ts", "base/clock.ts"],
    ["core/pacing/pacer.ts", "node:fs", "node:fs"],
    ["results/types.ts", "../load/job.ts", "load/job.ts"],
    ["wire/h2/hpack.ts", "../../load/job.ts", "load/job.ts"],
    ["runner/bench.ts", "../server/server.ts", "server/server.ts"],
    ["network/proxy.ts", "yaml", "yaml"],
    ["base/host.ts", "../index.ts", "index.ts"],
    ["report/html.ts", "../../test/support/process.ts", "../test/support/process.ts"],
  ])("%s -> %s", (file, specifier, target) => {
    expect(forbidden(planted(file, specifier))).toEqual([`${file} -> ${target}`]);
  });

  test("in every form", () => {
    const forms: ((specifier: string) => string)[] = [
      (specifier) => `import { x } from "${specifier}";\n`,
      (specifier) => `import {\n  x,\n  type Y,\n} from "${specifier}";\n`,
      (specifier) => `import * as x from "${specifier}";\n`,
      (specifier) => `import "${specifier}";\n`,
      (specifier) => `export { x } from "${specifier}";\n`,
      (specifier) => `export * from "${specifier}";\n`,
      (specifier) => `const x = await import("${specifier}");\n`,
      (specifier) => `let x: import("${specifier}").X;\n`,
    ];
    for (const form of forms) expect(forbidden(planted("api/routes.ts", "../cli/main.ts", form))).toEqual(["api/routes.ts -> cli/main.ts"]);
  });

  test("a file outside of the rooms", () => {
    expect(forbidden(new Map([["loose.ts", ""]]))).toEqual(["loose.ts stands in no room"]);
    expect(forbidden(new Map([["new-room/file.ts", ""]]))).toEqual(["new-room/file.ts stands in no room"]);
  });

  test("a circle", () => {
    const circle = new Map([
      ["core/a.ts", 'import type { B } from "./b.ts";'],
      ["core/b.ts", 'import { c } from "./c.ts";'],
      ["core/c.ts", 'export * from "./a.ts";'],
    ]);
    expect(circles(circle)).toEqual(["core/a.ts -> core/b.ts -> core/c.ts -> core/a.ts"]);
  });
});

test("what is no import is none", () => {
  expect(importsOf('const code = `\n  import "x";`;\n// from "y"\nconst text = "import z";')).toEqual([]);
});
