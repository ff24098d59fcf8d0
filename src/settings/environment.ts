/** Variables of the environment that begin with FAKEAI_: which are settings, which are others', and which are typos. */
import { environmentName, type Flag, flagName } from "./flags.ts";
import type { GivenFlags } from "./parse.ts";

/** An environment, as node gives it. */
export type Environment = Readonly<Record<string, string | undefined>>;

const prefix = "FAKEAI_";

/** Variables that are no settings, and whose they are. What is not here, no flag and no service link, is refused. */
const others: Readonly<Record<string, string>> = {
  FAKEAI_RENDEZVOUS_TOKEN: "from a launcher to the shards of a load",
  FAKEAI_SERVER_ID: "the name of a server, which its processes share, and replicas behind one address",
  FAKEAI_END_WITH_PARENT: "from fakeai bench to its servers",
  FAKEAI_URL: "from fakeai bench to a client program, as all below",
  FAKEAI_CA: "the server's certificate",
  FAKEAI_PROTOCOL: "what to speak",
  FAKEAI_CLIENT: "which adapter",
  FAKEAI_STREAMS: "how many at once",
  FAKEAI_OUTPUT_TOKENS: "of each stream",
  FAKEAI_SEED: "of the run",
  FAKEAI_WARMUP: "whether to warm up",
  FAKEAI_RAMP_MS: "how long the streams take to begin",
  FAKEAI_STOP_MS: "when to stop",
  FAKEAI_RECORD: "where to write what was seen",
  FAKEAI_BODY: "from bench/tools to a load tool",
  FAKEAI_TRACES: "where tests find published traces",
};

/** The variable that gives a flag. */
export type NameOf = (flag: Flag) => string | undefined;

const ownName: NameOf = ({ key }) => environmentName(flagName(key));

/**
 * What variables give for flags, a text each. An empty variable is one that is not set, and a service link is no setting:
 * Kubernetes and Docker make them unasked.
 */
export function givenByEnvironment(flags: readonly Flag[], environment: Environment, nameOf: NameOf = ownName): GivenFlags {
  const entries = flags.flatMap((flag) => {
    const name = nameOf(flag);
    const value = name === undefined ? undefined : environment[name];
    return name === undefined || value === undefined || value === "" || isServiceLink(name, value) ? [] : [[flag.key, value] as const];
  });
  return Object.fromEntries(entries);
}

/** Set variables that begin with FAKEAI_, are called like no flag of `flags`, and have no other meaning that we know. */
export function unknownVariables(flags: readonly Flag[], environment: Environment): string[] {
  const known = new Set(flags.map(ownName));
  return Object.entries(environment).flatMap(([name, value = ""]) =>
    !name.startsWith(prefix) || value === "" || known.has(name) || Object.hasOwn(others, name) || isServiceLink(name, value) ? [] : [name],
  );
}

/** Variables that are called like a flag of `flags` and hold a service link. */
export function serviceLinks(flags: readonly Flag[], environment: Environment): string[] {
  return flags.flatMap((flag) => {
    const name = ownName(flag)!;
    return isServiceLink(name, environment[name] ?? "") ? [name] : [];
  });
}

/** The word after FAKEAI_ as a flag is written: "stop-ms" of FAKEAI_STOP_MS. */
export function wordOf(variable: string): string {
  return variable.slice(prefix.length).toLowerCase().replaceAll("_", "-");
}

const address = /^[0-9a-f.:]+$/i;
const port = /^\d{1,5}$/;
const transport = /^(tcp|udp|sctp)$/;
const url = /^(tcp|udp|sctp):\/\/\S+:\d{1,5}$/;

/**
 * What Kubernetes sets in every pod for a Service called fakeai or fakeai-something (kubernetes.io/docs/concepts/services-networking/
 * service/#environment-variables), and Docker for a container that is linked under that name (docs.docker.com/engine/network/links).
 * Names and values have one form; with another value the name is a setting, or a typo.
 */
const links: readonly (readonly [name: RegExp, value: RegExp])[] = [
  [/_SERVICE_HOST$/, address],
  [/_SERVICE_PORT(_[A-Z0-9_]+)?$/, port],
  [/_PORT$/, url],
  [/_PORT_\d+_(TCP|UDP|SCTP)(_START|_END)?$/, url],
  [/_PORT_\d+_(TCP|UDP|SCTP)_PROTO$/, transport],
  [/_PORT_\d+_(TCP|UDP|SCTP)_PORT(_START|_END)?$/, port],
  [/_PORT_\d+_(TCP|UDP|SCTP)_ADDR$/, address],
  [/^FAKEAI(_[A-Z0-9_]+)?_NAME$/, /^\/[\w.-]+\/[\w.-]+$/],
  // The variables of the container that is linked.
  [/^FAKEAI(_[A-Z0-9_]+)?_ENV_/, /^/],
];

function isServiceLink(name: string, value: string): boolean {
  return links.some(([names, values]) => names.test(name) && values.test(value));
}
