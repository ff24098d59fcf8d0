/** What the bench knows of each protocol. A new protocol is a name in `protocolNames` (types.ts) and a row here. */
import { type ProtocolName, protocolNames } from "./types.ts";

export interface ProtocolTraits {
  /** Spoken over TLS, to an address that begins with https:. */
  readonly isEncrypted: boolean;
  /** Many requests are under way on one connection. */
  readonly isMultiplexed: boolean;
  /** Over UDP. */
  readonly isQuic: boolean;
  /** Messages in place of requests: the Responses API alone, always streamed. */
  readonly isWebSocket: boolean;
  /** A server that is not ours is asked for it only where it is named: others than those that have it take long to say no, or log it. */
  readonly isByName: boolean;
  /** What a client's proof says: ALPN over TLS, the first bytes in cleartext, the SETTINGS of HTTP/3, a WebSocket's handshake. */
  readonly negotiated: string;
  /** The same protocol over TLS, and in cleartext. */
  readonly overTls: ProtocolName;
  readonly inCleartext: ProtocolName;
  /** The protocol that it is compared with: as encrypted as it is, and not multiplexed. null: it is that one. */
  readonly baseline: ProtocolName | null;
}

const http = { isQuic: false, isWebSocket: false, isByName: false } as const;
const h1 = { ...http, isMultiplexed: false, negotiated: "http/1.1", overTls: "h1s", inCleartext: "h1", baseline: null } as const;
const h2 = { ...http, isMultiplexed: true, overTls: "h2", inCleartext: "h2c" } as const;
const ws = {
  isQuic: false,
  isWebSocket: true,
  isByName: true,
  isMultiplexed: true,
  negotiated: "websocket",
  overTls: "wss",
  inCleartext: "ws",
} as const;

export const protocolTraits: Readonly<Record<ProtocolName, ProtocolTraits>> = {
  h1: { ...h1, isEncrypted: false },
  h1s: { ...h1, isEncrypted: true },
  h2c: { ...h2, isEncrypted: false, negotiated: "h2c", baseline: "h1" },
  h2: { ...h2, isEncrypted: true, negotiated: "h2", baseline: "h1s" },
  // It has no cleartext.
  h3: {
    isEncrypted: true,
    isMultiplexed: true,
    isQuic: true,
    isWebSocket: false,
    isByName: true,
    negotiated: "h3",
    overTls: "h3",
    inCleartext: "h3",
    baseline: "h1s",
  },
  ws: { ...ws, isEncrypted: false, baseline: "h1" },
  wss: { ...ws, isEncrypted: true, baseline: "h1s" },
};

/** The protocols of HTTP. */
export const httpProtocolNames: readonly ProtocolName[] = protocolNames.filter((name) => !protocolTraits[name].isWebSocket);

/** What speaks HTTP on the port of a protocol: a WebSocket's handshakes come in HTTP/1.1. */
export function httpOf(protocol: ProtocolName): ProtocolName {
  return protocolTraits[protocol].isWebSocket ? (protocolTraits[protocol].baseline ?? protocol) : protocol;
}

/** The path that WebSocket carries the requests of: the Responses API. */
export const webSocketPath = "/v1/responses";

/** The protocols that an address can be asked in, by its scheme. */
export function protocolsOf(address: string): readonly ProtocolName[] {
  const isEncrypted = address.startsWith("https:");
  return protocolNames.filter((name) => protocolTraits[name].isEncrypted === isEncrypted);
}

/** Whether what a connection spoke is the protocol. HTTP/1.0 is the same messages with a connection for each, and so h1. */
export function isSpoken(protocol: ProtocolName, negotiated: string): boolean {
  const traits = protocolTraits[protocol];
  return negotiated === traits.negotiated || (!traits.isMultiplexed && negotiated === "http/1.0");
}

/** Said once of a result with figures of HTTP/3: the server, the load generator or both are quiche. */
const quicCaveat = "HTTP/3 runs in user space (quiche, N-API), TCP in the kernel: no verdict about the protocol";

/** What every figure of a result is to be read with, each in one line; empty: nothing. */
export function caveatsOf(scenarios: readonly { readonly arms: readonly { readonly protocol: ProtocolName }[] }[]): string[] {
  return scenarios.some(({ arms }) => arms.some(({ protocol }) => protocolTraits[protocol].isQuic)) ? [quicCaveat] : [];
}
