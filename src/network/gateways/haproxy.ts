/** HAProxy (https://docs.haproxy.org/2.6/configuration.html). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { hostInUrl } from "../../base/host.ts";
import { type Gateway, type GatewaySettings, printedVersion } from "./gateway.ts";

/** Certificate and key in one file, as `crt` takes them. */
const pemFile = "fakeai-haproxy.pem";

function config({ upstream, host, ports, certificate, buffering, upstreamHttp, maxConcurrentStreams, directory }: GatewaySettings): string {
  const at = hostInUrl(host);
  const binds = [
    ...(ports.h1 === undefined ? [] : [`bind ${at}:${ports.h1}`]),
    ...(ports.h2c === undefined ? [] : [`bind ${at}:${ports.h2c} proto h2`]),
    ...(ports.tls === undefined || certificate === null
      ? []
      : [`bind ${at}:${ports.tls} ssl crt ${join(directory, pemFile)} alpn h2,http/1.1`]),
  ];
  return `# ${pemFile} holds the certificate and behind it its key, where TLS is spoken.
global
  nbthread 1
  tune.h2.max-concurrent-streams ${maxConcurrentStreams}

defaults
  mode http
${buffering ? "  # Without http-no-delay pieces of an answer wait for each other." : "  option http-no-delay"}
  timeout connect 5s
  # Streams last minutes.
  timeout client 10m
  timeout server 10m
  timeout http-keep-alive 1h

frontend clients
  ${binds.join("\n  ")}
  default_backend server

backend server
  http-reuse always
  server fakeai ${hostInUrl(upstream.host)}:${upstream.port}${upstreamHttp === "2" ? " proto h2" : ""}
`;
}

export const haproxy: Gateway = {
  fileName: "haproxy.cfg",
  programs: ["haproxy", "/usr/sbin/haproxy", "/usr/local/sbin/haproxy", "/opt/homebrew/bin/haproxy"],
  install: "Debian, Ubuntu: apt-get install haproxy   macOS: brew install haproxy   Fedora: dnf install haproxy",
  licence: "GPL-2.0-or-later",
  clients: ["h1", "h2c", "tls"],
  upstreams: ["1.1", "2"],
  canBuffer: true,
  version: printedVersion("-v", /version (\S+)/),
  config,
  files: ({ certificate }): Record<string, string> =>
    certificate === null
      ? {}
      : { [pemFile]: `${readFileSync(certificate.certPath, "utf8")}\n${readFileSync(certificate.keyPath, "utf8")}` },
  args: (configPath) => ["-db", "-f", configPath],
};
