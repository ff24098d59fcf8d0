/**
 * After the compiler: what else `dist` holds. The library a second time as CommonJS, in one file, because Jest cannot `require`
 * an ES module, and its types for programs that are CommonJS themselves.
 */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const manifest = JSON.parse(readFileSync("package.json", "utf8"));
const packages = ["dependencies", "optionalDependencies", "peerDependencies"].flatMap((kind) => Object.keys(manifest[kind]));

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

// `fakeai serve` and its workers in one file. Files of the package are found from where each module stands.
const dist = fileURLToPath(new URL("dist/", import.meta.url));
const ofServe = new Set(["./sources.js", "./serve.js", "./fault-help.js", "./typos.js"]);
await build({
  entryPoints: ["dist/cli/bundled.js"],
  outfile: "dist/bundle.cjs",
  bundle: true,
  platform: "node",
  format: "cjs",
  target: "node20",
  // A smaller text to read and to hold; names stay, for stack traces.
  minifySyntax: true,
  minifyWhitespace: true,
  external: packages.flatMap((name) => (name === "commander" ? [] : [name, `${name}/*`])),
  plugins: [
    {
      name: "serve",
      setup(build) {
        build.onResolve({ filter: /^\.\.?\// }, ({ path, importer, kind }) =>
          kind === "dynamic-import" && importer.endsWith("/cli/commands.js") && !ofServe.has(path) ? { path, external: true } : undefined,
        );
        build.onLoad({ filter: /\.js$/ }, ({ path }) => {
          const address = `require("node:url").pathToFileURL(__dirname + ${JSON.stringify(`/${relative(dist, path)}`)}).href`;
          return path.startsWith(dist)
            ? { contents: readFileSync(path, "utf8").replaceAll("import.meta.url", address), loader: "js" }
            : undefined;
        });
      },
    },
  ],
});

// What comes before the bundle, in one file too: each module that node finds, reads and links takes about a millisecond of a start.
await build({
  entryPoints: ["dist/cli.js"],
  outfile: "dist/cli.js",
  allowOverwrite: true,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  plugins: [
    {
      name: "before the bundle",
      setup(build) {
        build.onResolve({ filter: /^\.\/cli\/main\.js$/ }, ({ path }) => ({ path, external: true }));
        build.onLoad({ filter: /dist[\\/]base[\\/].*\.js$/ }, ({ path }) => ({
          contents: readFileSync(path, "utf8").replaceAll(
            "import.meta.url",
            `new URL(${JSON.stringify(`./${relative(dist, path)}`)}, import.meta.url).href`,
          ),
          loader: "js",
        }));
      },
    },
  ],
});
for (const name of ["cli", "cli/fakeai-server"]) chmodSync(`dist/${name}.js`, 0o755);

// It is read as Latin-1. esbuild escapes what is beyond ASCII, but for regular expressions and String.raw.
if (/[^\0-\x7F]/.test(readFileSync("dist/bundle.cjs", "utf8")))
  throw new Error("dist/bundle.cjs: a character beyond ASCII; write it as \\u....");
// One function, and no text around it at run time: V8 would hold both. A script may not import before Node 21.7; what loads it does.
const program = readFileSync("dist/bundle.cjs", "utf8").replaceAll(/\bimport\((?=")/g, "importModule(");
writeFileSync("dist/bundle.cjs", `(function (exports, require, module, __dirname, importModule) {${program}\n})`);

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
