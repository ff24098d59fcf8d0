/** What the server knows of each protocol. A new protocol is a name in `Protocol` (seams.ts) and a row here. */
import type { Protocol } from "./seams.ts";

export interface ServedProtocol {
  /** Over TLS: its listener needs a certificate. */
  readonly isEncrypted: boolean;
  readonly isHttp2: boolean;
  /** Over UDP. */
  readonly isQuic: boolean;
  /** The protocol of HTTP in which its handshakes come, and whose port it shares; null: it stands alone. */
  readonly upgradedFrom: "h1" | "h1s" | null;
  /** The port that `fakeai serve` takes unless told otherwise. */
  readonly standardPort: number;
}

export const servedProtocols: Readonly<Record<Protocol, ServedProtocol>> = {
  h1: { isEncrypted: false, isHttp2: false, isQuic: false, upgradedFrom: null, standardPort: 8000 },
  h1s: { isEncrypted: true, isHttp2: false, isQuic: false, upgradedFrom: null, standardPort: 8001 },
  h2c: { isEncrypted: false, isHttp2: true, isQuic: false, upgradedFrom: null, standardPort: 8080 },
  h2: { isEncrypted: true, isHttp2: true, isQuic: false, upgradedFrom: null, standardPort: 8443 },
  // UDP: the number is free beside h2, and clients that hear of HTTP/3 look for it there.
  h3: { isEncrypted: true, isHttp2: false, isQuic: true, upgradedFrom: null, standardPort: 8443 },
  ws: { isEncrypted: false, isHttp2: false, isQuic: false, upgradedFrom: "h1", standardPort: 8000 },
  wss: { isEncrypted: true, isHttp2: false, isQuic: false, upgradedFrom: "h1s", standardPort: 8001 },
};

/** All of them, in the order in which they are listed. */
export const protocols: readonly Protocol[] = Object.keys(servedProtocols) as Protocol[];
