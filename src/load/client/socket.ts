/** A client's socket: TCP, TLS with one cipher suite, and proof of what was negotiated. */
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { monotonicUs } from "../../base/clock.ts";
import type { Endpoint } from "../job.ts";
import { oneLine } from "../words.ts";
import { ConnectError, type FailureReason } from "./connection.ts";

/** All cleartext sockets are read into this one buffer: consumers copy what they keep, and a read allocates nothing. */
const readBuffer = Buffer.allocUnsafeSlow(262_144);

/** A connected socket, TLS or not, with one reader. */
export class ClientSocket {
  /** Hot path. */
  onBytes: (bytes: Buffer, length: number, readUs: number) => void = () => {};
  onEnd: (readUs: number) => void = () => {};
  /** `reset`: by an RST rather than a FIN. Called once. */
  onClose: (reset: boolean) => void = () => {};
  cipher: string | null = null;
  /** The TCP socket, which counts all bytes; a TLS socket counts the plain ones only. */
  readonly #raw: Socket;
  #socket: Socket;
  #error: NodeJS.ErrnoException | null = null;

  constructor(host: string, port: number, encrypted: boolean) {
    const onread = {
      buffer: readBuffer,
      callback: (length: number, bytes: Uint8Array): boolean => {
        this.onBytes(bytes as Buffer, length, monotonicUs());
        return true;
      },
    };
    this.#raw = connectTcp({ host, port, noDelay: true, ...(encrypted ? {} : { onread }) });
    this.#socket = this.#raw;
    this.#raw.on("error", (error) => {
      this.#error ??= error;
    });
    this.#watch();
  }

  get bytesRead(): number {
    return this.#raw.bytesRead;
  }

  get bytesWritten(): number {
    return this.#raw.bytesWritten;
  }

  /** Bytes that were written and that the kernel has not taken. */
  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  /** Resolves when TCP is connected. Rejects with ConnectError. */
  connected(timeoutMs: number): Promise<void> {
    return this.#ready("connect", timeoutMs);
  }

  /**
   * Adds TLS. Sessions are never resumed: on every protocol each connection pays for a full handshake. Rejects with
   * ConnectError.
   */
  async secure(host: string, { tls }: Endpoint, protocol: string, timeoutMs: number): Promise<void> {
    const socket: TLSSocket = connectTls({
      socket: this.#raw,
      host,
      ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
      ALPNProtocols: [protocol],
      ...(tls.ca === null ? {} : { ca: tls.ca }),
      rejectUnauthorized: !tls.insecure,
      ...(tls.cipher === null ? {} : { minVersion: "TLSv1.3", maxVersion: "TLSv1.3", ciphers: tls.cipher }),
    });
    this.#raw.removeAllListeners("close");
    this.#socket = socket;
    socket.on("error", (error) => {
      this.#error ??= error;
    });
    this.#watch();
    await this.#ready("secureConnect", timeoutMs);
    socket.on("data", (bytes: Buffer) => this.onBytes(bytes, bytes.length, monotonicUs()));
    this.cipher = `${socket.getProtocol() ?? "TLS"} ${socket.getCipher().standardName}`;
    // An HTTP/1.1 server need not answer ALPN at all; an HTTP/2 one must (RFC 9113, section 3.2).
    const answered = socket.alpnProtocol || "http/1.1";
    if (answered !== protocol) throw new ConnectError(`${protocol} was asked for, the server chose ${answered}`, "wrong protocol", true);
  }

  write(bytes: string | Buffer): void {
    this.#socket.write(bytes);
  }

  /** Reads nothing until `resume`: bytes stay with the kernel, and then with the sender. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
    this.#raw.destroy();
  }

  #watch(): void {
    this.#socket.on("end", () => this.onEnd(monotonicUs()));
    this.#socket.on("close", () => this.onClose(this.#error?.code === "ECONNRESET" || this.#error?.code === "EPIPE"));
  }

  #ready(event: "connect" | "secureConnect", timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (error: ConnectError): void => {
        clearTimeout(timer);
        this.destroy();
        reject(error);
      };
      const timer = setTimeout(() => fail(new ConnectError(`no connection within ${timeoutMs} ms`, "connection timeout")), timeoutMs);
      this.onClose = () => fail(connectErrorOf(this.#error));
      this.#socket.once(event, () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

const tooManyFiles = "too many open files; raise the limit of this shell (ulimit -n)";
const noTls = "the port does not speak TLS; is it an http: address?";

/** What to do about an error, where the system's own words do not say. */
const hints: Readonly<Record<string, string>> = {
  EMFILE: tooManyFiles,
  ENFILE: tooManyFiles,
  // OpenSSL's names for the first bytes of an answer in cleartext.
  ERR_SSL_WRONG_VERSION_NUMBER: noTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: noTls,
  ERR_SSL_HTTP_REQUEST: noTls,
};

function connectErrorOf(error: NodeJS.ErrnoException | null): ConnectError {
  const { code = "", message = "the server closed the connection" } = error ?? {};
  // The server refuses every protocol that ALPN offered: alert 120 (RFC 7301, section 3.2).
  if (code === "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL")
    return new ConnectError("the server does not offer the protocol by ALPN", "wrong protocol", true);
  const reasons: Readonly<Record<string, FailureReason>> = { ECONNREFUSED: "connection refused", ETIMEDOUT: "connection timeout" };
  const hint = hints[code] ?? message;
  return new ConnectError(oneLine(hint), reasons[code] ?? "connection failed", false, { cause: error });
}
