/** The flags of `fakeai record`. */
import { bareHost, hostInUrl } from "../base/host.ts";
import { UsageError } from "../base/usage-error.ts";
import { type FlagTable, positive, text, whole } from "./parse.ts";
import { bytes, oneOf } from "./values.ts";

/** The server that is recorded. */
export interface RecordTarget {
  /** "https://api.example.com". */
  readonly origin: string;
  /** Path of its base URL, without a slash at its end. */
  readonly base: string;
}

export interface RecordSettings {
  readonly to: RecordTarget | null;
  readonly out: string | null;
  /** What is spoken to the server; null: HTTP/1.1. */
  readonly toProtocol: "h1" | "h2" | null;
  /** What clients may speak, as `fakeai serve` takes it. */
  readonly protocol: string | null;
  readonly port: number | null;
  readonly host: string | null;
  readonly tlsCert: string | null;
  readonly tlsKey: string | null;
  /** Path of a PEM file. */
  readonly cacert: string | null;
  readonly insecure: boolean;
  /** Names of headers. */
  readonly keepHeader: readonly string[];
  readonly maxCalls: number;
  readonly maxTape: number;
  readonly maxBody: number;
  /** Seconds. */
  readonly timeout: number;
  readonly json: boolean;
}

const recording = "Recording";
const clients = "Clients";
const bounds = "Bounds";

/** In the order of the help. */
export const recordFlags: FlagTable<RecordSettings> = [
  { key: "to", kind: "text", takes: "url", parse: target, help: "base URL of the server to record", group: recording, common: true },
  { key: "out", kind: "text", takes: "folder", parse: text, help: "where the tape goes", group: recording, common: true },
  {
    key: "toProtocol",
    kind: "text",
    takes: "name",
    otherwise: "h1",
    parse: oneOf(["h1", "h2"]),
    help: "h1 or h2: what the server is asked in",
    group: recording,
    common: true,
  },
  { key: "cacert", kind: "text", takes: "file", parse: text, help: "PEM certificates to trust beside the system's", group: recording },
  { key: "insecure", kind: "boolean", help: "do not check the server's certificate", group: recording },
  {
    key: "keepHeader",
    kind: "list",
    takes: "name",
    parse: headerName,
    help: "a header whose value is written too, repeatable",
    group: recording,
    common: true,
  },
  { key: "json", kind: "boolean", help: "a line of JSON when ready, and one at the end", group: recording, common: true },
  {
    key: "protocol",
    kind: "text",
    takes: "list",
    otherwise: "h1",
    parse: text,
    help: "any of h1,h1s,h2c,h2,h3, with ports if you like: h1:8000,h2",
    group: clients,
    common: true,
  },
  {
    key: "port",
    kind: "integer",
    takes: "port",
    otherwise: "8000",
    parse: whole(0, 65_535),
    help: "port of h1; 0 picks a free one",
    group: clients,
    common: true,
  },
  { key: "host", kind: "text", takes: "address", otherwise: "127.0.0.1", parse: text, help: "address to listen on", group: clients },
  {
    key: "tlsCert",
    kind: "text",
    takes: "file",
    otherwise: "a self-signed one for localhost",
    parse: text,
    help: "PEM certificate",
    group: clients,
  },
  { key: "tlsKey", kind: "text", takes: "file", parse: text, help: "PEM private key of the certificate", group: clients },
  { key: "maxCalls", kind: "integer", takes: "n", default: 10_000, parse: whole(1, 1_000_000), help: "calls of the tape", group: bounds },
  { key: "maxTape", kind: "text", takes: "bytes", default: "512mb", parse: bytes(65_536), help: "bytes of the tape", group: bounds },
  { key: "maxBody", kind: "text", takes: "bytes", default: "16mb", parse: bytes(), help: "largest request body", group: bounds },
  {
    key: "timeout",
    kind: "number",
    takes: "s",
    default: 300,
    parse: positive(86_400, "s"),
    help: "a server that sends nothing for this long is given up",
    group: bounds,
  },
];

function target(given: string, flag: string): RecordTarget {
  const hint = "(for example https://api.example.com/v1)";
  if (!/^https?:\/\//i.test(given) || !URL.canParse(given))
    throw new UsageError(`${flag}: "${given.slice(0, 120)}" is no http: or https: address ${hint}`);
  const url = new URL(given);
  if (url.username !== "" || url.password !== "") throw new UsageError(`${flag}: credentials in an address go nowhere: clients send them`);
  if (url.search !== "" || url.hash !== "") throw new UsageError(`${flag}: a base URL has no query; clients send it`);
  const host = hostInUrl(bareHost(url.hostname));
  return { origin: `${url.protocol}//${host}${url.port === "" ? "" : `:${url.port}`}`, base: url.pathname.replace(/\/+$/, "") };
}

/** Headers that are never kept, whatever is asked for. */
const neverKept = /authorization|cookie|key|secret|password|token(?!s)|credential/;

function headerName(given: string, flag: string): string {
  const name = given.trim().toLowerCase();
  if (!/^[!#$%&'*+.^_`|~0-9a-z-]{1,128}$/.test(name)) throw new UsageError(`${flag}: "${given.slice(0, 60)}" is no name of a header`);
  if (neverKept.test(name)) throw new UsageError(`${flag}: ${name} may hold a key, and is never written`);
  return name;
}
