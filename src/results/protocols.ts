/** What the bench knows of each protocol. A new protocol is a name in `protocolNames` (types.ts) and a row here. */
import { type ProtocolName, protocolNames } from "./types.ts";

export interface ProtocolTraits {
  /** Spoken over TLS, to an address that begins with https:. */
  readonly isEncrypted: boolean;
  /** Many requests are under way on one connection. */
  readonly isMultiplexed: boolean;
  /** Over UDP. */
  readonly isQuic: boolean;
  /** What a client's proof says: ALPN over TLS, the first bytes in cleartext, the SETTINGS of HTTP/3. */
  readonly negotiated: string;
  /** The same protocol over TLS, and in cleartext. */
  readonly overTls: ProtocolName;
  readonly inCleartext: ProtocolName;
  /** The protocol that it is compared with: as encrypted as it is, and not multiplexed. null: it is that one. */
  readonly baseline: ProtocolName | null;
}

export const protocolTraits: Readonly<Record<ProtocolName, ProtocolTraits>> = {
  h1: {
    isEncrypted: false,
    isMultiplexed: false,
    isQuic: false,
    negotiated: "http/1.1",
    overTls: "h1s",
    inCleartext: "h1",
    baseline: null,
  },
  h1s: {
    isEncrypted: true,
    isMultiplexed: false,
    isQuic: false,
    negotiated: "http/1.1",
    overTls: "h1s",
    inCleartext: "h1",
    baseline: null,
  },
  h2c: { isEncrypted: false, isMultiplexed: true, isQuic: false, negotiated: "h2c", overTls: "h2", inCleartext: "h2c", baseline: "h1" },
  h2: { isEncrypted: true, isMultiplexed: true, isQuic: false, negotiated: "h2", overTls: "h2", inCleartext: "h2c", baseline: "h1s" },
  // It has no cleartext.
  h3: { isEncrypted: true, isMultiplexed: true, isQuic: true, negotiated: "h3", overTls: "h3", inCleartext: "h3", baseline: "h1s" },
};

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
