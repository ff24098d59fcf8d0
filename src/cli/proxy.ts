import { hostInUrl } from "../base/host.ts";
import { printable } from "../base/printable.ts";
import { UsageError } from "../base/usage-error.ts";
import { endsWithParent } from "../base/parent-channel.ts";
import { SpecError } from "../core/random/distribution.ts";
import { type Impairment, parseNetwork, unfitFor } from "../network/impairment.ts";
import type { ProxyStats } from "../network/proxy.ts";
import type { DatagramStats, UdpProxyStats } from "../network/udp-proxy.ts";
import { networkFlagName, networkInputOf } from "../settings/network.ts";
import { settingsOf } from "../settings/parse.ts";
import { proxyFlags } from "../settings/proxy.ts";
import type { Line } from "./command.ts";
import { refuseUnknownVariables } from "./environment.ts";

/** `fakeai proxy`: runs until a signal ends it, and says then what it did. */
export async function proxy({ given }: Line): Promise<void> {
  refuseUnknownVariables(proxyFlags);
  const { to: target, listen, seed, plant, json, udp } = settingsOf(proxyFlags, given);
  if (target === null) throw new UsageError("--to: name the server (for example --to 127.0.0.1:8000)");
  const { host, port } = listen;
  const impairment = impairmentOf(given, udp);
  if (udp && plant !== null) throw new UsageError("--plant reads HTTP/1.1 in cleartext, and --udp carries datagrams: leave one out");
  if (plant !== null && /^https:/i.test(String(given["to"])))
    throw new UsageError("--plant reads HTTP/1.1 in cleartext: --to an https: server leaves nothing to read");
  const shared = { target, impairment, seed, host, port };
  const unreachable =
    (what: string) =>
    (reason: string): void => {
      process.stderr.write(`fakeai: cannot reach ${printable(hostInUrl(target.host))}:${target.port} (${printable(reason)}); ${what}\n`);
    };
  // Each is loaded by who needs it.
  const proxy: Running = udp
    ? await (await import("../network/udp-proxy.ts")).startUdpProxy({ ...shared, onUnreachable: unreachable("its datagrams are lost") })
    : await (
        await import("../network/proxy.ts")
      ).startProxy({
        ...shared,
        ...(plant === null ? {} : { plant }),
        onUnplantable: () =>
          process.stderr.write("fakeai: --plant reads HTTP/1.1 in cleartext only: connections that speak something else are reset\n"),
        onUnreachable: unreachable("its clients are reset"),
      });
  // Before anything is printed: its reader may send a signal at once.
  const ended = untilSignalled(proxy);
  const shownHost = hostInUrl(host);
  process.stdout.write(
    json
      ? `${JSON.stringify({ listening: `${shownHost}:${proxy.port}`, port: proxy.port })}\n`
      : `proxy ${shownHost}:${proxy.port}  to ${hostInUrl(target.host)}:${target.port}  ${describeNetwork(given, plant !== null)}\n`,
  );
  const { stats, cpuUs } = await ended;
  process.stdout.write(json ? `${JSON.stringify({ ...stats, cpuUs })}\n` : describeStats(stats, cpuUs));
}

/** What runs, whatever it carries. */
interface Running {
  readonly port: number;
  stats(): ProxyStats | UdpProxyStats;
  close(): Promise<void>;
}

const nothing: Impairment["up"] = { latencyUs: 0, jitterUs: null, bandwidth: null, stall: null, cut: null, loss: 0 };

function impairmentOf(values: Readonly<Record<string, unknown>>, udp: boolean): Impairment {
  try {
    const impairment = parseNetwork(networkInputOf(values), networkFlagName) ?? { up: nothing, down: nothing };
    const [{ up, down }, transport] = [impairment, udp ? "--udp" : "without --udp"];
    if (!udp && up.loss + down.loss > 0)
      throw new UsageError("--loss is of datagrams: give --udp, or --stall for what TCP makes of a loss");
    if (udp && [up, down].some(({ stall }) => stall !== null))
      throw new UsageError("--stall is of TCP: of datagrams some are lost (for example --loss 1%)");
    const unfit = unfitFor(udp ? "udp" : "tcp", impairment);
    if (unfit !== null) throw new UsageError(`${transport}: this network ${unfit}`);
    return impairment;
  } catch (error) {
    if (error instanceof SpecError) throw new UsageError(error.message);
    throw error;
  }
}

function describeNetwork(values: Readonly<Record<string, unknown>>, isPlanted: boolean): string {
  const { up, down, ...both } = networkInputOf(values);
  const words = (input: object, way: string): string[] => Object.entries(input).map(([key, value]) => `${key}${way} ${String(value)}`);
  const shown = [...words(both, ""), ...words(up ?? {}, " up"), ...words(down ?? {}, " down")];
  if (isPlanted) shown.push(`planted: ${String(values["plant"])}`);
  return shown.length === 0 ? "nothing is added (set --rtt, --stall, ...)" : shown.join(", ");
}

function describeStats(stats: ProxyStats | UdpProxyStats, cpuUs: number): string {
  const { peakHeldBytes, lateUs } = stats;
  const late =
    lateUs === null ? "" : `, p50 ${lateUs.p50 / 1000} ms, p99 ${lateUs.p99 / 1000} ms, at most ${lateUs.max / 1000} ms later than planned`;
  return [
    ...("flows" in stats ? datagramLines(stats) : connectionLines(stats)),
    `held        ${peakHeldBytes} bytes at most${late}`,
    `cpu         ${(cpuUs / 1e6).toFixed(2)} s`,
    "",
  ].join("\n");
}

function connectionLines({ connections, unreachable, cuts, up, down }: ProxyStats): string[] {
  return [
    `connections ${connections}, ${cuts} cut${unreachable === 0 ? "" : `, ${unreachable} could not be made`}`,
    `up          ${up.bytes} bytes, ${up.stalls} stalls`,
    `down        ${down.bytes} bytes, ${down.stalls} stalls`,
  ];
}

function datagramLines({ flows, up, down }: UdpProxyStats): string[] {
  const words = ({ bytes, datagrams, lost, dropped }: DatagramStats): string =>
    `${bytes} bytes in ${datagrams} datagrams, ${lost} lost${dropped === 0 ? "" : `, ${dropped} dropped for want of room`}`;
  return [`flows       ${flows}`, `up          ${words(up)}`, `down        ${words(down)}`];
}

/** Closes on SIGTERM or SIGINT, or when a parent with a channel to this process ends. */
function untilSignalled(proxy: Running): Promise<{ stats: ProxyStats | UdpProxyStats; cpuUs: number }> {
  return new Promise((resolve) => {
    let signalled = false;
    const onSignal = (): void => {
      if (signalled) return;
      signalled = true;
      const stats = proxy.stats();
      const { user, system } = process.cpuUsage();
      void proxy.close().then(() => resolve({ stats, cpuUs: user + system }));
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
    if (endsWithParent()) process.on("disconnect", onSignal);
  });
}
