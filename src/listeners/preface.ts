/** Tells HTTP/2 by prior knowledge from anything else that comes to a cleartext port. */
import type { Socket } from "node:net";

/** The first bytes of every HTTP/2 client (RFC 9113, section 3.4). */
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** Bytes after which a first line without an end is taken for that of a request. */
const longestLineBytes = 8192;

export interface Sniffed {
  /** The preface has come. It is put back, to be read again. */
  http2(): void;
  /** The first line is that of a request of HTTP/1. */
  http1(): void;
  other(reason: "head-timeout" | "malformed"): void;
}

/** Reads the first bytes of a connection and calls one of the functions, unless the peer closes before. */
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
        // node:http2 reads what a socket has buffered.
        socket.unshift(first);
        sniffed.http2();
      });
    } else if (/^[A-Z]{1,20}( |$)/.test(first.toString("latin1", 0, 24))) {
      const lineEnd = first.indexOf(10);
      if (lineEnd < 0 && first.length < longestLineBytes) return;
      // What begins like a request and is none gets no answer in HTTP/1: it may be a preface that is not right.
      if (lineEnd < 0 || / HTTP\/1\.\d\r?$/.test(first.toString("latin1", 0, lineEnd))) decide(() => sniffed.http1());
      else decide(() => sniffed.other("malformed"));
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
