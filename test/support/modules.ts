/** Which modules a command loads, as node sees it at run time. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { root, runCli } from "./process.ts";

export interface Loaded {
  /** Own files by their path in dist, as "cli/main.js". */
  readonly own: readonly string[];
  /** Packages of which something was loaded. Node's own modules do not count. */
  readonly packages: readonly string[];
  /** Files of packages. */
  readonly packageFiles: number;
}

/** Writes the address of each ES module to a file, and at the end those of CommonJS modules. */
const hook = (log: string): string =>
  `data:text/javascript,${encodeURIComponent(`
import { appendFileSync } from "node:fs";
import { createRequire, register } from "node:module";
import { pathToFileURL } from "node:url";
register("data:text/javascript," + encodeURIComponent(\`
  import { appendFileSync } from "node:fs";
  export async function load(url, context, next) {
    appendFileSync(${JSON.stringify(log)}, url + "\\\\n");
    return next(url, context);
  }\`));
const { cache } = createRequire(${JSON.stringify(import.meta.url)});
process.on("exit", () => {
  for (const path of Object.keys(cache)) appendFileSync(${JSON.stringify(log)}, pathToFileURL(path).href + "\\n");
});`)}`;

/** Runs a command from its modules and not from the bundle, and says what it loaded. With `untilReady` it gets SIGTERM after its first line. `log` is a path to write to. */
export async function loadedBy(args: readonly string[], log: string, untilReady: boolean = false): Promise<Loaded> {
  const running = runCli(args, { nodeArgs: ["--import", hook(log)], env: { NODE_DISABLE_COMPILE_CACHE: "1" } });
  if (untilReady) {
    await running.firstLine;
    running.child.kill("SIGTERM");
  }
  const { stderr } = await running.ended;
  const files = [...new Set(readFileSync(log, "utf8").trim().split("\n"))]
    .filter((url) => url.startsWith("file:"))
    .map((url) => fileURLToPath(url));
  if (files.length === 0) throw new Error(`nothing was loaded: ${stderr}`);
  const dist = `${root}dist/`;
  const ofPackages = files.filter((path) => path.includes("/node_modules/"));
  return {
    own: files.filter((path) => path.startsWith(dist)).map((path) => path.slice(dist.length)),
    packages: [...new Set(ofPackages.map((path) => path.split("/node_modules/").at(-1)!.split("/")[0]!))],
    packageFiles: ofPackages.length,
  };
}
