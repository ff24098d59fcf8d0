/** What only a server is told: its listeners, keys, limits and faults. Each is a value, or a UsageError of one line. */
import { protocols, servedProtocols } from "../core/protocols.ts";
import { statSync } from "node:fs";
import { availableParallelism, hostname } from "node:os";
import { nameOfKey } from "../base/keys.ts";
import { bareHost } from "../base/host.ts";
import { UsageError } from "../base/usage-error.ts";
import { type Fault, parseFaults } from "../core/faults/fault.ts";
import { maxRateLimit, type RateLimits } from "../core/limits/rate-limit.ts";
import type { AllowedOrigins } from "../api/shared/cors.ts";
import type { Protocol } from "../core/seams.ts";
import { didYouMean } from "../base/guess.ts";
import { integer, orUsageError, readText, shown, text } from "./values.ts";

/** What to listen on: a name or an address. "[::1]" is ::1. */
export function host(value: string, name: string): string {
  const found = bareHost(text(value, name).trim());
  const port = /^(\[.+\]|[^:]+):(\d{1,5})$/.exec(found);
  if (port !== null) throw new UsageError(`${name}: "${shown(found)}" names a port too: give ${shown(port[1]!)}, and the port with --port`);
  if (!/^[\w.:%-]+$/.test(found))
    throw new UsageError(`${name}: "${shown(found)}" is neither a name nor an address (for example 127.0.0.1 or ::1)`);
  return found;
}

/** One listener that is asked for; a port of null is the protocol's own. */
export interface Listen {
  readonly protocol: Protocol;
  readonly port: number | null;
}

/** "h1:8000,h2", or a list of such texts. */
export function listens(value: string | readonly string[], name: string): readonly Listen[] {
  const found: Listen[] = [];
  for (const part of [value].flat().flatMap((list) => text(list, name).split(","))) {
    const word = part.trim();
    const [called = "", portText, ...rest] = word.split(":");
    const protocol = protocols.find((known) => known === called);
    if (protocol === undefined || rest.length > 0) {
      const hint = didYouMean(called, protocols) || ", with a port if you like (h1:8000)";
      throw new UsageError(`${name}: "${shown(word)}" is not one of ${protocols.join(", ")}${hint}`);
    }
    if (portText !== undefined && !/^\d{1,5}$/.test(portText))
      throw new UsageError(`${name}: "${shown(portText)}" is not a port from 0 to 65535`);
    if (found.some((listen) => listen.protocol === protocol)) throw new UsageError(`${name}: ${protocol} is named twice`);
    found.push({ protocol, port: portText === undefined ? null : integer(0, 65_535)(Number(portText), name) });
  }
  return found;
}

/** One listener to start. */
export interface Endpoint {
  readonly protocol: Protocol;
  readonly port: number;
  /** WebSocket on the port of the HTTP that its handshakes come in, which is served too. */
  readonly sharesPort: boolean;
}

/** The listeners of a server. `ports`: those of protocols that none is asked for. Throws UsageError. */
export function endpointsOf(
  { protocol, http2, port }: { readonly protocol: readonly Listen[]; readonly http2: boolean; readonly port: number | null },
  ports: Readonly<Record<Protocol, number>>,
): Endpoint[] {
  const find = (name: Protocol | null): Listen | undefined => protocol.find((listen) => listen.protocol === name);
  /** What --port is the port of: h1, or WebSocket that stands alone. */
  const named = (["h1", "ws"] as const).find((name) => find(name) !== undefined);
  const portOf = (listen: Listen): number => {
    const own = listen.protocol === named ? port : null;
    if (listen.port !== null && own !== null && listen.port !== own)
      throw new UsageError(`--port and --protocol ${listen.protocol}:<port> name two ports for ${listen.protocol}`);
    const host = find(servedProtocols[listen.protocol].upgradedFrom);
    return listen.port ?? own ?? (host === undefined ? ports[listen.protocol] : portOf(host));
  };
  const endpoints = protocol.map((listen): Endpoint => {
    const host = find(servedProtocols[listen.protocol].upgradedFrom);
    const own = portOf(listen);
    return { protocol: listen.protocol, port: own, sharesPort: host !== undefined && portOf(host) === own };
  });
  if (http2 && find("h2") === undefined) endpoints.push({ protocol: "h2", port: ports.h2, sharesPort: false });
  if (port !== null && named === undefined)
    throw new UsageError("--port is the port of h1, which --protocol leaves out: write the port there (h2:8443)");
  const fixed = endpoints
    .filter(({ sharesPort, port: number }) => !sharesPort && number !== 0)
    .map((endpoint) => `${servedProtocols[endpoint.protocol].isQuic ? "UDP" : "TCP"} ${endpoint.port}`);
  if (new Set(fixed).size < fixed.length) throw new UsageError("--protocol: two protocols share a port; each needs its own");
  return endpoints;
}

/** A number of processes; "auto": one for each processor. */
export function workers(value: string | number, name: string): number {
  const word = String(value).trim();
  if (word === "auto") return availableParallelism();
  if (!/^\d+$/.test(word)) throw new UsageError(`${name}: "${shown(word)}" is neither a whole number nor auto`);
  return integer(1, 256)(Number(word), name);
}

/** Requests that a replica numbers before it meets the numbers of another, where each has a place by its host's name. */
const placeOfHost = 2 ** 20;

/** One of several servers behind one address. */
interface Instance {
  /** "2/3"; null: it has a place by its host's name. */
  readonly replica: string | null;
  readonly numbering: { readonly first: number; readonly stride: number };
}

/** How a replica numbers its requests: "2/3" counts 1, 4, 7, ...; "*" counts from a place that the host's name decides. */
export function instance(value: string, name: string): Instance {
  if (value === "*") return { replica: null, numbering: { first: fnv1a(hostname()) * placeOfHost, stride: 1 } };
  const [, replica, of] = /^(\d{1,6})\/(\d{1,6})$/.exec(value) ?? [];
  if (replica === undefined || Number(replica) < 1 || Number(replica) > Number(of))
    throw new UsageError(`${name}: "${shown(value)}" is no replica: K/N with K from 1 to N (2/3), or *`);
  return { replica: value, numbering: { first: Number(replica) - 1, stride: Number(of) } };
}

/** Labels that samples of `/metrics` have by themselves, or that Prometheus gives to every target (`job`, `instance`). */
const ownLabels: ReadonlySet<string> = new Set([
  "bound", "engine", "fault", "finished_reason", "instance", "job", "le", "model_name", "protocol", "quantile", "replica", "status", "worker",
]); // oxfmt-ignore
const mostLabelCharacters = 256;

/** "pod=a": labels of every sample, by name (Prometheus, "Data model": letters, digits and _; those that begin with __ are its own). */
export function metricsLabels(value: string | readonly string[], name: string): Readonly<Record<string, string>> {
  const labels = new Map<string, string>();
  for (const given of [value].flat()) {
    const [, label, text] = /^([a-z_][a-z0-9_]{0,63})=(.*)$/is.exec(given) ?? [];
    if (label === undefined || text === undefined || label.startsWith("__") || ownLabels.has(label))
      throw new UsageError(`${name}: "${shown(given)}" is no label: name=value (pod=a), with no name that the samples have`);
    // eslint-disable-next-line no-control-regex
    if (text.length > mostLabelCharacters || /[\u0000-\u001f\u007f-\u009f]/.test(text))
      throw new UsageError(`${name}: the value of ${label} has up to ${mostLabelCharacters} characters, and none that controls a terminal`);
    if (labels.has(label)) throw new UsageError(`${name}: ${label} is given twice`);
    labels.set(label, text);
  }
  return Object.fromEntries(labels);
}

/** 32 bits of a text (FNV-1a: Fowler, Noll, Vo; RFC 9923). */
function fnv1a(text: string): number {
  let hash = 0x811c_9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x0100_0193) >>> 0;
  return hash;
}

/** Names of models. */
export function modelNames(value: string | readonly string[], name: string): readonly string[] {
  const names = [value].flat();
  if (names.some((model) => text(model, name) === "" || model.length > 256))
    throw new UsageError(`${name}: a name has 1 to 256 characters`);
  return names;
}

const visible = /^[\x21-\x7e]+$/;

/** Keys, and the keys of files. No message shows a key. */
export function keys(value: string | readonly string[], name: string): readonly string[] {
  return [value].flat().flatMap((given) => {
    const word = text(given, name).trim();
    if (word === "") throw new UsageError(`${name}: an empty key lets nobody in; leave the flag out to let everybody in`);
    if (isFile(word)) return keysOfFile(word, name);
    if (/^(\.{0,2}|~)\//.test(word)) throw new UsageError(`${name}: what looks like a path is no file that can be read`);
    if (!visible.test(word)) throw new UsageError(`${name}: a key holds visible ASCII characters only, or a header cannot carry it`);
    return [word];
  });
}

function keysOfFile(path: string, name: string): string[] {
  const found = readText(path, name)
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (found.length === 0) throw new UsageError(`${name}: ${path} holds no key; write one per line`);
  if (!found.every((key) => visible.test(key))) throw new UsageError(`${name}: ${path} holds a key that no header can carry`);
  return found;
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    // Nothing of that name, or, as with a long key, no name a file could have.
    return false;
  }
}

/** A Bearer token. No message shows it. */
export function token(value: string, name: string): string {
  if (!visible.test(text(value, name)))
    throw new UsageError(`${name}: a token holds visible ASCII characters only, or a header cannot carry it`);
  return value;
}

/** "https://example.com,http://localhost:3000", a list of such texts, or "*". */
export function origins(value: string | readonly string[], name: string): AllowedOrigins {
  const words = [value].flat().flatMap((list) =>
    text(list, name)
      .split(",")
      .map((word) => word.trim()),
  );
  if (words.length === 0) throw new UsageError(`${name}: names no origin; leave it out to allow none`);
  if (words.length === 1 && words[0] === "*") return "*";
  return [...new Set(words.map((word) => originOf(word, name)))];
}

/** An origin as browsers send it (RFC 6454, section 6.2): without a path, in lower case, without the standard port. */
function originOf(word: string, name: string): string {
  const fail = (why: string): never => {
    throw new UsageError(`${name}: "${shown(word)}" ${why}`);
  };
  if (word === "null") return fail("is the origin of files and of every sandboxed frame; only * allows them");
  if (word.includes("*")) return fail("is no origin: * stands alone, else name each (for example https://example.com)");
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/?#@\s]+)(.*)$/i.exec(word);
  if (match === null || !URL.canParse(word)) return fail("is no origin (for example https://example.com or http://localhost:3000)");
  const { origin } = new URL(word);
  // Of a scheme that browsers do not know, as of an app: "capacitor://localhost".
  const written = origin === "null" ? `${match[1]!}://${match[2]!}`.toLowerCase() : origin;
  if (match[3] !== "") return fail(`is more than an origin: write ${shown(written)}`);
  if (!visible.test(written)) return fail("holds characters that no header can carry");
  return written;
}

/** "rpm=60,tpm=10000" or one of them. */
export function rateLimits(value: string, name: string): RateLimits {
  const limits: { rpm?: number; tpm?: number } = {};
  for (const word of text(value, name).split(",")) {
    const match = /^\s*(rpm|tpm)\s*=\s*(\d+)\s*$/i.exec(word);
    if (!match) throw new UsageError(`${name}: cannot read "${shown(word)}" (for example rpm=60,tpm=10000)`);
    const part = match[1]!.toLowerCase() as "rpm" | "tpm";
    if (limits[part] !== undefined) throw new UsageError(`${name}: ${part} is given twice`);
    limits[part] = integer(1, maxRateLimit)(Number(match[2]), name);
  }
  return { requests: limits.rpm ?? null, tokens: limits.tpm ?? null };
}

/** Faults on purpose. A list that was parted at commas, those inside of parentheses too, is joined to one text again. */
export function faults(value: string | readonly string[], name: string): readonly Fault[] {
  return orUsageError(() => parseFaults([value].flat().join(","), name, nameOfKey));
}

/** How many times as fast a tape is replayed; "max": Infinity. */
export function replaySpeed(value: string | number, name: string): number {
  const word = String(value).trim();
  if (word === "max") return Infinity;
  const speed = Number(word);
  if (!/^\d*\.?\d+$/.test(word) || !(speed >= 0.001 && speed <= 1000))
    throw new UsageError(`${name}: "${shown(value)}" is neither a factor from 0.001 to 1000 nor max (2 is twice as fast)`);
  return speed;
}

/** Names of members, each once: a list, or texts with commas between. */
export function memberNames(value: string | readonly string[], name: string): readonly string[] {
  const names = [value].flat().flatMap((list) =>
    text(list, name)
      .split(",")
      .map((word) => word.trim()),
  );
  const wrong = names.find((word) => !/^[\w-]{1,128}$/.test(word));
  if (wrong !== undefined) throw new UsageError(`${name}: "${shown(wrong)}" is no name of a member (for example user)`);
  return [...new Set(names)];
}
