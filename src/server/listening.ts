/** Which engine serves each protocol, the listeners on them, and the ports they get. */
import { tmpdir } from "node:os";
import { servedProtocols } from "../core/protocols.ts";
import { unfitFor } from "./fault-injector.ts";
import type { Certificate } from "../base/certificate.ts";
import { loadQuic, type QuicEngine, quicLack } from "../base/quic.ts";
import { addressOf, hostInUrl, reachableHost } from "../base/host.ts";
import { UsageError } from "../base/usage-error.ts";
import { ownVersion } from "../base/version.ts";
import type { Engine, H2Engine, Protocol, ProtocolListener, RequestHandler } from "../core/seams.ts";
import { type Bounds, newCounts } from "../listeners/bounds.ts";
import type { H3Listener } from "../listeners/h3/listener.ts";
import type { Http2Engine, NodeListener } from "../listeners/node/listener.ts";
import type { NodeWebSockets } from "../listeners/node/websocket.ts";
import { UwsListener } from "../listeners/uws/listener.ts";
import { type LoadedUws, loadUws, uwsLack, uwsMaxHeadBytes, uwsMaxHeadVariable } from "../listeners/uws/module.ts";
import { WebSocketListener } from "../listeners/websocket/listener.ts";
import { WebSocketService } from "../listeners/websocket/service.ts";
import type { ServerConfig } from "../settings/server.ts";

export { uwsMaxHeadVariable } from "../listeners/uws/module.ts";

/** One protocol that is being served. */
export interface Listening {
  readonly protocol: Protocol;
  readonly engine: Engine;
  /** What it came from, with its version: "uws-pack 20.0.8", "node 20.20.2", "fakeai 0.1.0 on node 20.20.2" where it is our own. */
  readonly engineVersion: string;
  /** Origin, without a path: "http://127.0.0.1:8000", "ws://127.0.0.1:8000"; also where it listens on every address. */
  readonly url: string;
}

interface Place {
  readonly protocol: Protocol;
  readonly engine: Engine;
}

/** What serves each endpoint of a configuration, in its order. */
export interface Engines {
  readonly places: readonly Place[];
  /** null: no endpoint is served by it. */
  readonly uws: LoadedUws | null;
  /** null: no endpoint is served on node's sockets, and they are not loaded. */
  readonly node: typeof NodeListener | null;
  /** WebSocket on node's sockets; null: no endpoint has it. */
  readonly nodeWebSockets: typeof NodeWebSockets | null;
  /** null: no endpoint speaks HTTP/2. */
  readonly http2: Http2Engine | null;
  /** null: no endpoint is of HTTP/3. */
  readonly quic: { readonly engine: QuicEngine; readonly Listener: typeof H3Listener } | null;
  /** One line for each thing that is not as a user might expect. */
  readonly notices: readonly string[];
}

/**
 * Chooses the engines of a configuration: uWebSockets.js for HTTP/1.1 where it runs, else node; for HTTP/2 the one asked for; quiche for
 * HTTP/3. `shared`: sibling processes listen on the same ports. Throws UsageError for settings that the chosen engines cannot keep.
 */
export async function chooseEngines(config: ServerConfig, certificate: Certificate | null, shared: boolean): Promise<Engines> {
  const { endpoints, h1Engine, h2Engine } = config;
  const h1Asked = endpoints.some(({ protocol }) => !servedProtocols[protocol].isHttp2 && !servedProtocols[protocol].isQuic);
  const quicEngine = endpoints.some(({ protocol }) => servedProtocols[protocol].isQuic) ? loadQuic() : undefined;
  if (quicEngine === null) throw new UsageError(`--protocol h3: ${quicLack()}`);
  // Only Linux deals connections out among the processes that share a port.
  const sharable = !shared || process.platform === "linux";
  const uws = h1Asked && h1Engine !== "node" && sharable ? await loadUws() : null;
  const notices: string[] = [];
  if (h1Asked && uws === null && h1Engine !== "node") {
    const why = sharable ? uwsLack() : "uWebSockets.js shares ports among workers on Linux only";
    if (h1Engine === "uws") throw new UsageError(`--h1-engine uws: ${why}; use --h1-engine node`);
    notices.push(`h1 and h1s run on node:http, which takes more CPU time: ${why}`);
  }
  if (uws !== null) notices.push(...limitsOfUws(config));
  if (uws !== null && config.replay !== null)
    notices.push("uWebSockets.js adds two empty lines to each event, which the tape does not hold; --h1-engine node sends it to the byte");
  const noFiles = uws !== null && certificate?.files === null && endpoints.some(({ protocol }) => protocol === "h1s");
  if (noFiles) {
    const why = `uWebSockets.js reads certificates from files, and ${tmpdir()} cannot be written to`;
    if (h1Engine === "uws") throw new UsageError(`--h1-engine uws: ${why}; use --h1-engine node, or --tls-cert and --tls-key`);
    notices.push(`${why}: h1s runs on node:http`);
  }
  if (certificate !== null && certificate.whyShortLived !== null)
    notices.push(`${certificate.whyShortLived}: this server has one of its own`);
  const places = endpoints.map(({ protocol }): Place => {
    const { isHttp2, isEncrypted, isQuic } = servedProtocols[protocol];
    if (isQuic) return { protocol, engine: "quiche" };
    if (isHttp2) return { protocol, engine: h2Engine };
    return { protocol, engine: uws === null || (isEncrypted && noFiles) ? "node" : "uws" };
  });
  const unfit = unfitFor(config.faults, places);
  if (unfit !== null) throw new UsageError(unfit);
  const isOnNode = places.some(({ engine }) => engine === "node" || engine === "own");
  const node = isOnNode ? (await import("../listeners/node/listener.ts")).NodeListener : null;
  const isSocketOnNode = places.some(({ protocol, engine }) => engine === "node" && servedProtocols[protocol].upgradedFrom !== null);
  const nodeWebSockets = isSocketOnNode ? (await import("../listeners/node/websocket.ts")).NodeWebSockets : null;
  const http2 = endpoints.some(({ protocol }) => servedProtocols[protocol].isHttp2) ? await loadHttp2(h2Engine) : null;
  const quic = quicEngine === undefined ? null : { engine: quicEngine, Listener: (await import("../listeners/h3/listener.ts")).H3Listener };
  return { places, uws, node, nodeWebSockets, http2, quic, notices };
}

/** Loads the engine that is asked for, and no other. */
async function loadHttp2(name: H2Engine): Promise<Http2Engine> {
  if (name === "own") return { name, service: (await import("../listeners/own-h2/service.ts")).OwnH2Service };
  return { name, service: (await import("../listeners/h2/service.ts")).NodeH2Service };
}

/** What uWebSockets.js limits by itself: notices where a default does not hold. Throws UsageError for what was asked for. */
function limitsOfUws({ notOnUws, limits, options }: ServerConfig): string[] {
  if (notOnUws.length > 0) {
    throw new UsageError(`${notOnUws.join(", ")}: uWebSockets.js itself closes near 11 s; use --h1-engine node, or leave it out`);
  }
  if (limits.maxHeadBytes <= uwsMaxHeadBytes()) return [];
  const why = `uWebSockets.js takes heads of up to ${uwsMaxHeadBytes()} bytes in this process`;
  const cure = `set ${uwsMaxHeadVariable}=${limits.maxHeadBytes} in the environment of the program, or use --h1-engine node`;
  if (options.maxHead !== undefined) throw new UsageError(`--max-head ${options.maxHead}: ${why}; ${cure}`);
  return [`${why}; for larger ones ${cure}`];
}

/** The certificate that the protocols need; null: none. Throws UsageError. */
export async function findCertificate({ endpoints, tls }: Pick<ServerConfig, "endpoints" | "tls">): Promise<Certificate | null> {
  if (!tls && !endpoints.some(({ protocol }) => servedProtocols[protocol].isEncrypted)) return null;
  const { localhostCertificate, readCertificate } = await import("../base/certificate.ts");
  return tls ? readCertificate(tls.cert, tls.key) : localhostCertificate();
}

/** What clients have to trust of a certificate of ours. */
export function trustOf(certificate: Certificate | null): { readonly ca: string | null; readonly caPath: string | null } {
  return certificate?.selfSigned ? { ca: certificate.cert, caPath: certificate.files?.certPath ?? null } : { ca: null, caPath: null };
}

/** One listener for each endpoint, in order; none listens yet. `certificate` must be there for those over TLS, as it was chosen with. */
export function createListeners(
  { places, uws, node, nodeWebSockets, http2, quic }: Engines,
  { endpoints, webSocket, quicRetry }: Pick<ServerConfig, "endpoints" | "webSocket" | "quicRetry">,
  certificate: Certificate | null,
  handler: RequestHandler,
  bounds: Bounds,
): ProtocolListener[] {
  const make = (protocol: Protocol, engine: Engine, webSockets: WebSocketService | null, counts = newCounts()): ProtocolListener => {
    const { isEncrypted, isHttp2 } = servedProtocols[protocol];
    const tls = isEncrypted ? certificate! : null;
    if (engine === "quiche") return new quic!.Listener(quic!.engine, { ...tls!, retry: quicRetry }, handler, bounds);
    if (engine !== "uws") {
      const onNode = webSockets && { service: webSockets, sockets: nodeWebSockets! };
      return new node!(protocol, tls, isHttp2 ? http2 : null, handler, bounds, onNode, counts);
    }
    const files = tls && { cert: tls.files!.certPath, key: tls.files!.keyPath };
    return new UwsListener(uws!.module, files, handler, bounds, webSockets, counts);
  };
  const made = new Map<Protocol, ProtocolListener>();
  for (const [index, { protocol, engine }] of places.entries()) {
    const http = servedProtocols[protocol].upgradedFrom;
    if (http === null) continue;
    // Where HTTP is not asked for, what its requests do is counted as WebSocket's.
    const counts = newCounts();
    const service = new WebSocketService(counts, bounds, webSocket);
    const isShared = endpoints[index]!.sharesPort;
    const host = make(http, engine, service, isShared ? newCounts() : counts);
    if (isShared) made.set(http, host);
    made.set(protocol, new WebSocketListener(protocol as "ws" | "wss", host, service));
  }
  return places.map(({ protocol, engine }) => made.get(protocol) ?? make(protocol, engine, null));
}

function schemeOf(protocol: Protocol): string {
  const { isEncrypted, upgradedFrom } = servedProtocols[protocol];
  return `${upgradedFrom === null ? "http" : "ws"}${isEncrypted ? "s" : ""}`;
}

/** Binds each listener to its endpoint's port. Rejects with nothing left listening. */
export async function listenAll(
  listeners: readonly ProtocolListener[],
  { endpoints, host }: Pick<ServerConfig, "endpoints" | "host">,
  { uws, quic }: Pick<Engines, "uws" | "quic">,
  shared: boolean,
): Promise<Listening[]> {
  const hostname = hostInUrl(reachableHost(host));
  const versionOf = (engine: Engine): string => {
    if (engine === "uws") return uws!.version;
    if (engine === "own") return `fakeai ${ownVersion()} on node ${process.versions.node}`;
    return engine === "quiche" ? quic!.engine.version : `node ${process.versions.node}`;
  };
  // Once, so that all engines listen on the same address of a name.
  const address = await addressOf(host);
  const listening: Listening[] = [];
  try {
    for (const [index, { port }] of endpoints.entries()) {
      const listener = listeners[index]!;
      const { protocol, engine } = listener;
      const bound = await listener.listen({ host: address, port, shared });
      const engineVersion = versionOf(engine);
      listening.push({
        protocol,
        engine,
        engineVersion,
        url: `${schemeOf(protocol)}://${hostname}:${bound}`,
      });
    }
  } catch (error) {
    await Promise.all(listeners.map((listener) => listener.close(0)));
    throw error;
  }
  return listening;
}
