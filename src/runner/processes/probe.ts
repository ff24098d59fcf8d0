/** Asks a server that is not ours, before anything is measured: which protocols it speaks, and which parameters it takes. */
import { readFileSync } from "node:fs";
import { UsageError } from "../../base/usage-error.ts";
import type { Connection } from "../../load/client/connection.ts";
import { openConnection } from "../../load/client/open.ts";
import type { Endpoint, TlsChoice } from "../../load/job.ts";
import { protocolsOf } from "../../results/protocols.ts";
import type { ProtocolName } from "../../results/types.ts";
import { type Accepted, bodyOf, lengthParameters, optionalParameters } from "../plan/requests.ts";
import { parseAddress, pathAt } from "./address.ts";
import type { Target } from "./target.ts";

/** A server that is not ours. */
export interface ExternalServer {
  readonly url: string;
  readonly caFile: string | null;
  readonly insecure: boolean;
  /** Sent with every request. */
  readonly headers: Readonly<Record<string, string>>;
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
  // Side by side: a server that hangs costs one time-out.
  const results: ProbeResult[] = await Promise.all(
    protocolsOf(origin).map(async (protocol) => ({
      protocol,
      refused: await probeOne({ origin, protocol, path, method: "GET", headers: server.headers, tls }),
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
      died: null,
      close: () => Promise.resolve(),
    },
  };
}

function readCa(path: string | null): string | null {
  if (path === null) return null;
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`--cacert: cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
}

/** Asks for the list of models: any well-formed answer proves the protocol. Returns why it is not spoken, or null. */
async function probeOne(endpoint: Endpoint): Promise<string | null> {
  try {
    const answer = await ask(endpoint, "", 0);
    return answer.failed;
  } catch (error) {
    const { message, cause } = error as Error;
    const { code } = (cause ?? {}) as NodeJS.ErrnoException;
    return `${message}${code !== undefined && /CERT|VERIFY/.test(code) ? " (trust it with --cacert <file>, or --insecure)" : ""}`;
  }
}

/** Tokens of a probe's answer. The Responses API of OpenAI takes no fewer. */
const probeTokens = 16;
/** A server that refuses one parameter after the other is asked this often. */
const mostQuestions = 12;

/**
 * Finds out which parameters the server takes, by a short request: each that it names in a 400 or 422 is left out, and
 * `max_completion_tokens` stands in for `max_tokens`. null: no such request was answered well, for a reason that requests will
 * show.
 */
export async function probeParameters(endpoint: Endpoint, model: string): Promise<Accepted | null> {
  const names = [...lengthParameters(endpoint.path)];
  const refused = new Set<string>();
  try {
    for (let question = 0; question < mostQuestions; question++) {
      const accepted: Accepted = { lengthParameter: names[0]!, refused: new Set(refused) };
      const body = bodyOf({ path: endpoint.path, stream: true, prompt: "hello", outputTokens: probeTokens, seed: 1, model, accepted });
      const { failed, status, text } = await ask(endpoint, body, longestAnswer);
      if (failed !== null) return null;
      if (status < 300) return accepted;
      if (status !== 400 && status !== 422) return null;
      const named = optionalParameters.find((name) => !refused.has(name) && speaksOf(text, name));
      if (named !== undefined) refused.add(named);
      else if (names.length > 1 && speaksOf(text, names[0]!)) names.shift();
      else return null;
    }
  } catch {
    // What keeps a connection from opening is said where requests fail.
  }
  return null;
}

/** Bytes of an answer that are looked at. */
const longestAnswer = 16_384;

function speaksOf(text: string, parameter: string): boolean {
  return new RegExp(`\\b${parameter}\\b`).test(text);
}

interface Asked {
  readonly status: number;
  readonly text: string;
  /** Why there is no answer; null: there is one. */
  readonly failed: string | null;
}

/** Sends one request and reads its head, and up to `bytes` of the body of an error. Rejects where there is no connection. */
async function ask(endpoint: Endpoint, body: string, bytes: number): Promise<Asked> {
  const connection: Connection = await openConnection({ endpoint, timeoutMs: probeTimeoutMs });
  try {
    return await new Promise<Asked>((resolve) => {
      let status = 0;
      let text = "";
      const settle = (failed: string | null): void => {
        clearTimeout(timer);
        resolve({ status, text, failed });
      };
      const timer = setTimeout(() => settle(`no answer within ${probeTimeoutMs / 1000} s`), probeTimeoutMs);
      connection.send(
        { method: endpoint.method, path: endpoint.path, body },
        {
          onResponse: (head) => {
            status = head.status;
            if (bytes === 0 || status < 300) settle(null);
          },
          onData: (chunk, start, end) => {
            text += chunk.toString("utf8", start, Math.min(end, start + bytes - text.length));
            if (text.length >= bytes) settle(null);
          },
          onEnd: () => settle(null),
          onFail: (reason) => settle(reason),
        },
      );
    });
  } finally {
    connection.close();
  }
}
