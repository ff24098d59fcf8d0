/** nginx (https://nginx.org/en/docs/http/ngx_http_proxy_module.html). */
import { join } from "node:path";
import { hostInUrl } from "../../base/host.ts";
import { type Gateway, type GatewaySettings, printedVersion } from "./gateway.ts";

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

export const nginx: Gateway = {
  fileName: "nginx.conf",
  programs: ["nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx", "/opt/homebrew/bin/nginx"],
  install: "Debian, Ubuntu: apt-get install nginx-light   macOS: brew install nginx   Fedora: dnf install nginx",
  licence: "BSD-2-Clause",
  clients: ["h1", "h2c", "tls"],
  upstreams: ["1.1", "1.0"],
  canBuffer: true,
  version: printedVersion("-v", /nginx\/(\S+)/),
  config: nginxConfig,
  args: (configPath, { directory }) => ["-p", directory, "-c", configPath],
};
