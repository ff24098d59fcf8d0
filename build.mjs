/**
 * After the compiler: what else `dist` holds. The library a second time as CommonJS, in one file, because Jest cannot `require`
 * an ES module, and its types for programs that are CommonJS themselves.
 */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

for (const name of ["cli", "cli/fakeai-server"]) chmodSync(`dist/${name}.js`, 0o755);

await build({
  entryPoints: ["dist/index.js"],
  outfile: "dist/index.cjs",
  bundle: true,
  platform: "node",
  format: "cjs",
  target: "node20",
  packages: "external",
  // Jest refuses `import()` too.
  supported: { "dynamic-import": false },
  define: { "import.meta.url": "moduleUrl" },
  // As far below dist as the modules are, so that their paths to files of the package hold.
  banner: {
    js: 'const moduleUrl = require("node:url").pathToFileURL(require("node:path").join(__dirname, "commonjs", "index.cjs")).href;',
  },
});

// uws-pack is an ES module: node imports it. In Jest the server runs on node:http, which an import tells from node.
const required = /Promise\.resolve\(\)\.then\(\(\) => __toESM\(require\(("uWebSockets\.js"|"node:module")\), 1\)\)/g;
const bundle = readFileSync("dist/index.cjs", "utf8");
if (bundle.match(required)?.length !== 2) throw new Error("dist/index.cjs: uWebSockets.js is not loaded where it was");
writeFileSync("dist/index.cjs", bundle.replaceAll(required, "import($1)"));

// Values by their types in the ES module; types by the same name.
const values = ["createServer", "UsageError"];
const types = [
  "GivenReplies",
  "ReceivedRequest",
  "ReceivedRequests",
  "Reply",
  "ReplyRule",
  "ReplySet",
  "RequestMatch",
  "WaitOptions",
  "UsageError",
  "ServerOptions",
  "ServerConfig",
  "ServerStats",
  "Listening",
  "FakeAiServer",
  "Engine",
  "Protocol",
];
writeFileSync(
  "dist/index.d.cts",
  [
    'import type * as library from "./index.js" with { "resolution-mode": "import" };',
    ...values.map((name) => `export declare const ${name}: typeof library.${name};`),
    ...types.map((name) => `export type ${name} = library.${name};`),
    "",
  ].join("\n"),
);
