/**
 * Proxies that end HTTP/2 in front of an HTTP/1.1 server. A row has a template for the configuration file, and the arguments
 * that start the proxy in the foreground, without root. To add a proxy, add a row.
 */
import { hostInUrl } from "../base/host.ts";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** The values of a configuration. */
export interface GatewaySettings {
  /** The HTTP/1.1 server behind it. */
  readonly upstream: { readonly host: string; readonly port: number; readonly path?: string };
  /** Address to listen on. */
  readonly host: string;
  /** Ports by protocol; `tls` speaks h1s and h2 by ALPN. */
  readonly ports: { readonly h1?: number; readonly h2c?: number; readonly tls?: number };
  /** PEM files; needed with `ports.tls`. */
  readonly certificate: { readonly certPath: string; readonly keyPath: string } | null;
  /** Whether answers are buffered. */
  readonly buffering: boolean;
  /** HTTP version towards the server. */
  readonly upstreamHttp: "1.0" | "1.1";
  /** HTTP/2 streams of one connection. */
  readonly maxConcurrentStreams: number;
  /** Directory it may write to: process id, bodies that are too large for memory. */
  readonly directory: string;
}

/** One kind of proxy. */
export interface Gateway {
  /** Name of the configuration file. */
  readonly fileName: string;
  /** Places of its program; names are looked up in PATH. */
  readonly programs: readonly string[];
  /** How to install it. */
  readonly install: string;
  /** The argument that prints its version, and where the version stands in what it prints. */
  readonly version: { readonly flag: string; readonly pattern: RegExp };
  /** The configuration file, complete. */
  config(settings: GatewaySettings): string;
  /** Arguments that run it in the foreground with that file. */
  args(configPath: string, directory: string): readonly string[];
}

/** Streams last minutes, and connections a whole measurement: limits that would end them are raised. */
function nginxConfig(settings: GatewaySettings): string {
  const { upstream, host, ports, certificate, buffering, upstreamHttp, maxConcurrentStreams, directory } = settings;
  const at = (port: number, more: string): string => `listen ${hostInUrl(host)}:${port}${more};`;
  const place = (name: string): string => quoted(join(directory, `fakeai-nginx-${name}`));
  const upstreamHost = hostInUrl(upstream.host);
  const listens = [
    ...(ports.h1 === undefined ? [] : [`${at(ports.h1, "")} # HTTP/1.1`]),
    ...(ports.h2c === undefined ? [] : [`${at(ports.h2c, " http2")} # HTTP/2 by prior knowledge`]),
    ...(ports.tls === undefined || certificate === null
      ? []
      : [
          `${at(ports.tls, " ssl http2")} # HTTP/2, or HTTP/1.1, by ALPN`,
          `ssl_certificate ${quoted(certificate.certPath)};`,
          `ssl_certificate_key ${quoted(certificate.keyPath)};`,
          "ssl_protocols TLSv1.2 TLSv1.3;",
        ]),
  ];
  const keeps = upstreamHttp === "1.1";
  return `# HTTP/2 ends here; the server behind is asked over HTTP/${upstreamHttp}, ${keeps ? "on connections that are kept" : "on a connection for each request: with fakeai serve --h1-engine node"}.${upstream.path === undefined ? "" : `\n# Paths go through as they are: the base URL of clients ends in ${upstream.path} here too.`}
daemon off;
worker_processes 1;
pid ${place("pid")};
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path ${place("body")};
  proxy_temp_path ${place("proxy")};
  fastcgi_temp_path ${place("fastcgi")};
  uwsgi_temp_path ${place("uwsgi")};
  scgi_temp_path ${place("scgi")};
  client_max_body_size 10m;
  # The default closes a connection after 1000 requests.
  keepalive_requests 1000000;
  keepalive_timeout 1h;
  http2_max_concurrent_streams ${maxConcurrentStreams};

  upstream fakeai {
    server ${upstreamHost}:${upstream.port} max_fails=0;
    keepalive 1024;
    keepalive_requests 1000000;
    keepalive_timeout 1h;
  }

  server {
    ${listens.join("\n    ")}
    location / {
      proxy_pass http://fakeai;
      # Up to nginx 1.29 the default is 1.0: a connection for each request, and with buffering a token waits for a full buffer.
      proxy_http_version ${upstreamHttp};${keeps ? `\n      proxy_set_header Connection "";` : ""}
      proxy_set_header Host $host;
      proxy_read_timeout 10m;
      # The default is on.
      proxy_buffering ${buffering ? "on" : "off"};
    }
  }
}
`;
}

/** A parameter of nginx that contains blanks. */
function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}

/** Names of the gateways, as commands and scenarios have them. */
export type GatewayName = "nginx";

const rows: Readonly<Record<GatewayName, Gateway>> = {
  nginx: {
    fileName: "nginx.conf",
    programs: ["nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx", "/opt/homebrew/bin/nginx"],
    install: "Debian, Ubuntu: apt-get install nginx-light   macOS: brew install nginx   Fedora: dnf install nginx",
    version: { flag: "-v", pattern: /nginx\/(\S+)/ },
    config: nginxConfig,
    args: (configPath, directory) => ["-p", directory, "-c", configPath],
  },
};

/** By name; a name that a command was given may be none of them. */
export const gateways: Readonly<Record<string, Gateway>> = rows;

/** The path of a gateway's program; null where it is not installed. */
export function gatewayProgram({ programs }: Gateway): string | null {
  const folders = (process.env["PATH"] ?? "").split(":").filter((folder) => folder !== "");
  const candidates = programs.flatMap((name) => (name.includes("/") ? [name] : folders.map((folder) => join(folder, name))));
  return candidates.find((path) => existsSync(path)) ?? null;
}
