/** Loading uWebSockets.js: from which package, and why none of them runs here where that is so. */
import { readFileSync } from "node:fs";
import { createServer as createTcpServer } from "node:net";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type * as Uws from "uWebSockets.js";
import type { us_listen_socket } from "uWebSockets.js";

/** The module, with the exports that its type declarations leave out. */
export type UwsModule = typeof Uws & {
  /** `_cfg("silent")` leaves the `uWebSockets: 20` header out of every response. */
  _cfg(option: string): void;
  readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number;
  readonly DISABLED: number;
  readonly SHARED_COMPRESSOR: number;
  readonly SHARED_DECOMPRESSOR: number;
};

/** The form of `listen` with socket options, which the type declarations leave out. */
export interface ListeningApp {
  listen(host: string, port: number, options: number, callback: (socket: us_listen_socket | false) => void): void;
}

/** The engine, and the package with its version that it came from: "uws-pack 20.0.8". */
export interface LoadedUws {
  readonly module: UwsModule;
  readonly version: string;
}

/**
 * The environment variable that sets the largest head that the engine takes, in bytes. The binary reads it once, when it loads:
 * a program that wants another size sets it before. A library leaves the environment of its process as it is.
 */
export const uwsMaxHeadVariable = "UWS_HTTP_MAX_HEADERS_SIZE";

/** The largest head without the variable (`MAX_FALLBACK_SIZE` in uWebSockets' HttpParser.h). */
const defaultMaxHeadBytes = 4096;

let maxHeadBytes: number | null = null;

/** Runtimes with node's modules that are not Node: the binary is made for Node's own V8 alone. */
const otherRuntime = ["bun", "deno"].find((name) => process.versions[name] !== undefined);

let lack = "";

/** A package that has the engine: its folder, and how it is loaded. */
interface Source {
  readonly folder: string;
  readonly load: () => unknown;
}

/** The name of the engine's official package, which no registry has: its users install it from its repository. */
const officialName = "uWebSockets.js";

/**
 * Where the engine can come from; the first that loads serves. What a user has put beside fakeai was chosen on purpose. Then
 * @uwsjs/core, the newer engine, with binaries for Node 22, 24 and 26 that need glibc 2.38. uws-pack, which comes with fakeai by the
 * engine's name, has an older engine, for Node 18 to 22 and older systems.
 *
 * The first two are CommonJS, which throws where it finds no binary. They are required: Node 20 ends the process by a rejection that
 * cannot be handled when such a module throws while it is imported.
 */
function sources(): Source[] {
  const own = createRequire(import.meta.url);
  const beside = createRequire(join(packageFolder(), "..", "beside.js"));
  const found = (require: NodeJS.Require, name: string, load: Source["load"]): Source[] => {
    const folder = folderOf(require, name);
    return folder === null ? [] : [{ folder, load }];
  };
  const official = found(beside, officialName, () => beside(officialName));
  return [
    ...official.filter(({ folder }) => manifestOf(folder).name === officialName),
    ...found(own, "@uwsjs/core", () => own("@uwsjs/core")),
    ...found(own, "uWebSockets.js", () => import("uWebSockets.js")),
  ];
}

/** Where fakeai is installed: the nearest folder above this file that has a package.json. */
function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (dirname(folder) !== folder && !isPackage(folder)) folder = dirname(folder);
  return folder;
}

/** Not by resolving it: a package that names its exports has no package.json for `require`. */
function folderOf(require: NodeJS.Require, name: string): string | null {
  for (const path of require.resolve.paths(name) ?? []) if (isPackage(join(path, name))) return join(path, name);
  return null;
}

function isPackage(folder: string): boolean {
  try {
    manifestOf(folder);
    return true;
  } catch {
    return false;
  }
}

function manifestOf(folder: string): { name?: string; version?: string } {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { name?: string; version?: string };
}

/** The engine, or null where none runs: `uwsLack` then says why. */
export async function loadUws(): Promise<LoadedUws | null> {
  if (otherRuntime !== undefined) {
    lack = `uWebSockets.js runs in Node only, and this is ${otherRuntime} ${process.versions[otherRuntime]}`;
    return null;
  }
  if (!(await mayImport())) {
    lack = "uWebSockets.js is not loaded in Jest without NODE_OPTIONS=--experimental-vm-modules";
    return null;
  }
  maxHeadBytes ??= maxHeadOf(process.env[uwsMaxHeadVariable]);
  const reasons: string[] = [];
  for (const { folder, load } of sources()) {
    const { name, version } = manifestOf(folder);
    const label = `${name} ${version}`;
    try {
      const module = (await load()) as UwsModule;
      module._cfg("silent");
      return { module, version: label };
    } catch (error) {
      reasons.push(`${label} ${whyItDoesNotLoad((error as Error).message)}`);
    }
  }
  const why = reasons.length === 0 ? "it is not installed" : reasons.join("; ");
  const cure = "use Node 20 or 22 with glibc, or Node 24 or 26 with glibc 2.38 or newer (Debian 13, Ubuntu 24.04)";
  lack = `uWebSockets.js does not run here (${why}); ${cure}`;
  return null;
}

/** Jest runs tests in contexts of vm, which import nothing: a binary that each of them would load anew stays out of them. */
async function mayImport(): Promise<boolean> {
  try {
    await import("node:module");
    return true;
  } catch {
    return false;
  }
}

/** What the dynamic loader or the package said, in a few words. */
function whyItDoesNotLoad(message: string): string {
  const glibc = /GLIBC_(\d+\.\d+)' not found/.exec(message)?.[1];
  if (glibc !== undefined) return `needs glibc ${glibc}`;
  if (/Error loading shared library|Error relocating/.test(message)) return "needs glibc, which this system has not";
  const unfound = /Cannot find module '(@uwsjs\/\w+-\w+-2[246])'/.exec(message)?.[1];
  if (unfound !== undefined) return `lacks ${unfound}, which npm installs with Node ${process.versions.node.split(".")[0]}`;
  if (message.includes("Cannot find module"))
    return `has no binary for Node ${process.versions.node} on ${process.platform}-${process.arch}`;
  return `does not load: ${message.split("\n").findLast((line) => line !== "") ?? ""}`;
}

/** Why the latest `loadUws` gave null, and what to do. */
export function uwsLack(): string {
  return lack;
}

/** The largest head that the loaded engine takes, in bytes: it answers 431 by itself to one that is larger. */
export function uwsMaxHeadBytes(): number {
  return maxHeadBytes ?? defaultMaxHeadBytes;
}

/** As the binary reads the variable: by `atoi`, into an unsigned number. */
function maxHeadOf(text: string | undefined): number {
  if (text === undefined) return defaultMaxHeadBytes;
  const bytes = Number.parseInt(text, 10);
  return bytes < 0 ? Infinity : bytes || 0;
}

/** uWebSockets.js does not say why it cannot listen: node's own attempt does. */
export function whyNot(host: string, port: number): Promise<Error> {
  return new Promise((resolve) => {
    const probe = createTcpServer();
    probe.once("error", resolve);
    probe.listen({ host, port, exclusive: true }, () => {
      probe.close(() => resolve(new Error(`cannot listen on ${host}:${port}`)));
    });
  });
}
