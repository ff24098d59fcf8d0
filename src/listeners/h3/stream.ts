/** One request of HTTP/3: its frames, its head, its body (RFC 9114, section 4.1). */
import { monotonicUs } from "../../base/clock.ts";
import { ownHeaderPrefix } from "../../core/seams.ts";
import { refuse } from "../bounds.ts";
import { isFieldName, isOfHttp1, isToken, pseudoFields } from "../fields.ts";
import { decodedHeads } from "../multiplexed.ts";
import { BodyReader, NodeRequest } from "../node/request.ts";
import { errorCode, frame, requestFrameFault } from "../../wire/h3/frames.ts";
import { decodeFields } from "../../wire/h3/qpack.ts";
import { FrameReader, type Take } from "../../wire/h3/reader.ts";
import type { SessionPart, StreamPart } from "./parts.ts";
import { H3Sink } from "./sink.ts";

/** Fields of a head: each is an object, whatever its size. */
const maxFields = 1024;

/** Headers that hold one value: of several lines the first counts, as in node. Others are joined. */
const single: ReadonlySet<string> = new Set([
  "authorization",
  "content-type",
  "from",
  "host",
  "if-modified-since",
  "if-unmodified-since",
  "location",
  "max-forwards",
  "proxy-authorization",
  "referer",
  "retry-after",
  "server",
  "user-agent",
]);

type Pseudo = ":method" | ":scheme" | ":authority" | ":path";

export class RequestStream implements StreamPart {
  readonly id: number;
  readonly session: SessionPart;
  readonly openedUs: number = monotonicUs();
  sink: H3Sink | null = null;
  readonly #frames: FrameReader;
  #body: BodyReader | null = null;
  /** Length that the head announced; -1: none. */
  #announced = -1;
  #received = 0;
  /** The request has ended, or is not read any more. */
  #isRead = false;
  /** Its trailers have come: nothing may follow. */
  #isTrailed = false;
  #fault = 0;

  constructor(session: SessionPart, id: number) {
    this.session = session;
    this.id = id;
    this.#frames = new FrameReader({
      onFrame: (type, length) => this.#beginFrame(type, length),
      onPiece: (bytes, start, end) => this.#addBody(bytes, start, end),
      onWhole: (_type, bytes, start, end) => this.#readHead(bytes, start, end),
    });
  }

  read(bytes: Buffer, isEnd: boolean): void {
    if (this.#isRead) return;
    this.#frames.read(bytes, 0, bytes.length);
    if (this.#fault !== 0) return this.session.fail(this.#fault);
    if (!isEnd || this.#isRead) return;
    this.#isRead = true;
    if (!this.#frames.isBetween) return this.session.fail(errorCode.frame);
    if (this.sink === null) return this.#cut(errorCode.requestIncomplete);
    // RFC 9114, section 4.1.2.
    if (this.#announced >= 0 && this.#announced !== this.#received) return this.#malformed();
    if (this.sink.isFinished) this.forget();
    if (this.#body !== null) this.session.service.complete(this);
  }

  begin(): void {
    this.#body?.end();
  }

  expire(): void {
    const request = new NodeRequest("h3", "GET", "/", {});
    this.#answer(request, false);
    this.#refuse("head-timeout", request);
  }

  lose(): void {
    this.#stopReading();
    this.sink?.lose();
    this.forget();
  }

  /** The answer has been given away whole. What the client still sends of its request is not wanted (section 4.1). */
  finished(): void {
    if (this.#isRead) return this.forget();
    this.session.afterDelivery(() => {
      this.cut(errorCode.none);
    });
  }

  cut(code: number): void {
    this.#stopReading();
    this.session.cut(this.id, code);
    this.forget();
  }

  forget(): void {
    this.session.streams.delete(this.id);
  }

  #stopReading(): void {
    this.#isRead = true;
    this.#frames.stop();
    this.#body?.close();
    this.#body = null;
  }

  #beginFrame(type: number, length: number): Take {
    const { limits } = this.session.service.bounds;
    this.#fault = requestFrameFault(type);
    const isData = type === frame.data;
    // DATA before a head, or anything behind trailers (section 4.1).
    if (this.#fault === 0 && ((isData && this.sink === null) || (this.#isTrailed && (isData || type === frame.headers))))
      this.#fault = errorCode.frameUnexpected;
    if (this.#fault !== 0) return "stop";
    if (isData) {
      // A frame without a byte is work that no request needs.
      this.session.idleBytes += length === 0 ? emptyFrameBytes : 0;
      return "pieces";
    }
    if (type === frame.headers && this.sink !== null) {
      this.#isTrailed = true;
      return "skip";
    }
    if (type !== frame.headers) {
      this.session.idleBytes += length + emptyFrameBytes;
      return "skip";
    }
    if (length <= limits.maxHeadBytes * decodedHeads) return "whole";
    const request = new NodeRequest("h3", "GET", "/", {});
    this.#answer(request, false);
    this.#refuse("head-too-large", request);
    return "stop";
  }

  #addBody(bytes: Buffer, start: number, end: number): void {
    this.#received += end - start;
    this.#body?.add(bytes.subarray(start, end));
  }

  #readHead(bytes: Buffer, start: number, end: number): void {
    const { limits } = this.session.service.bounds;
    const pseudo: Partial<Record<Pseudo, string>> = {};
    const headers: Record<string, string> = {};
    const own: string[] = [];
    let fields = 0;
    let size = 0;
    let fault = false;
    let conflict = false;
    let regular = false;
    let whole = false;
    try {
      whole = decodeFields(bytes, start, end, limits.maxHeadBytes * decodedHeads, (name, value) => {
        size += name.length + value.length + fieldOverhead;
        if (++fields > maxFields) return;
        if (name.startsWith(":")) {
          fault ||= regular || !pseudoFields.has(name) || pseudo[name as Pseudo] !== undefined || isBroken(value);
          pseudo[name as Pseudo] = value;
          return;
        }
        regular = true;
        fault ||= !isFieldName(name) || isBroken(value) || isOfHttp1(name, value);
        const before = Object.hasOwn(headers, name) ? headers[name] : undefined;
        // White space around a value is no part of it, as in HTTP/1.1.
        const text = value.trim();
        if (name.startsWith(ownHeaderPrefix)) own.push(name, text);
        if (before === undefined) headers[name] = text;
        else if (name === "content-length") conflict ||= before !== text;
        else if (!single.has(name)) headers[name] = `${before}${name === "cookie" ? "; " : ", "}${text}`;
      });
    } catch {
      this.#fault = errorCode.qpackDecompression;
      return;
    }
    const method = pseudo[":method"];
    const path = pseudo[":path"];
    // Section 4.3.1. CONNECT has no path, and means nothing here.
    fault ||= method === undefined || !isToken(method) || (whole && (path === undefined || path === "" || !pseudo[":scheme"]));
    if (fault) return this.#malformed();
    const request = new NodeRequest("h3", method!, path ?? "/", { host: pseudo[":authority"] ?? "", ...headers }, own);
    this.#answer(request, method === "HEAD");
    const length = headers["content-length"];
    if (!whole || fields > maxFields || size > limits.maxHeadBytes) return this.#refuse("head-too-large", request);
    if (conflict || (length !== undefined && !/^\d{1,15}$/.test(length))) return this.#refuse("ambiguous", request);
    if (length !== undefined) this.#announced = Number(length);
    const { reading } = this.session.service;
    this.#body = new BodyReader(reading, request, this.sink!);
    reading.deadlines.add(this.#body);
  }

  /** Makes the sink of the response. */
  #answer(request: NodeRequest, headOnly: boolean): void {
    request.receivedUs = monotonicUs();
    this.sink = new H3Sink(this, headOnly);
  }

  #refuse(reason: "head-too-large" | "head-timeout" | "ambiguous", request: NodeRequest): void {
    const { handler, counts } = this.session.service;
    this.#frames.stop();
    refuse(reason, request, this.sink!, handler, counts);
  }

  /** A malformed message is an error of its stream alone (section 4.1.2). */
  #malformed(): void {
    this.session.service.counts.bounds.malformed++;
    this.#cut(errorCode.message);
  }

  #cut(code: number): void {
    if (this.sink === null) return this.cut(code);
    this.#stopReading();
    this.sink.lose();
    this.cut(code);
  }
}

/** What a field counts beside its octets (RFC 9114, section 4.2.2). */
const fieldOverhead = 32;
/** What a frame without use counts, so that those without a payload count too. */
const emptyFrameBytes = 2;

/** NUL, LF and CR may stand in no value (RFC 9114, section 10.3; RFC 9110, section 5.5). */
function isBroken(value: string): boolean {
  return /[\0\n\r]/.test(value);
}
