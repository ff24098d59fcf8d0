/** What a gateway of the catalogue is: how one that is installed is configured and started in front of a server of ours. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** The values of a configuration. */
export interface GatewaySettings {
  /** The HTTP server behind it, in cleartext. */
  readonly upstream: { readonly host: string; readonly port: number; readonly path?: string };
  /** Address to listen on. */
  readonly host: string;
  /** Ports by protocol; `tls` speaks h1s and h2 by ALPN. */
  readonly ports: { readonly h1?: number; readonly h2c?: number; readonly tls?: number };
  /** PEM files; needed with `ports.tls`. */
  readonly certificate: { readonly certPath: string; readonly keyPath: string } | null;
  /** Whether answers are gathered before they are passed on: in a gateway that can be told, else of no meaning. */
  readonly buffering: boolean;
  /** HTTP version towards the server; 2 by prior knowledge. */
  readonly upstreamHttp: UpstreamHttp;
  /** HTTP/2 streams of one connection. */
  readonly maxConcurrentStreams: number;
  /** Directory it may write to: process id, bodies that are too large for memory. */
  readonly directory: string;
}

export type UpstreamHttp = "1.0" | "1.1" | "2";

/** What a gateway can speak to its clients, as ports have it. */
export type ClientSide = keyof GatewaySettings["ports"];

/** One kind of gateway. */
export interface Gateway {
  /** Name of the configuration file. */
  readonly fileName: string;
  /** Places of its program; names are looked up in PATH. */
  readonly programs: readonly string[];
  /** Whether a program that was found is the one, where its name is one that others have too; absent: the name tells. */
  readonly isIt?: (program: string) => boolean;
  /** How to install it. */
  readonly install: string;
  /** SPDX name of its licence. */
  readonly licence: string;
  /** What it speaks to clients, and to the server; its own habit first. */
  readonly clients: readonly ClientSide[];
  readonly upstreams: readonly UpstreamHttp[];
  /** Whether `buffering` changes anything. */
  readonly canBuffer: boolean;
  /** Version of the program at this path; null: it cannot be told. */
  version(program: string): string | null;
  /** The configuration file, complete. Empty: it takes arguments alone. */
  config(settings: GatewaySettings): string;
  /** Further files of its directory, by name. */
  readonly files?: (settings: GatewaySettings) => Readonly<Record<string, string>>;
  /** Arguments that run it in the foreground with that file. */
  args(configPath: string, settings: GatewaySettings): readonly string[];
  /** Variables of its environment, beside ours. */
  readonly env?: (settings: GatewaySettings) => Readonly<Record<string, string>>;
  /** What its clients have to send so that a call reaches the server; absent: nothing. */
  readonly headers?: (settings: Pick<GatewaySettings, "upstream">) => Readonly<Record<string, string>>;
  /** A path that answers with 200 once it serves; absent: it serves as soon as its ports are open. */
  readonly ready?: string;
  /** It listens by then, milliseconds; default 5,000. */
  readonly startTimeoutMs?: number;
}

/** The path of a gateway's program; null where it is not installed. */
export function gatewayProgram({ programs, isIt = () => true }: Pick<Gateway, "programs" | "isIt">): string | null {
  const folders = (process.env["PATH"] ?? "").split(":").filter((folder) => folder !== "");
  const candidates = programs.flatMap((name) => (name.includes("/") ? [name] : folders.map((folder) => join(folder, name))));
  return candidates.find((path) => existsSync(path) && isIt(path)) ?? null;
}

/** A version that a program prints: what `pattern` finds in it; "present" where it finds nothing, null where the program fails. */
export function printedVersion(flag: string, pattern: RegExp): Gateway["version"] {
  return (program) => {
    const { status, stdout, stderr } = spawnSync(program, [flag], { encoding: "utf8", timeout: 5000 });
    return status === 0 ? (pattern.exec(`${stdout}${stderr}`)?.[1] ?? "present") : null;
  };
}

/** The address of the server behind, as a URL without a last slash. */
export function upstreamUrl({ upstream: { host, port } }: Pick<GatewaySettings, "upstream">): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
