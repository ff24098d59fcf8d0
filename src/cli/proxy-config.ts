import { accessSync, constants, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { localhostCertificate, readCertificate } from "../base/certificate.ts";
import { UsageError } from "../base/usage-error.ts";
import { type GatewayName, proxies } from "../network/gateways/catalogue.ts";
import type { GatewaySettings } from "../network/gateways/gateway.ts";
import { didYouMean } from "../base/guess.ts";
import { settingsOf } from "../settings/parse.ts";
import { proxyConfigFlags, type ProxyConfigSettings } from "../settings/proxy.ts";
import type { Line } from "./command.ts";

/** `fakeai proxy-config`: prints the configuration of a gateway. */
export async function proxyConfig({ given, positionals }: Line): Promise<void> {
  const name = positionals[0]!;
  const settings = settingsOf(proxyConfigFlags, given);
  const gateway = Object.hasOwn(proxies, name) ? proxies[name as GatewayName] : undefined;
  if (gateway === undefined) {
    const known = Object.keys(proxies);
    throw new UsageError(`"${name.slice(0, 60)}" is not one of ${known.join(", ")}${didYouMean(name, known)}`);
  }
  if ((settings.tlsCert === null) !== (settings.tlsKey === null)) throw new UsageError("--tls-cert and --tls-key go together");
  const { to: upstream, listen: ports, host, buffering, upstreamHttp, maxConcurrentStreams } = settings;
  if (!gateway.upstreams.includes(upstreamHttp))
    throw new UsageError(`--upstream-http: ${name} asks a server in ${gateway.upstreams.join(" or ")}, not in ${upstreamHttp}`);
  if (buffering === "on" && !gateway.canBuffer) throw new UsageError(`--buffering: ${name} has no configuration that gathers answers`);
  const certificate = ports.tls === undefined ? null : await certificateOf(settings);
  const directory = resolve(settings.dir ?? tmpdir());
  if (/[\n\r$]/.test(`${directory}${certificate?.certPath ?? ""}${certificate?.keyPath ?? ""}`))
    throw new UsageError("--dir, --tls-cert, --tls-key: a path with $ or a line end cannot be written into a configuration");
  if (!isWritableDirectory(directory)) throw new UsageError(`--dir: ${directory} is not a directory that can be written to`);
  process.stdout.write(
    gateway.config({ upstream, host, ports, certificate, buffering: buffering === "on", upstreamHttp, maxConcurrentStreams, directory }),
  );
}

async function certificateOf({ tlsCert, tlsKey }: ProxyConfigSettings): Promise<GatewaySettings["certificate"]> {
  if (tlsCert !== null && tlsKey !== null) return readCertificate(resolve(tlsCert), resolve(tlsKey)).files;
  const { files, whyShortLived } = await localhostCertificate();
  if (whyShortLived !== null) throw new UsageError(`${whyShortLived}: give --tls-cert and --tls-key`);
  return files;
}

function isWritableDirectory(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
