/** Asks a server that is not ours, before anything is measured: which protocols it speaks, and which parameters it takes. */
import { readFileSync } from "node:fs";
import { UsageError } from "../../base/usage-error.ts";
import type { Connection } from "../../load/client/connection.ts";
import { EventReader } from "../../load/events.ts";
import { clockIdentity } from "../../base/clock.ts";
import { openConnection } from "../../load/client/open.ts";
import { ForeignBody, withoutSecrets } from "../../load/words.ts";
import type { Endpoint, TlsChoice } from "../../load/job.ts";
import { httpOf, protocolsOf, protocolTraits, webSocketPath } from "../../results/protocols.ts";
import type { ProtocolName } from "../../results/types.ts";
import { type Accepted, bodyOf, lengthParameters, optionalParameters, takesUsage } from "../plan/body.ts";
import { parseAddress, pathAt } from "./address.ts";
import type { Target } from "./target.ts";

/** A server that is not ours. */
export interface ExternalServer {
  readonly url: string;
  readonly caFile: string | null;
  readonly insecure: boolean;
  /** Sent with every request. */
  readonly headers: Readonly<Record<string, string>>;
  /** Protocols that are asked for by name: what only those should try is tried then; null: none is. */
  readonly named: readonly ProtocolName[] | null;
}

export interface ProbeResult {
  readonly protocol: ProtocolName;
  /** null: spoken. */
  readonly refused: string | null;
}

const probeTimeoutMs = 5000;

/** Finds out which protocols a server speaks. */
export async function probe(server: ExternalServer): Promise<{ target: Target; results: readonly ProbeResult[] }> {
  const address = parseAddress(server.url);
  const { origin } = address;
  const tls: TlsChoice = { ca: readCa(server.caFile), insecure: server.insecure, cipher: null };
  const path = pathAt(address, "/v1/models");
  const asked = protocolsOf(origin).filter((protocol) => server.named?.includes(protocol) === true || !protocolTraits[protocol].isByName);
  // Side by side: a server that hangs costs one time-out.
  const results: ProbeResult[] = await Promise.all(
    asked.map(async (protocol) => ({
      protocol,
      refused: await probeOne({
        origin,
        protocol,
        path: protocolTraits[protocol].isWebSocket ? pathAt(address, webSocketPath) : path,
        method: "GET",
        headers: server.headers,
        tls,
      }),
    })),
  );
  const spoken = results.filter(({ refused }) => refused === null);
  return {
    results,
    target: {
      origins: Object.fromEntries(spoken.map(({ protocol }) => [protocol, origin])),
      tls,
      usage: () => null,
      eventLoopDelayP99Us: () => Promise.resolve(null),
      pauses: () => Promise.resolve(null),
      pid: null,
      died: null,
      close: () => Promise.resolve(),
    },
  };
}

/** Bytes of a document that are read at most: far above any page of metrics. */
const maxDocumentBytes = 4_194_304;

/** The text that a GET answers with; null: no good answer within the time of a probe. Never rejects. */
export async function documentAt(endpoint: Endpoint): Promise<string | null> {
  try {
    const connection = await openConnection({ endpoint: { ...endpoint, protocol: httpOf(endpoint.protocol) }, timeoutMs: probeTimeoutMs });
    try {
      return await new Promise<string | null>((resolve) => {
        let text = "";
        let isGood = false;
        const settle = (found: string | null): void => {
          clearTimeout(timer);
          resolve(found);
        };
        const timer = setTimeout(() => settle(null), probeTimeoutMs);
        connection.send(
          { method: "GET", path: endpoint.path, body: "" },
          {
            onResponse: ({ status }) => (isGood = status === 200),
            onData: (bytes, start, end) => {
              if (text.length < maxDocumentBytes) text += bytes.toString("latin1", start, end);
            },
            onEnd: () => settle(isGood ? text : null),
            onFail: () => settle(null),
          },
        );
      });
    } finally {
      connection.close();
    }
  } catch {
    return null;
  }
}

/** Further addresses of a server of ours, in protocols of the same scheme, as its `/health` says; empty: it says none. */
export async function furtherAddresses(url: string, { origins, tls }: Target, headers: Endpoint["headers"]): Promise<string[]> {
  const address = parseAddress(url);
  const [protocol, origin] = (Object.entries(origins) as [ProtocolName, string][])[0] ?? [];
  if (protocol === undefined || origin === undefined) return [];
  const text = await documentAt({ origin, protocol, path: pathAt(address, "/health"), method: "GET", headers, tls });
  let listening: unknown = null;
  try {
    listening = (JSON.parse(text ?? "null") as { listening?: unknown } | null)?.listening ?? null;
  } catch {
    return [];
  }
  if (!Array.isArray(listening)) return [];
  return listening.flatMap((one: { protocol?: unknown; port?: unknown } | null): string[] => {
    const name = protocolsOf(url).find((known) => known === one?.protocol);
    const port = one?.port;
    if (name === undefined || origins[name] !== undefined || !Number.isInteger(port)) return [];
    const other = new URL(url);
    other.port = String(port);
    return [other.href];
  });
}

/** Whether a server tells the time of its clock, and whether that is ours. */
export async function clockAt(
  { origins, tls }: Target,
  protocol: ProtocolName,
  path: string,
  headers: Endpoint["headers"],
): Promise<"foreign" | "ours" | "none"> {
  const origin = origins[protocol];
  if (origin === undefined) return "none";
  const text = await documentAt({ origin, protocol, path, method: "GET", headers, tls });
  try {
    const { clock } = JSON.parse(text ?? "null") as { clock?: unknown };
    return typeof clock !== "string" ? "none" : clock === clockIdentity ? "ours" : "foreign";
  } catch {
    return "none";
  }
}

/** The text of a PEM file; null: none was named. Throws UsageError. */
export function readCa(path: string | null): string | null {
  if (path === null) return null;
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`--cacert: cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
}

/** Asks for the list of models: any well-formed answer proves the protocol, and of WebSocket its handshake. Returns why it is not spoken, or null. */
async function probeOne(endpoint: Endpoint): Promise<string | null> {
  try {
    if (!protocolTraits[endpoint.protocol].isWebSocket) return (await ask(endpoint, "")).failed;
    (await openConnection({ endpoint, timeoutMs: probeTimeoutMs })).close();
    return null;
  } catch (error) {
    const { message, cause } = error as Error;
    const { code } = (cause ?? {}) as NodeJS.ErrnoException;
    return `${message}${code !== undefined && /CERT|VERIFY/.test(code) ? " (trust it with --cacert <file>, or --insecure)" : ""}`;
  }
}

/** Servers that are asked at a time whether they are there. */
const askedAtOnce = 16;

/** Of a service's addresses those that nothing of it answers at, each with the reason. */
export async function unanswering(
  { origins, tls }: Target,
  protocols: readonly ProtocolName[],
  addresses: readonly string[],
): Promise<string[]> {
  const left = addresses.flatMap((address) => protocols.map((protocol) => ({ address, protocol })));
  const lost: string[] = [];
  const askInTurn = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const { address, protocol } = next;
      const endpoint: Endpoint = { origin: origins[protocol]!, protocol, path: "/", method: "GET", headers: {}, tls };
      try {
        (await openConnection({ endpoint, timeoutMs: probeTimeoutMs, address })).close();
      } catch (error) {
        lost.push(`${address} on ${protocol}: ${(error as Error).message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: askedAtOnce }, askInTurn));
  return lost.toSorted();
}

/** Tokens of a probe's answer. The Responses API of OpenAI takes no fewer. */
const probeTokens = 16;
/** A server that refuses one parameter after the other is asked this often. */
const mostQuestions = 12;

/** What came of asking for parameters: what the server takes, or, for people, why it did not answer well. */
export type Probed = { readonly accepted: Accepted; readonly refusal: null } | { readonly accepted: null; readonly refusal: string };

/** Parameters that order an exact number of tokens; few servers but vLLM and its like know them. */
const ordering = ["ignore_eos", "min_tokens"];

/**
 * Finds out which parameters the server takes, by a short request: each that it names in a 400 or 422 is left out, and
 * `max_completion_tokens` stands in for `max_tokens`. What it gives is looked at too: whether it keeps to the number of tokens
 * that is ordered, where a greeting is shorter, and whether its events can say how many tokens they hold.
 */
export async function probeParameters(endpoint: Endpoint, model: string): Promise<Probed> {
  const names = [...lengthParameters(endpoint.path)];
  const refused = new Set<string>();
  let first: string | null = null;
  for (let question = 0; question < mostQuestions; question++) {
    const accepted: Accepted = { lengthParameter: names[0]!, refused: new Set(refused) };
    const { failed, status, text, seen } = await askFor(endpoint, model, accepted);
    if (failed === null && status < 300) return { accepted: await completed(endpoint, model, accepted, seen), refusal: null };
    first ??= failed ?? `status ${status}${text === null ? "" : `: "${withoutSecrets(text, endpoint.headers)}"`}`;
    const isBadRequest = status === 400 || status === 422;
    const named = text === null || !isBadRequest ? null : namedIn(text, names[0]!, refused);
    // It names nothing that we send: what few servers know is left out.
    if (named === null && isBadRequest && takesUsage(endpoint.path) && !ordering.every((name) => refused.has(name))) {
      for (const name of ordering) refused.add(name);
      continue;
    }
    if (named === null || (named === names[0] && names.length === 1)) break;
    if (named === names[0]) names.shift();
    else refused.add(named);
  }
  return { accepted: null, refusal: first ?? "" };
}

/** The probe's request, with what is accepted. Never rejects. */
function askFor(endpoint: Endpoint, model: string, accepted: Accepted): Promise<Asked> {
  const { path } = endpoint;
  const isOrder = takesUsage(path);
  const asking = { path, stream: true, prompt: "hello", outputTokens: probeTokens, seed: 1, model, accepted, includeUsage: true };
  const body = bodyOf({ ...asking, ignoreEos: isOrder, minTokens: isOrder });
  return ask(endpoint, body).catch((error: Error) => ({ failed: error.message, status: 0, text: null, seen: unseen }));
}

/** What is accepted, with what the answer shows of it. */
async function completed(endpoint: Endpoint, model: string, accepted: Accepted, { events, tokens }: Seen): Promise<Accepted> {
  const isOrdered = takesUsage(endpoint.path) && !ordering.every((name) => accepted.refused.has(name));
  const found: Accepted = isOrdered && tokens === probeTokens ? { ...accepted, exact: true } : accepted;
  if (events === 0 || tokens <= events) return found;
  const continuous = { ...found, continuousUsage: true };
  const { failed, status, seen } = await askFor(endpoint, model, continuous);
  return failed === null && status < 300 && seen.eventsWithUsage > 1 ? continuous : found;
}

/** The parameter that an error's text speaks of, of those that can be left out or renamed; null: none of them. */
function namedIn(text: string, lengthParameter: string, refused: ReadonlySet<string>): string | null {
  const candidates = [...optionalParameters.filter((name) => !refused.has(name)), lengthParameter];
  return candidates.find((name) => new RegExp(`\\b${name}\\b`).test(text)) ?? null;
}

interface Asked {
  readonly status: number;
  /** What an error says; null: nothing. */
  readonly text: string | null;
  /** Why there is no answer; null: there is one. */
  readonly failed: string | null;
  readonly seen: Seen;
}

/** What a streamed answer held. */
interface Seen {
  /** Events with content, and those of them that have usage. */
  readonly events: number;
  readonly eventsWithUsage: number;
  /** The last usage.completion_tokens; -1: none. */
  readonly tokens: number;
}

const unseen: Seen = { events: 0, eventsWithUsage: 0, tokens: -1 };

/** Sends one request and reads its head, the stream that it asks for, and the words of an error. Rejects where there is no connection. */
export async function ask(endpoint: Endpoint, body: string): Promise<Asked> {
  const connection: Connection = await openConnection({ endpoint, timeoutMs: probeTimeoutMs });
  try {
    return await new Promise<Asked>((resolve) => {
      let status = 0;
      let foreign: ForeignBody | null = null;
      const seen = { ...unseen };
      const reader = new EventReader((event) => {
        if (event.tokens >= 0) seen.tokens = event.tokens;
        if (!event.content) return;
        seen.events++;
        if (event.tokens >= 0) seen.eventsWithUsage++;
      });
      const settle = (failed: string | null): void => {
        clearTimeout(timer);
        // A long answer that began well is an answer.
        const isWell = status >= 200 && status < 300;
        resolve({ status, text: foreign?.words() ?? null, failed: isWell ? null : failed, seen });
      };
      const timer = setTimeout(() => settle(`no answer within ${probeTimeoutMs / 1000} s`), probeTimeoutMs);
      connection.send(
        { method: endpoint.method, path: endpoint.path, body },
        {
          onResponse: (head) => {
            status = head.status;
            if (endpoint.method === "GET") settle(null);
            else if (status >= 300) foreign = new ForeignBody(head.contentType, head.contentEncoding, head.location);
          },
          onData: (bytes, start, end) => (foreign ?? reader).push(bytes, start, end),
          onEvent: (bytes, start, end) => reader.take(bytes, start, end),
          onEnd: () => settle(null),
          onFail: (reason, words) => settle(words === undefined ? reason : `${reason} (${words})`),
        },
      );
    });
  } finally {
    connection.close();
  }
}
