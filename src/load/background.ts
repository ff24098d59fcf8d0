/** Streams beside the measured ones: long answers that are read, or left unread. */
import { setTimeout as sleep } from "node:timers/promises";
import type { BackgroundLoad, LoadJob, PlannedRequest } from "./job.ts";
import type { ConnectionPool } from "./pool.ts";
import { sentBody } from "./prompts.ts";
import type { Connection } from "./client/connection.ts";
import { EventReader } from "./events.ts";
import { ForeignBody, withoutSecrets } from "./words.ts";

/** The measured part begins this long after the last stream was sent: time for a server's buffers to fill. */
const settleMs = 150;

export class BackgroundStreams {
  /** Why streams ended early. */
  readonly failures: string[] = [];
  readonly #job: LoadJob;
  readonly #load: BackgroundLoad;
  readonly #pool: ConnectionPool;
  readonly #cancels = new Set<() => void>();
  #stopped = false;

  constructor(job: LoadJob, load: BackgroundLoad, pool: ConnectionPool) {
    this.#job = job;
    this.#load = load;
    this.#pool = pool;
  }

  /** Resolves when every stream was sent, or failed, and has had time to fill buffers. */
  async start(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#load.requests.map((request) => this.#begin(request)));
    await sleep(settleMs, undefined, { signal }).catch(() => {});
  }

  /** Gives the streams up. */
  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
  }

  #begin(request: PlannedRequest): Promise<void> {
    return new Promise((resolve) => {
      this.#pool.acquire({
        onConnection: (connection) => {
          if (this.#stopped) this.#pool.release(connection);
          else this.#sendOn(connection, request);
          resolve();
        },
        onFail: (reason, words) => {
          this.failures.push(words === undefined ? reason : `${reason} (${words})`);
          resolve();
        },
      });
    });
  }

  #sendOn(connection: Connection, request: PlannedRequest): void {
    const { endpoint } = this.#job;
    const end = (reason: string | null): void => {
      this.#cancels.delete(cancel);
      this.#pool.release(connection);
      if (this.#stopped) return;
      if (reason === null) void this.#begin(request);
      else this.failures.push(reason);
    };
    const said = (reason: string, words: string | null | undefined): string =>
      words === null || words === undefined ? reason : `${reason} (${withoutSecrets(words, endpoint.headers)})`;
    let foreign: ForeignBody | null = null;
    const events = new EventReader(() => {});
    let status = 0;
    const cancel = connection.send(
      {
        method: request.method ?? endpoint.method,
        path: request.path ?? endpoint.path,
        body: sentBody(request),
        headers: request.headers,
        unreadMs: this.#load.unreadMs,
      },
      {
        onResponse: (head) => {
          status = head.status;
          if (status > 299) foreign = new ForeignBody(head.contentType, head.contentEncoding, head.location);
        },
        onData: (bytes, start, end) => foreign?.push(bytes, start, end),
        onEvent: (bytes, start, end) => events.take(bytes, start, end),
        onEnd: () => end(status < 300 ? null : said(`status ${status}`, foreign?.words())),
        onFail: (reason, words) => end(said(reason, words)),
      },
    );
    this.#cancels.add(cancel);
  }
}
