/** The measured clients: libraries on each protocol that they speak, and commands; and the input of each. */
import { relative } from "node:path";
import { pathToFileURL } from "node:url";
import { UsageError } from "../../base/usage-error.ts";
import type { ProtocolName } from "../../results/types.ts";
import { packageVersion } from "../processes/machine.ts";
import { scenarioDirectory } from "../plan/scenario.ts";
import { didYouMean } from "../../base/guess.ts";
import type { ServerChild } from "../processes/target.ts";

/** Who is to be measured: libraries by name, and commands. */
export interface ClientChoice {
  /** Names, or "all". */
  readonly names: readonly string[];
  readonly commands: readonly string[];
}

/** What `adapters.js` says of a library. */
interface Adapter {
  readonly packages: readonly string[];
  readonly protocols: readonly ProtocolName[];
  /** Measured when it is named, and not with "all". */
  readonly isApart?: boolean;
}

const directory = `${scenarioDirectory}clients/`;

/** One client on one protocol. */
export interface ClientArm {
  readonly id: string;
  readonly client: string;
  readonly protocol: ProtocolName;
  /** Name of a library; null for a command. */
  readonly name: string | null;
  readonly command: readonly string[];
}

async function readAdapters(): Promise<Readonly<Record<string, Adapter>>> {
  const { adapters } = (await import(pathToFileURL(`${directory}adapters.js`).href)) as { adapters: Readonly<Record<string, Adapter>> };
  return adapters;
}

/** TLS by default, as services are called: HTTP/1.1 and HTTP/2 differ in nothing else then. */
const defaultProtocols: readonly ProtocolName[] = ["h1s", "h2"];

/** The arms that were asked for. Throws UsageError for unknown names and packages that are not installed. */
export async function armsOf(
  { names, commands }: ClientChoice,
  protocols: readonly ProtocolName[] | null,
  notes: string[],
): Promise<ClientArm[]> {
  const adapters = await readAdapters();
  const known = Object.keys(adapters);
  const wanted = [...new Set(names.flatMap((name) => (name === "all" ? known.filter((one) => adapters[one]!.isApart !== true) : [name])))];
  const arms: ClientArm[] = [];
  const missing = new Set<string>();
  for (const name of wanted) {
    const adapter = Object.hasOwn(adapters, name) ? adapters[name]! : null;
    if (adapter === null) throw new UsageError(`--client: "${name}" is not one of all, ${known.join(", ")}${didYouMean(name, known)}`);
    const versions = adapter.packages.map((one) => [one, packageVersion(one, directory)] as const);
    for (const [one, version] of versions) if (version === null) missing.add(one);
    const own = versions[0];
    const spoken = (protocols ?? defaultProtocols).filter((protocol) => adapter.protocols.includes(protocol));
    const unspoken = (protocols ?? defaultProtocols).filter((protocol) => !adapter.protocols.includes(protocol));
    if (unspoken.length > 0 && !/^node:| /.test(name)) notes.push(`${name} does not speak ${unspoken.join(", ")}`);
    for (const protocol of spoken)
      arms.push({
        id: `${slug(name)}-${protocol}`,
        client: own === undefined ? `${name} of Node ${process.versions.node}` : name.replace(own[0], `${own[0]} ${own[1]}`),
        protocol,
        name,
        command: [process.execPath, "--expose-gc", `${directory}run.js`],
      });
  }
  if (missing.size > 0) {
    const place = relative(process.cwd(), directory.replace(/\/$/, ""));
    throw new UsageError(
      `--client: ${[...missing].join(", ")} ${missing.size === 1 ? "is" : "are"} not installed: npm install --prefix ${place.startsWith("..") ? directory : place}`,
    );
  }
  for (const [index, text] of commands.entries()) {
    const { label, command } = labelled(text, commands.length === 1 ? "command" : `command-${index + 1}`);
    for (const protocol of protocols ?? (["h1"] as const))
      arms.push({ id: `${label}-${protocol}`, client: command, protocol, name: null, command: ["/bin/sh", "-c", command] });
  }
  const twice = arms.find(({ id }, index) => arms.findIndex((arm) => arm.id === id) < index);
  if (twice !== undefined) throw new UsageError(`--client-cmd: two clients are called ${twice.id}`);
  if (arms.length === 0) throw new UsageError(`--protocol: none of these clients speaks ${protocols?.join(" or ")}`);
  return arms;
}

/** "httpx: python3 client.py" to its label and its command; a command without a label is called `otherwise`. */
function labelled(text: string, otherwise: string): { readonly label: string; readonly command: string } {
  const match = /^([a-z][a-z0-9.-]*): +(\S.*)$/is.exec(text);
  return match === null ? { label: otherwise, command: text } : { label: match[1]!, command: match[2]! };
}

/** "@ai-sdk/openai" to "ai-sdk-openai": an arm's id stands in paths and requirements. */
function slug(name: string): string {
  return name.replace(/^@/, "").replaceAll(/[^a-z0-9.]+/gi, "-");
}

/** What the streams of one run are. */
export interface Load {
  readonly streams: number;
  readonly outputTokens: number;
  readonly ttft: string;
  readonly itl: string;
  readonly rampMs: number;
  readonly stopMs: number;
  readonly isWarm: boolean;
}

/** The environment of a command: this process's, without settings of `fakeai serve`, and its input. */
export function environmentOf(
  server: Pick<ServerChild, "origins" | "caPath">,
  { name, protocol }: ClientArm,
  load: Load,
  seed: number,
): Record<string, string> {
  const origin = server.origins[protocol]!;
  const own = Object.entries(process.env).filter(
    (entry): entry is [string, string] => !entry[0].startsWith("FAKEAI_") && entry[1] !== undefined,
  );
  const caPath = server.caPath;
  return {
    ...Object.fromEntries(own),
    FAKEAI_URL: origin,
    FAKEAI_PROTOCOL: protocol,
    FAKEAI_STREAMS: String(load.streams),
    FAKEAI_OUTPUT_TOKENS: String(load.outputTokens),
    FAKEAI_RAMP_MS: String(load.rampMs),
    FAKEAI_STOP_MS: String(load.stopMs),
    FAKEAI_WARMUP: load.isWarm ? "1" : "0",
    FAKEAI_SEED: String(seed),
    ...(name === null ? {} : { FAKEAI_CLIENT: name }),
    OPENAI_BASE_URL: `${origin}/v1`,
    OPENAI_API_KEY: "any",
    ANTHROPIC_BASE_URL: origin,
    ANTHROPIC_API_KEY: "any",
    ...(caPath === null
      ? {}
      : {
          FAKEAI_CA: caPath,
          NODE_EXTRA_CA_CERTS: caPath,
          SSL_CERT_FILE: caPath,
          REQUESTS_CA_BUNDLE: caPath,
          // Where the user's own environment names another, curl would take that before SSL_CERT_FILE.
          CURL_CA_BUNDLE: caPath,
        }),
  };
}

/** How long the streams of a load take as they are planned, milliseconds; of a distribution its first number counts. */
function plannedMs({ ttft, itl, outputTokens, rampMs }: Load): number {
  const ms = (spec: string): number => {
    const [, number, unit] = /([\d.]+)(us|s)?/.exec(spec) ?? [];
    return Number(number ?? 0) * (unit === "us" ? 0.001 : unit === "s" ? 1000 : 1);
  };
  return rampMs + ms(ttft) + ms(itl) * Math.max(0, outputTokens - 1);
}

/** A run may take so long before it counts as hung. */
export function expectedMs(load: Load): number {
  return load.stopMs > 0 ? load.stopMs : 4 * plannedMs(load);
}

/** Seconds to start a client's process, to load a library, and to make the record. */
const startS = 0.4;
/** Seconds that a warm-up rests, and that it takes for each of its tokens: they come at once, and code is not compiled yet. */
const restS = 0.2;
const warmTokenS = 0.0003;

/** The warm-up of `run.js`: three times up to 8 streams, then all. */
function warmupSeconds({ streams, outputTokens }: Load): number {
  return restS + (3 * Math.min(8, streams) + streams) * Math.min(30, outputTokens) * warmTokenS;
}

/** Seconds that one run takes, roughly. `waves`: how often as many streams as are allowed follow one another. */
export function estimatedSeconds(load: Load, waves = 1): number {
  const plannedS = (waves * plannedMs(load)) / 1000;
  return startS + (load.isWarm ? warmupSeconds(load) : 0) + (load.stopMs > 0 ? Math.min(load.stopMs / 1000, plannedS) : plannedS);
}
