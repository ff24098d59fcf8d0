/** Apache httpd with mod_proxy (https://httpd.apache.org/docs/2.4/mod/mod_proxy.html). */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { hostInUrl } from "../../base/host.ts";
import { type Gateway, type GatewaySettings, printedVersion, upstreamUrl } from "./gateway.ts";

/** Where distributions keep its modules. */
const moduleFolders = ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/opt/homebrew/opt/httpd/lib/httpd/modules"];

function config({ upstream, host, ports, certificate, maxConcurrentStreams, directory }: GatewaySettings): string {
  const modules = moduleFolders.find((folder) => existsSync(folder)) ?? moduleFolders[0]!;
  const load = (name: string): string => `LoadModule ${name}_module "${join(modules, `mod_${name}.so`)}"`;
  const hasTls = ports.tls !== undefined && certificate !== null;
  const names = ["mpm_event", "authz_core", "proxy", "proxy_http", "http2", ...(hasTls ? ["ssl"] : [])];
  const at = hostInUrl(host);
  const listens = [ports.h1, ports.h2c, ports.tls].filter((port) => port !== undefined).map((port) => `Listen ${at}:${port}`);
  return `ServerRoot "${directory}"
ServerName localhost
PidFile "${join(directory, "fakeai-apache.pid")}"
DefaultRuntimeDir "${directory}"
ErrorLog "${join(directory, "fakeai-apache.log")}"
LogLevel warn
${names.map(load).join("\n")}
<IfModule !unixd_module>
  LoadModule unixd_module "${join(modules, "mod_unixd.so")}"
</IfModule>
${process.getuid?.() === 0 ? "User daemon\nGroup daemon\n" : ""}${listens.join("\n")}
Protocols h2 h2c http/1.1
H2MaxSessionStreams ${maxConcurrentStreams}
H2MaxWorkers 1024
# A stream takes a thread for as long as it lasts.
StartServers 1
ServerLimit 4
ThreadLimit 256
ThreadsPerChild 256
MaxRequestWorkers 1024
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 3600
Timeout 600
ProxyTimeout 600
ProxyPass "/" "${upstreamUrl({ upstream })}/"
${
  hasTls
    ? `<VirtualHost *:${ports.tls}>
  SSLEngine on
  SSLCertificateFile "${certificate.certPath}"
  SSLCertificateKeyFile "${certificate.keyPath}"
  ProxyPass "/" "${upstreamUrl({ upstream })}/"
</VirtualHost>
`
    : ""
}`;
}

export const apache: Gateway = {
  fileName: "httpd.conf",
  programs: ["apache2", "httpd", "/usr/sbin/apache2", "/usr/sbin/httpd", "/opt/homebrew/bin/httpd"],
  install: "Debian, Ubuntu: apt-get install apache2-bin   macOS: brew install httpd   Fedora: dnf install httpd mod_http2",
  licence: "Apache-2.0",
  clients: ["h1", "h2c", "tls"],
  upstreams: ["1.1"],
  canBuffer: false,
  version: printedVersion("-v", /Apache\/(\S+)/),
  config,
  args: (configPath) => ["-D", "FOREGROUND", "-f", configPath],
};
