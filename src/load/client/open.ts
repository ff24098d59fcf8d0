/** Opens client connections of every protocol. */
import { bareHost } from "../../base/host.ts";
import { protocolTraits } from "../../results/protocols.ts";
import { monotonicUs } from "../../base/clock.ts";
import { H1Connection } from "./h1.ts";
import { H2Connection } from "./h2.ts";
import { WsConnection } from "./ws.ts";
import { connectH3 } from "./h3.ts";
import type { ReceiveWindows } from "../../wire/h2/windows.ts";
import { defaultWindows, type Endpoint } from "../job.ts";
import type { Connection } from "./connection.ts";
import { ClientSocket } from "./socket.ts";

export interface OpenOptions {
  readonly endpoint: Endpoint;
  /** HTTP/2; default `defaultWindows`. */
  readonly windows?: ReceiveWindows;
  readonly timeoutMs: number;
  /** HTTP/1.1: requests sent before the first is answered; default 1. */
  readonly pipelining?: number;
  /** HTTP/2: streams are opened before the peer's SETTINGS have come; default false. */
  readonly early?: boolean;
  /** The address to connect to, "10.0.0.1" or "10.0.0.1:8000", in place of the origin's. */
  readonly address?: string;
  /** Ends the attempt. */
  readonly signal?: AbortSignal;
}

/**
 * Opens a connection and waits until it is usable: on HTTP/2 and 3, until the server's SETTINGS unless `early`; on WebSocket, until the
 * handshake is done. Rejects with ConnectError.
 */
export async function openConnection(options: OpenOptions): Promise<Connection> {
  const { endpoint, windows = defaultWindows, timeoutMs, pipelining = 1, early = false, address, signal } = options;
  const startUs = monotonicUs();
  const url = new URL(endpoint.origin);
  const encrypted = url.protocol === "https:";
  const { isWebSocket, isMultiplexed, isQuic } = protocolTraits[endpoint.protocol];
  const isH2 = isMultiplexed && !isWebSocket;
  const host = bareHost(url.hostname);
  const other = address === undefined ? url : new URL(`http://${address}`);
  const port = Number(other.port || url.port || (encrypted ? 443 : 80));
  if (isQuic) return connectH3(bareHost(other.hostname), port, endpoint, { windows, timeoutMs, early, signal }, startUs);
  const socket = new ClientSocket(bareHost(other.hostname), port, encrypted);
  const onAbort = (): void => socket.destroy();
  signal?.addEventListener("abort", onAbort);
  try {
    await socket.connected(timeoutMs);
    if (encrypted) await socket.secure(host, endpoint, isH2 ? "h2" : "http/1.1", timeoutMs);
    if (isWebSocket) {
      const connection = await WsConnection.over(socket, endpoint, timeoutMs);
      connection.connectUs = monotonicUs() - startUs;
      return connection;
    }
    if (!isH2) return new H1Connection(socket, endpoint, monotonicUs() - startUs, pipelining);
    return await H2Connection.over(socket, endpoint, { windows, early }, startUs, timeoutMs);
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}
