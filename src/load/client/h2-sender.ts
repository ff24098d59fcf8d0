/** What an HTTP/2 client sends: requests, their bodies as far as the peer's windows allow, and the frames between. */
import { defaultMaxFrameBytes, type FrameBytes } from "../../wire/h2/frames.ts";
import { setting } from "../../wire/h2/settings.ts";
import { defaultWindow, type ReceiveWindows, SendWindow } from "../../wire/h2/windows.ts";
import { FrameWriter } from "../../wire/h2/writer.ts";
import type { Endpoint } from "../job.ts";
import { isWithoutBody, type OutgoingRequest } from "./connection.ts";
import { RequestHeads } from "./h2-heads.ts";
import type { ClientSocket } from "./socket.ts";

const none = Buffer.alloc(0);

/** One stream's request. */
export interface Upload {
  readonly id: number;
  readonly window: SendWindow;
  readonly body: Buffer;
  /** How much of the body is sent. */
  sentBytes: number;
}

export class H2Sender {
  readonly #socket: Pick<ClientSocket, "write">;
  readonly #heads: RequestHeads;
  readonly #frames = new FrameWriter();
  readonly #window = new SendWindow();
  #initialWindow = defaultWindow;
  #maxFrameBytes = defaultMaxFrameBytes;
  /** Requests whose body waits for a window. */
  readonly #blocked = new Set<Upload>();
  #flushing = false;
  #stopped = false;

  constructor(socket: Pick<ClientSocket, "write">, endpoint: Endpoint) {
    this.#socket = socket;
    this.#heads = new RequestHeads(endpoint);
  }

  /** Bytes of all frames that were written. */
  get written(): FrameBytes {
    return this.#frames.written;
  }

  /** The peer's SETTINGS_INITIAL_WINDOW_SIZE, bytes. */
  get initialWindow(): number {
    return this.#initialWindow;
  }

  /** RFC 9113, section 3.4: the preface, our SETTINGS, and the connection's window, which SETTINGS cannot change. */
  begin({ streamBytes, connectionBytes }: ReceiveWindows): void {
    this.#frames.preface();
    this.#frames.settings([
      [setting.enablePush, 0],
      [setting.initialWindow, streamBytes],
    ]);
    if (connectionBytes > defaultWindow) this.#frames.windowUpdate(0, connectionBytes - defaultWindow);
    this.#flush();
  }

  /** Sends a request on a new stream. */
  request(id: number, request: OutgoingRequest): Upload {
    const body = request.body.length === 0 && isWithoutBody(request.method) ? null : Buffer.from(request.body as string);
    const upload: Upload = { id, window: new SendWindow(this.#initialWindow), body: body ?? none, sentBytes: 0 };
    const block = this.#heads.encode(request, body?.length ?? null);
    this.#frames.headers(id, block, upload.body.length === 0, this.#maxFrameBytes);
    this.#writeBody(upload);
    this.flushSoon();
    return upload;
  }

  /** The stream is over: no more of its body is sent. */
  drop(upload: Upload): void {
    upload.sentBytes = upload.body.length;
    this.#blocked.delete(upload);
  }

  reset(id: number, code: number): void {
    this.#frames.reset(id, code);
    this.flushSoon();
  }

  /** Our WINDOW_UPDATE of a stream, or with 0 of the connection. */
  windowUpdate(id: number, bytes: number): void {
    this.#frames.windowUpdate(id, bytes);
    this.flushSoon();
  }

  /** Answers a PING whose eight bytes begin at `start`. */
  pong(bytes: Buffer, start: number): void {
    this.#frames.ping(bytes, start, true);
    this.flushSoon();
  }

  /** One setting of the peer's. `uploads` are those of all streams under way. false: a window passes its maximum. */
  applySetting(id: number, value: number, uploads: Iterable<Upload>): boolean {
    if (id === setting.tableSize) this.#heads.limitTable(value);
    // Larger frames than the default save nothing here.
    if (id === setting.maxFrame) this.#maxFrameBytes = Math.min(value, defaultMaxFrameBytes);
    if (id !== setting.initialWindow) return true;
    // Applies to streams under way too (section 6.9.2).
    const change = value - this.#initialWindow;
    this.#initialWindow = value;
    let fits = true;
    for (const { window } of uploads) fits = window.grow(change) && fits;
    return fits;
  }

  /** The peer's SETTINGS have been applied. */
  acknowledgeSettings(): void {
    this.#frames.settingsAck();
    this.#writeBlocked();
    this.flushSoon();
  }

  /** The peer's WINDOW_UPDATE: of the connection where there is no upload. false: the window passes its maximum. */
  grow(upload: Upload | null, bytes: number): boolean {
    const fits = (upload?.window ?? this.#window).grow(bytes);
    this.#writeBlocked();
    return fits;
  }

  /** Drops pending frames and writes no others. */
  stop(): void {
    this.#stopped = true;
    this.#blocked.clear();
  }

  /** Hot path. One write for all frames of one turn of the event loop. */
  flushSoon(): void {
    if (this.#flushing || this.#frames.pendingBytes === 0) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #writeBlocked(): void {
    if (this.#blocked.size === 0) return;
    for (const upload of this.#blocked) this.#writeBody(upload);
    this.flushSoon();
  }

  #writeBody(upload: Upload): void {
    const { id, body, window } = upload;
    while (upload.sentBytes < body.length) {
      const room = Math.min(window.bytes, this.#window.bytes, this.#maxFrameBytes);
      if (room <= 0) {
        this.#blocked.add(upload);
        return;
      }
      const start = upload.sentBytes;
      const end = Math.min(body.length, start + room);
      window.spend(end - start);
      this.#window.spend(end - start);
      upload.sentBytes = end;
      this.#frames.data(id, body, start, end, end === body.length);
    }
    this.#blocked.delete(upload);
  }

  #flush(): void {
    const bytes = this.#frames.take();
    if (bytes.length > 0 && !this.#stopped) this.#socket.write(bytes);
  }
}
