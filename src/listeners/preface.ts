/** Telling HTTP/2 by prior knowledge from everything else that comes to a cleartext port. */
import type { Socket } from "node:net";

/** What every HTTP/2 client sends first (RFC 9113, 3.4). */
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

export interface Sniffed {
  /** The preface has come; it is still there to be read. */
  http2(): void;
  /** It begins like a request of HTTP/1. */
  http1(): void;
  other(reason: "head-timeout" | "malformed"): void;
}

/** Reads the first bytes of a connection and says what they are; calls one of the functions, unless the peer closes before. */
export function sniffHttp2(socket: Socket, timeoutMs: number, sniffed: Sniffed): void {
  let first: Buffer = Buffer.alloc(0);
  const timer = setTimeout(() => decide(() => sniffed.other("head-timeout")), timeoutMs);
  const decide = (then: () => void): void => {
    clearTimeout(timer);
    socket.off("data", onData);
    socket.off("end", onEnd);
    socket.off("close", onClose);
    socket.pause();
    then();
  };
  const onData = (chunk: Buffer): void => {
    first = first.length === 0 ? chunk : Buffer.concat([first, chunk]);
    const length = Math.min(first.length, preface.length);
    if (first.compare(preface, 0, length, 0, length) === 0) {
      if (length < preface.length) return;
      decide(() => {
        // node:http2 takes what a socket has already read.
        socket.unshift(first);
        sniffed.http2();
      });
    } else if (/^[A-Z]{1,20}( |$)/.test(first.toString("latin1", 0, 24))) {
      decide(() => sniffed.http1());
    } else {
      decide(() => sniffed.other("malformed"));
    }
  };
  const onEnd = (): void => decide(() => socket.destroy());
  const onClose = (): void => clearTimeout(timer);
  socket.on("data", onData);
  socket.on("end", onEnd);
  socket.on("close", onClose);
}
