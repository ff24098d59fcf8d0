/** `GET /`: the dashboard for browsers, the endpoints for all others. `GET /dashboard/events`: its figures, once a second. */
import type { Meter } from "../../../core/pacing/meter.ts";
import type { ResponseSink, Route } from "../../../core/seams.ts";
import { ApiError } from "../../errors/api-error.ts";
import { sendJson, sendText } from "../../shared/answer.ts";
import { figuresBetween, type Scrape } from "./figures.ts";
import { dashboardPage, pagePolicy } from "./page.ts";

export const eventsPath = "/dashboard/events";

/** Browsers that may look at once. Each holds a connection, and one question of all processes a second is asked for all of them. */
export const mostViewers = 8;

/** Milliseconds between two looks. */
const lookMs = 1000;

const encoder = new TextEncoder();

/** Sends figures to those who look. Where there is none it does nothing: no timer runs. */
export class Dashboard {
  readonly #metrics: () => string | Promise<string>;
  /** Whether each takes more at the moment. */
  readonly #viewers = new Map<ResponseSink, { isReading: boolean }>();
  #timer: NodeJS.Timeout | null = null;
  #last: Scrape | null = null;

  /** `metrics` gives the exposition text. */
  constructor(metrics: () => string | Promise<string>) {
    this.#metrics = metrics;
  }

  /** Throws ApiError where there are as many viewers as there may be. */
  add(sink: ResponseSink): void {
    if (this.#viewers.size >= mostViewers)
      throw new ApiError(503, `At most ${mostViewers} viewers at once: close another page.`, null, "too_many_viewers");
    const viewer = { isReading: true };
    this.#viewers.set(sink, viewer);
    sink.observer = {
      onDrain: () => (viewer.isReading = true),
      onAbort: () => this.#remove(sink),
    };
    sink.start({ status: 200, headers: { "content-type": "text/event-stream", "cache-control": "no-store" }, streamed: true });
    // The head leaves with the first frame.
    viewer.isReading = sink.write(encoder.encode(": figures follow\n\n"));
    if (this.#timer !== null) return;
    this.#timer = setInterval(() => void this.#look(), lookMs).unref();
    void this.#look();
  }

  /** Ends all of them, so that a server that closes waits for none. */
  close(): void {
    for (const sink of this.#viewers.keys()) {
      sink.end();
      this.#remove(sink);
    }
  }

  #remove(sink: ResponseSink): void {
    this.#viewers.delete(sink);
    if (this.#viewers.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
    this.#last = null;
  }

  async #look(): Promise<void> {
    let text: string;
    try {
      text = await this.#metrics();
    } catch {
      // The other processes are asked again with the next look.
      return;
    }
    const now = { text, atMs: performance.now() };
    const before = this.#last;
    this.#last = this.#viewers.size === 0 ? null : now;
    if (before === null) return;
    const frame = encoder.encode(`data: ${JSON.stringify(figuresBetween(before, now))}\n\n`);
    for (const [sink, viewer] of this.#viewers) if (viewer.isReading) viewer.isReading = sink.write(frame);
  }
}

/** `endpoints` are what this server answers, each "METHOD path". */
export function dashboardRoutes(dashboard: Dashboard, meter: Meter, endpoints: readonly string[]): Route[] {
  const page = dashboardPage(eventsPath);
  return [
    {
      method: "GET",
      path: "/",
      handle: (request, _body, sink) => {
        const vary = { vary: "accept", "cache-control": "no-store" };
        if (request.header("accept")?.includes("text/html"))
          sendText(sink, meter, 200, "text/html; charset=utf-8", page, { ...vary, "content-security-policy": pagePolicy });
        else sendJson(sink, meter, 200, JSON.stringify({ server: "fakeai", endpoints }), vary);
      },
    },
    {
      method: "GET",
      path: eventsPath,
      handle: (request, _body, sink) => {
        // A HEAD request has its answer with the head.
        if (request.method === "HEAD") return sendText(sink, meter, 200, "text/event-stream", "");
        dashboard.add(sink);
        meter.countStatus(200);
      },
    },
  ];
}
