import { Command, Option } from "commander";
import { UsageError } from "../base/usage-error.ts";
import { SpecError } from "../core/random/distribution.ts";
import { networkFlagName, networkFlags, networkInputOf } from "../network/flags.ts";
import { type Impairment, parseNetwork } from "../network/impairment.ts";
import { type Proxy, type ProxyStats, type ProxyTarget, startProxy } from "../network/proxy.ts";
import { endsWithParent } from "../base/parent-channel.ts";

const examples = `
Examples:
  fakeai proxy --listen 9000 --to 127.0.0.1:8000 --rtt 40 --jitter 'lognormal(2,1)'
  fakeai proxy --listen 9000 --to https://api.example.com --bandwidth 10mbit --stall 1%,40ms
  fakeai proxy --to 127.0.0.1:8080 --bandwidth-down 2mbit/connection --cut-down 'exponential(30s),fin' --seed 7

Every protocol on TCP goes through it unread: h1, h1s, h2c and h2 alike. Two delays add up. The TCP handshake of a client is
with the proxy and takes no time; in its place the client's first bytes wait for one round trip. A stall is what a lost
segment looks like from above TCP: everything behind it on its connection waits too. No congestion window is modelled.
Equal seeds and byte streams meet equal impairments, connection by connection in the order in which they are accepted.
SIGINT or SIGTERM end it, with what it did on stdout. Exit codes: 0 ended by a signal, 1 could not start, 2 wrong usage.`;

/** Adds the flags of a network to a command. */
export function addNetworkFlags(command: Command): void {
  for (const { flag, takes, help } of networkFlags) command.addOption(new Option(`--${flag} <${takes}>`, help).helpGroup("Network:"));
}

interface ProxyFlags {
  readonly listen: string;
  readonly to?: string;
  readonly seed: string;
  readonly json?: boolean;
}

export function proxyCommand(): Command {
  const command = new Command("proxy")
    .description("a network between a client and a server: delay, jitter, bandwidth, stalls, cuts")
    .addOption(new Option("--listen <[host:]port>", "where clients connect; 0 picks a free port").default("0"))
    .addOption(new Option("--to <address>", "the server: host:port, or a URL of which these are used"))
    .addOption(new Option("--seed <n>", "decides stalls, cuts and jitter").default("1"))
    .addOption(new Option("--json", "one line of JSON on stdout when ready, and one at the end"));
  addNetworkFlags(command);
  return command.addHelpText("after", examples).action(async () => {
    const given = command.opts<ProxyFlags>();
    const values = command.opts<Record<string, unknown>>();
    if (given.to === undefined) throw new UsageError("--to: name the server (for example --to 127.0.0.1:8000)");
    const target = parseTarget(given.to);
    const { host, port } = parseListen(given.listen);
    const seed = Number(given.seed);
    if (!/^\d+$/.test(given.seed) || !Number.isSafeInteger(seed)) throw new UsageError(`--seed: "${given.seed}" is not a whole number`);
    const impairment = impairmentOf(values);
    const proxy = await startProxy({
      target,
      impairment,
      seed,
      host,
      port,
      onUnreachable: (reason) =>
        process.stderr.write(`fakeai: cannot reach ${target.host}:${target.port} (${reason}); its clients are reset\n`),
    });
    // Before anything is printed: whoever reads that line may signal at once.
    const ended = untilSignalled(proxy);
    const shownHost = host.includes(":") ? `[${host}]` : host;
    process.stdout.write(
      given.json
        ? `${JSON.stringify({ listening: `${shownHost}:${proxy.port}`, port: proxy.port })}\n`
        : `proxy ${shownHost}:${proxy.port}  to ${target.host}:${target.port}  ${describeNetwork(values)}\n`,
    );
    const { stats, cpuUs } = await ended;
    process.stdout.write(given.json ? `${JSON.stringify({ ...stats, cpuUs })}\n` : describeStats(stats, cpuUs));
    // Idle sockets of a name look-up must not hold up an exit that everybody waits for.
    process.exitCode = 0;
  });
}

const nothing: Impairment["up"] = { latencyUs: 0, jitterUs: null, bandwidth: null, stall: null, cut: null };

function impairmentOf(values: Readonly<Record<string, unknown>>): Impairment {
  try {
    return parseNetwork(networkInputOf(values), networkFlagName) ?? { up: nothing, down: nothing };
  } catch (error) {
    if (error instanceof SpecError) throw new UsageError(error.message);
    throw error;
  }
}

/** Where something leads: host:port, or a URL. Throws UsageError. */
export function parseTarget(text: string): ProxyTarget {
  const hint = "(for example 127.0.0.1:8000 or https://api.example.com)";
  const url = /^https?:\/\//i.test(text) ? text : `tcp://${text}`;
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || parsed.hostname === "") throw new UsageError(`--to: "${text}" is not an address ${hint}`);
  const port = Number(parsed.port || { "https:": 443, "http:": 80 }[parsed.protocol] || 0);
  if (!(port >= 1)) throw new UsageError(`--to: "${text}" has no port ${hint}`);
  return { host: parsed.hostname.replace(/^\[|\]$/g, ""), port };
}

/** A port, or host:port. Throws UsageError. */
export function parseListen(text: string): { host: string; port: number } {
  const match = /^(?:(\[[0-9a-f:.]+\]|[^:[\]/\s]+):)?(\d{1,5})$/i.exec(text);
  const port = Number(match?.[2]);
  if (!match || port > 65_535)
    throw new UsageError(`--listen: "${text}" is neither a port nor host:port (for example 9000 or 0.0.0.0:9000)`);
  return { host: match[1]?.replace(/^\[|\]$/g, "") ?? "127.0.0.1", port };
}

function describeNetwork(values: Readonly<Record<string, unknown>>): string {
  const { up, down, ...both } = networkInputOf(values);
  const words = (input: object, way: string): string[] => Object.entries(input).map(([key, value]) => `${key}${way} ${String(value)}`);
  const shown = [...words(both, ""), ...words(up ?? {}, " up"), ...words(down ?? {}, " down")];
  return shown.length === 0 ? "nothing is added (set --rtt, --stall, ...)" : shown.join(", ");
}

function describeStats({ connections, unreachable, cuts, up, down, peakHeldBytes, lateUs }: ProxyStats, cpuUs: number): string {
  const late =
    lateUs === null ? "" : `, p50 ${lateUs.p50 / 1000} ms, p99 ${lateUs.p99 / 1000} ms, at most ${lateUs.max / 1000} ms later than planned`;
  return [
    `connections ${connections}, ${cuts} cut${unreachable === 0 ? "" : `, ${unreachable} could not be made`}`,
    `up          ${up.bytes} bytes, ${up.stalls} stalls`,
    `down        ${down.bytes} bytes, ${down.stalls} stalls`,
    `held        ${peakHeldBytes} bytes at most${late}`,
    `cpu         ${(cpuUs / 1e6).toFixed(2)} s`,
    "",
  ].join("\n");
}

/** Closes on SIGTERM or SIGINT, or when a parent that has a channel is gone. */
function untilSignalled(proxy: Proxy): Promise<{ stats: ProxyStats; cpuUs: number }> {
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
