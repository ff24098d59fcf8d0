/** What node's sockets tell of their handles: how much the kernel has taken. */
import type { Duplex } from "node:stream";

/** A socket's handle. Only here node tells how much of a write the kernel has not taken yet. */
export interface Handle {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly writeQueueSize: number;
  /** The TCP handle below a TLS handle. */
  readonly _parent?: Handle;
  readStart(): void;
}

/** null: the socket is closed. */
export function handleOf(socket: Duplex): Handle | null {
  // No public property tells the same.
  return (socket as Duplex & { readonly _handle?: Handle | null })._handle ?? null;
}

/** The TCP handle, below TLS where there is any. */
export function transportOf(socket: Duplex): Handle | null {
  const handle = handleOf(socket);
  return handle?._parent ?? handle;
}

/** Bytes that the kernel has taken so far; 0 of a socket that is closed. */
export function takenBytes(socket: Duplex): number {
  const transport = transportOf(socket);
  return transport === null ? 0 : transport.bytesWritten - transport.writeQueueSize;
}
