/** Loading uWebSockets.js, which has no binary for some versions of Node and some platforms. */
import { createServer as createTcpServer } from "node:net";
import type * as Uws from "uWebSockets.js";
import type { us_listen_socket } from "uWebSockets.js";

/** The module, with the exports that its type declarations leave out. */
export type UwsModule = typeof Uws & {
  /** `_cfg("silent")` leaves the `uWebSockets: 20` header out of every response. */
  _cfg(option: string): void;
  readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number;
};

/** The form of `listen` with socket options, which the type declarations leave out. */
export interface ListeningApp {
  listen(host: string, port: number, options: number, callback: (socket: us_listen_socket | false) => void): void;
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

/** The module, or null where it cannot run: `uwsLack` then says why. */
export async function loadUws(): Promise<UwsModule | null> {
  if (otherRuntime !== undefined) {
    lack = `uWebSockets.js runs in Node only, and this is ${otherRuntime} ${process.versions[otherRuntime]}`;
    return null;
  }
  maxHeadBytes ??= maxHeadOf(process.env[uwsMaxHeadVariable]);
  try {
    const uws = (await import("uWebSockets.js")) as UwsModule;
    uws._cfg("silent");
    return uws;
  } catch (error) {
    // Jest runs tests in contexts of vm, and uWebSockets.js is an ES module.
    const isShut = (error as NodeJS.ErrnoException).code === "ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING_FLAG";
    lack = isShut
      ? "uWebSockets.js is an ES module, which Jest loads with NODE_OPTIONS=--experimental-vm-modules only"
      : `uWebSockets.js has no binary for Node ${process.versions.node} on ${process.platform}-${process.arch}`;
    return null;
  }
}

/** Why the latest `loadUws` gave null. */
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
