/** Calls between the primary and a worker, over the channel that node opens between a process and its child. */
import { ApiError, type Problem } from "../../api/errors/api-error.ts";
import { UsageError } from "../../base/usage-error.ts";

/** An end of a channel: a `Worker` in the primary, `process` in the worker. */
export interface Port {
  send?(message: object, callback: (error: Error | null) => void): unknown;
  on(event: "message", listener: (message: unknown) => void): unknown;
}

/** Methods that one side offers. JSON carries their arguments and results. */
export type Methods<M> = {
  readonly [Name in keyof M]: M[Name] extends (argument: infer A) => infer R ? (argument: A) => R | Promise<R> : never;
};

/** An error as JSON carries it. */
interface SentError {
  readonly type: "usage" | "api" | "other";
  readonly message: string;
  /** Of an ApiError. */
  readonly problem?: Problem;
  /** Of any other error, as node gives them: what failed, and how. */
  readonly code?: string | null;
  readonly syscall?: string | null;
}

type Message =
  | { readonly call: number; readonly method: string; readonly argument: unknown }
  | { readonly tell: string; readonly argument: unknown }
  | { readonly answer: number; readonly value?: unknown; readonly error?: SentError };

/** The other process is gone. */
export class GoneError extends Error {}

/** The other process did not answer in time. */
export class LateError extends Error {}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout | null;
}

/** One side of a channel: answers with `mine`, calls the other side's `Theirs`. */
export class Channel<Theirs> {
  readonly #port: Port;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  #closed = false;
  /** Messages of the other side so far: a process that is stopped sends none. */
  received = 0;

  constructor(port: Port, mine: Readonly<Record<string, (argument: never) => unknown>>) {
    this.#port = port;
    port.on("message", (message) => void this.#receive(message as Message, mine));
  }

  /** Rejects with the error that the method throws, with a GoneError, or with a LateError after `timeoutMs` (0: never). */
  call<Name extends keyof Theirs & string>(
    method: Name,
    argument: ArgumentOf<Theirs[Name]>,
    timeoutMs = 0,
  ): Promise<ResultOf<Theirs[Name]>> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new GoneError(`${method}: the other process is gone`));
        return;
      }
      const call = this.#calls++;
      const late = (): void => this.#settle(call)?.reject(new LateError(`${method}: no answer in time`));
      const timer = timeoutMs > 0 ? setTimeout(late, timeoutMs) : null;
      this.#waiting.set(call, { resolve: (value) => resolve(value as ResultOf<Theirs[Name]>), reject, timer });
      this.#send({ call, method, argument });
    });
  }

  /** Calls a method and waits for no result. */
  tell<Name extends keyof Theirs & string>(method: Name, argument: ArgumentOf<Theirs[Name]>): void {
    if (!this.#closed) this.#send({ tell: method, argument });
  }

  /** The other process is gone: rejects all calls that wait. */
  close(): void {
    this.#closed = true;
    for (const call of this.#waiting.keys()) this.#settle(call)!.reject(new GoneError("the other process is gone"));
  }

  /** Takes a call out of those that wait; undefined: it was late. */
  #settle(call: number): Waiting | undefined {
    const waiting = this.#waiting.get(call);
    this.#waiting.delete(call);
    if (waiting !== undefined && waiting.timer !== null) clearTimeout(waiting.timer);
    return waiting;
  }

  #send(message: Message): void {
    // Nothing reaches a process that has just died; its exit rejects the calls that wait.
    this.#port.send?.(message, () => {});
  }

  async #receive(message: Message, mine: Readonly<Record<string, (argument: never) => unknown>>): Promise<void> {
    this.received++;
    if ("answer" in message) {
      const waiting = this.#settle(message.answer);
      if (message.error === undefined) waiting?.resolve(message.value);
      else waiting?.reject(received(message.error));
    } else if ("tell" in message) {
      mine[message.tell]?.(message.argument as never);
    } else {
      const { call, method, argument } = message;
      try {
        this.#send({ answer: call, value: await mine[method]!(argument as never) });
      } catch (error) {
        this.#send({ answer: call, error: sent(error as Error) });
      }
    }
  }
}

type ArgumentOf<F> = F extends (argument: infer A) => unknown ? A : never;
type ResultOf<F> = F extends (argument: never) => infer R ? R : never;

function sent(error: Error): SentError {
  const { message } = error;
  if (error instanceof UsageError) return { type: "usage", message };
  if (error instanceof ApiError) return { type: "api", message, problem: error.problem };
  const { code = null, syscall = null } = error as NodeJS.ErrnoException;
  return { type: "other", message, code, syscall };
}

function received({ type, message, problem, code, syscall }: SentError): Error {
  if (type === "usage") return new UsageError(message);
  if (type === "api") return new ApiError(problem!);
  return Object.assign(new Error(message), code === null ? {} : { code, syscall });
}
