import { accessSync, constants, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { Command, Option } from "commander";
import { localhostCertificate, readCertificate } from "../base/certificate.ts";
import { UsageError } from "../base/usage-error.ts";
import { gateways } from "../network/gateways.ts";
import { parseListen, parseTarget } from "./proxy.ts";

const examples = `
Example:
  fakeai serve --ttft 100 --itl 20 &
  fakeai proxy-config nginx > /tmp/nginx.conf
  nginx -c /tmp/nginx.conf &
  curl -N --http2-prior-knowledge http://127.0.0.1:9080/v1/chat/completions -d "$BODY"
nginx stays in the foreground until it is ended. It needs no root: ports are above 1023, and what it writes goes
below --dir. A scenario with "via": "nginx" starts it from the same text.`;

const protocols = ["h1", "h2c", "h2"] as const;

interface ConfigFlags {
  readonly to: string;
  readonly listen: string;
  readonly host: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly buffering: string;
  readonly upstreamHttp: string;
  readonly maxConcurrentStreams: string;
  readonly dir: string;
}

export function proxyConfigCommand(): Command {
  const command = new Command("proxy-config")
    .description("print a configuration of a proxy that ends HTTP/2 in front of HTTP/1.1")
    .argument("<proxy>", `one of ${Object.keys(gateways).join(", ")}`)
    .addOption(new Option("--to <address>", "the HTTP/1.1 server: host:port or a URL").default("127.0.0.1:8000"))
    .addOption(new Option("--listen <list>", "any of h1:<port>,h2c:<port>,h2:<port>").default("h2c:9080,h2:9443"))
    .addOption(new Option("--host <address>", "address to listen on").default("127.0.0.1"))
    .addOption(new Option("--tls-cert <file>", "PEM certificate of h2 (default: the self-signed one of fakeai serve)"))
    .addOption(new Option("--tls-key <file>", "PEM private key of the certificate"))
    .addOption(new Option("--buffering <on|off>", "whether answers are gathered before they are passed on").default("off"))
    .addOption(
      new Option("--upstream-http <version>", "what the server behind is asked in: 1.1, or nginx's own default of 1.0").default("1.1"),
    )
    .addOption(new Option("--max-concurrent-streams <n>", "HTTP/2 streams per connection").default("256"))
    .addOption(new Option("--dir <path>", "an existing directory that it may write to").default(tmpdir()));
  return command.addHelpText("after", examples).action(async (name: string) => {
    const given = command.opts<ConfigFlags>();
    const gateway = Object.hasOwn(gateways, name) ? gateways[name] : undefined;
    if (gateway === undefined) throw new UsageError(`"${name}" is not one of ${Object.keys(gateways).join(", ")}`);
    if (given.to.startsWith("https:"))
      throw new UsageError("--to: the server behind speaks HTTP/1.1 in cleartext (for example 127.0.0.1:8000)");
    if (given.buffering !== "on" && given.buffering !== "off")
      throw new UsageError(`--buffering: "${given.buffering}" is neither on nor off`);
    if (given.upstreamHttp !== "1.0" && given.upstreamHttp !== "1.1")
      throw new UsageError(`--upstream-http: "${given.upstreamHttp}" is neither 1.0 nor 1.1`);
    const streams = Number(given.maxConcurrentStreams);
    if (!/^\d+$/.test(given.maxConcurrentStreams) || streams < 1 || streams > 100_000)
      throw new UsageError(`--max-concurrent-streams: "${given.maxConcurrentStreams}" is not a whole number from 1 to 100000`);
    if (!/^[0-9a-z.:-]+$/i.test(given.host)) throw new UsageError(`--host: "${given.host}" is not an address`);
    if ((given.tlsCert === undefined) !== (given.tlsKey === undefined)) throw new UsageError("--tls-cert and --tls-key go together");
    const ports = parsePorts(given.listen);
    const certificate =
      ports.tls === undefined
        ? null
        : given.tlsCert === undefined
          ? await localhostCertificate()
          : readCertificate(resolve(given.tlsCert), resolve(given.tlsKey!));
    const directory = resolve(given.dir);
    if (/[\n\r$]/.test(`${directory}${certificate?.certPath ?? ""}${certificate?.keyPath ?? ""}`))
      throw new UsageError("--dir, --tls-cert, --tls-key: a path with $ or a line end cannot be written into a configuration");
    if (!isWritableDirectory(directory)) throw new UsageError(`--dir: ${directory} is not a directory that can be written to`);
    process.stdout.write(
      gateway.config({
        upstream: parseTarget(given.to),
        host: given.host,
        ports,
        certificate,
        buffering: given.buffering === "on",
        upstreamHttp: given.upstreamHttp,
        maxConcurrentStreams: streams,
        directory,
      }),
    );
  });
}

function isWritableDirectory(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function parsePorts(text: string): { h1?: number; h2c?: number; tls?: number } {
  const ports: { h1?: number; h2c?: number; tls?: number } = {};
  for (const word of text.split(",")) {
    const [name, port] = word.trim().split(":");
    const protocol = protocols.find((known) => known === name);
    if (protocol === undefined || port === undefined)
      throw new UsageError(`--listen: "${word.trim()}" is not one of ${protocols.join(", ")} with a port (for example h2c:9080,h2:9443)`);
    const { port: number } = parseListen(port);
    if (number === 0) throw new UsageError(`--listen: "${word.trim()}": a configuration needs a port above 0`);
    ports[protocol === "h2" ? "tls" : protocol] = number;
  }
  if (new Set(Object.values(ports)).size < Object.keys(ports).length) throw new UsageError("--listen: two of them share a port");
  return ports;
}
