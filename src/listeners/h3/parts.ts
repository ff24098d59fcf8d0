/** What the parts of an HTTP/3 listener know of each other: the service has sessions, a session streams, and a stream its response. */
import type { QuicServer } from "../../base/quic.ts";
import type { ListenerCounts, RequestHandler } from "../../core/seams.ts";
import type { Bounds } from "../bounds.ts";
import type { BodyReading } from "../node/request.ts";

/** A response. */
export interface ResponsePart {
  /** Ended, reset or aborted. */
  readonly closed: boolean;
  /** Its end has been given to the engine. */
  readonly isFinished: boolean;
  /** Absolute microseconds: when it ended, or when the engine last took a piece of it since; 0: it has not ended. */
  endedUs: number;
  isBeingRead(): boolean;
  /** Gives on what waits. */
  resume(): void;
  /** The engine keeps back part of what it was given. Returns how many bytes that may be. */
  block(): number;
  /** The engine keeps back nothing more. */
  unblock(): void;
  /** The client has cut the stream, or is gone. */
  lose(): void;
  /** Cuts what is not delivered yet. */
  cut(code: number): void;
  /** Cuts it, and calls its observer. */
  shed(): void;
}

/** A request and its response. */
export interface StreamPart {
  readonly id: number;
  readonly session: SessionPart;
  readonly openedUs: number;
  /** null: its head has not come yet. */
  readonly sink: ResponsePart | null;
  /** The request is whole, and has its turn. */
  begin(): void;
  /** The head is late. */
  expire(): void;
  /** The answer has been given away whole. */
  finished(): void;
  /** The client has cut it, or is gone. */
  lose(): void;
  /** Ends it on both sides, so that the client sees an error. */
  cut(code: number): void;
}

/** A connection. */
export interface SessionPart {
  /** The engine's number of it; another connection has it when this is over. */
  readonly handle: number;
  readonly service: ServicePart;
  /** Requests that are open: not answered yet, or not ended yet. By stream. */
  readonly streams: Map<number, StreamPart>;
  /** Responses that are not finished. */
  responses: number;
  /** Requests so far. */
  requests: number;
  /** Absolute microseconds: when the last response was finished. Counts only while there is none. */
  idleSinceUs: number;
  /** Absolute microseconds of the last event: the peer lives. */
  readonly heardUs: number;
  /** Bytes of request streams that mean nothing to us. */
  idleBytes: number;
  /** Whether responses may give the engine more. */
  readonly mayPass: boolean;
  /** Hot path. Gives the engine bytes of a stream. false: it took none, and a `writable` event follows when it does. */
  pass(id: number, bytes: Buffer, isEnd: boolean): boolean;
  /** The stream gives nothing more before its `resume` is called. */
  hold(stream: StreamPart): void;
  /** Ends a stream on both sides. */
  cut(id: number, code: number): void;
  /** Calls back when all that was sent until now has been acknowledged, as far as nothing was lost. */
  afterDelivery(then: () => void): void;
  /** GOAWAY: requests under way may finish, new ones are refused. */
  goaway(): void;
  /** The peer has broken HTTP/3. */
  fail(code: number): void;
  /** CONNECTION_CLOSE: everything on it ends. */
  close(code: number): void;
}

/** All connections of a listener. */
export interface ServicePart {
  readonly engine: QuicServer;
  readonly handler: RequestHandler;
  readonly bounds: Bounds;
  readonly counts: ListenerCounts;
  readonly reading: BodyReading;
  /** Number of the turn of the event loop, as far as anything was written in it. */
  readonly turn: number;
  /** When the events that are being dealt with came. */
  readonly nowUs: number;
  /** What is counted in a turn of the event loop is counted from now on. */
  beginTurn(): void;
  /** The response goes on in the next turn. */
  continueSoon(stream: StreamPart): void;
  /** The response goes on when the engine takes bytes again. */
  awaitWritable(stream: StreamPart): void;
  /** The request is whole. It begins in this turn, or in one of the next. */
  complete(stream: StreamPart): void;
  /** The engine keeps back bytes of a stream. */
  keptBack(session: SessionPart, id: number, bytes: number): void;
  /** The engine keeps back nothing of the stream. */
  letGo(session: SessionPart, id: number): void;
  endFlood(session: SessionPart): void;
  /** The session is over. */
  forget(session: SessionPart): void;
}
