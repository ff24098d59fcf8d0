/** Which package uWebSockets.js comes from: the built module in trees of packages that stand in for it. */
import { copyFileSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import type { loadUws, uwsLack } from "../../src/listeners/uws/module.ts";
import { root } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-uws-"));

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** A package of CommonJS, as the official one is: it throws where it has no binary. */
function commonJs(path: string, name: string, fails: string | null): void {
  write(join(path, "package.json"), JSON.stringify({ name, version: "20.99.0", main: "uws.js" }));
  write(
    join(path, "uws.js"),
    fails === null ? 'exports._cfg = () => {}; exports.from = "required";' : `throw new Error(${JSON.stringify(fails)});`,
  );
}

/** uws-pack, an ES module. */
function pack(path: string, fails: string | null): void {
  write(join(path, "package.json"), JSON.stringify({ name: "uws-pack", version: "20.0.8", type: "module", exports: "./index.mjs" }));
  write(join(path, "index.mjs"), fails === null ? "export const _cfg = () => {};" : `throw new Error(${JSON.stringify(fails)});`);
}

interface Tree {
  /** null: it loads; a text: it throws that; absent: it is not there. */
  readonly official?: string | null;
  readonly core?: string | null;
  readonly pack?: string | null;
  /** uws-pack stands beside fakeai and not below it, as npm installs it where nothing else has its name. */
  readonly hoisted?: boolean;
}

let trees = 0;

async function load(tree: Tree): Promise<{ version: string | undefined; lack: string }> {
  const modules = join(folder, String(trees++), "node_modules");
  const own = join(modules, "fakeai");
  write(join(own, "package.json"), JSON.stringify({ name: "fakeai", type: "module" }));
  const module = join(own, "dist", "listeners", "uws", "module.js");
  mkdirSync(dirname(module), { recursive: true });
  copyFileSync(join(root, "dist", "listeners", "uws", "module.js"), module);
  if (tree.official !== undefined) commonJs(join(modules, "uWebSockets.js"), "uWebSockets.js", tree.official);
  if (tree.core !== undefined) commonJs(join(own, "node_modules", "@uwsjs", "core"), "@uwsjs/core", tree.core);
  if (tree.pack !== undefined) pack(join(tree.hoisted === true ? modules : join(own, "node_modules"), "uWebSockets.js"), tree.pack);
  const loader = (await import(pathToFileURL(module).href)) as { loadUws: typeof loadUws; uwsLack: typeof uwsLack };
  const loaded = await loader.loadUws();
  return { version: loaded?.version, lack: loader.uwsLack() };
}

const noGlibc = "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by uws.node)";
const noBinary = "This version of uWS.js supports only Node.js versions 18\n\nError: Cannot find module './bin/uws_linux_x64_137.node'";
const noPart = "supports only 22, 24 and 26\n\nError: Cannot find module '@uwsjs/linux-x64-24'\nRequire stack:\n- uws.js";

test.each<[string, Tree, string]>([
  ["what a user put beside fakeai comes first", { official: null, core: null, pack: null }, "uWebSockets.js 20.99.0"],
  ["where that does not load, the newer package", { official: noBinary, core: null, pack: null }, "@uwsjs/core 20.99.0"],
  ["where the system is too old for it, the older one", { core: noGlibc, pack: null }, "uws-pack 20.0.8"],
  ["uws-pack beside fakeai is not taken for the official one", { core: null, pack: null, hoisted: true }, "@uwsjs/core 20.99.0"],
  ["and found there", { pack: null, hoisted: true }, "uws-pack 20.0.8"],
])("%s", async (_, tree, version) => {
  expect((await load(tree)).version).toBe(version);
});

test("where none loads, it says why of each and what to do", async () => {
  const cure = "use Node 20 or 22 with glibc, or Node 24 or 26 with glibc 2.38 or newer (Debian 13, Ubuntu 24.04)";
  const { version, lack } = await load({ official: "no luck", core: noGlibc, pack: noBinary });
  expect(version).toBeUndefined();
  const here = `Node ${process.versions.node} on ${process.platform}-${process.arch}`;
  const why = `uWebSockets.js 20.99.0 does not load: no luck; @uwsjs/core 20.99.0 needs glibc 2.38; uws-pack 20.0.8 has no binary for ${here}`;
  expect(lack).toBe(`uWebSockets.js does not run here (${why}); ${cure}`);
  expect((await load({ core: noPart })).lack).toContain("(@uwsjs/core 20.99.0 lacks @uwsjs/linux-x64-24, which npm installs with Node ");
  expect((await load({})).lack).toContain("(it is not installed)");
});
