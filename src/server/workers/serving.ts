/**
 * What a worker does. It serves as the primary says, and asks the primary for what all workers have in common. It ends when
 * the primary says so or is gone.
 */
import { type RequestCounter, StridedCounter } from "../../api/shared/model-settings.ts";
import { ApiError } from "../../api/errors/api-error.ts";
import { monotonicUs } from "../../base/clock.ts";
import { resolveAgain } from "../../settings/server.ts";
import { LeasingRateLimiter, type RateAnswer, type RateQuestion } from "../../core/limits/lease.ts";
import { limitYoungGeneration } from "../heap.ts";
import { type Siblings, type StartedServer, startServer } from "../server.ts";
import { Channel, LateError, type Methods } from "./channel.ts";
import type { Assignment, PrimaryMethods, Started, WorkerMethods } from "./methods.ts";

/** How often the primary gets the counts, milliseconds. */
const noteIntervalMs = 250;
/** How long the primary is waited for: longer than it waits for the other workers. */
const primaryTimeoutMs = 3000;
/** Requests whose numbers are reserved at a time. */
const reservedRequests = 16_384;

let server: StartedServer | null = null;
let starting: Promise<Started> | null = null;

const mine: Methods<WorkerMethods> = {
  start: (assignment) => (starting ??= start(assignment)),
  snapshot: () => server!.snapshot(),
  change: async (changes) => {
    // A change may come while the server starts.
    await starting;
    server!.changeKnobs(changes);
  },
  close: async (graceMs) => {
    await starting?.catch(() => {});
    await server?.close(graceMs);
    tell("ended");
    process.exit(0);
  },
};
let primary: Channel<PrimaryMethods>;
let tell: (stage: "started" | "ended") => void = () => {};

/** Serves as the primary says. `reached` is told when it listens, and when it has closed. */
export function work(reached: (stage: "started" | "ended") => void = () => {}): void {
  tell = reached;
  primary = new Channel<PrimaryMethods>(process, mine);
  primary.tell("hello", null);
  // The primary decides when to end. A terminal and a service manager signal every process of a group.
  process.on("SIGTERM", () => {});
  process.on("SIGINT", () => {});
  // node ends a worker by process.exit() when its primary is gone, and uWebSockets.js aborts the process when it exits while it listens.
  process.on("exit", () => void server?.close(0));
}

/** Request numbers that are reserved ahead in the primary, so that a successor uses none of them again. */
class Reservation {
  readonly #first: number;
  readonly #stride: number;
  #reserved: number;

  constructor(first: number, stride: number) {
    this.#first = first;
    this.#stride = stride;
    this.#reserved = first;
  }

  newCounter(): RequestCounter {
    const counter = new StridedCounter(this.#first, this.#stride);
    return {
      next: () => {
        const index = counter.next();
        if (index >= this.#reserved) primary.tell("reserve", (this.#reserved += this.#stride * reservedRequests));
        return index;
      },
    };
  }
}

/** Asks the primary about the rates of all requests of one turn of the event loop, in one message. */
class RateAsker {
  #questions: RateQuestion[] = [];
  #answered: { resolve: (answer: RateAnswer) => void; reject: (error: Error) => void }[] = [];

  ask(question: RateQuestion): Promise<RateAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#questions.length === 0) setImmediate(() => this.#flush());
      this.#questions.push(question);
      this.#answered.push({ resolve, reject });
    });
  }

  #flush(): void {
    const answered = this.#answered;
    const call = primary.call("takeRates", this.#questions);
    this.#questions = [];
    this.#answered = [];
    call.then(
      (answers) => answered.forEach(({ resolve }, index) => resolve(answers[index]!)),
      (error: Error) => answered.forEach(({ reject }) => reject(error)),
    );
  }
}

/** A primary that is stopped or stuck is no defect of this worker. */
async function orUnavailable<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof LateError)) throw error;
    const why = `The first process (${process.ppid}) gave no answer for ${primaryTimeoutMs} ms: stopped, or stuck.`;
    throw new ApiError(503, why, null, "primary_not_answering");
  }
}

async function start({ options, settled, certificate, firstIndex, workers }: Assignment): Promise<Started> {
  const config = resolveAgain(options, settled);
  const asker = new RateAsker();
  const reservation = new Reservation(firstIndex, workers);
  const siblings: Siblings = {
    certificate,
    newCounter: () => reservation.newCounter(),
    limiter: new LeasingRateLimiter({
      limits: config.rateLimits,
      processes: workers,
      nowUs: monotonicUs,
      ask: (question) => asker.ask(question),
    }),
    metrics: () => orUnavailable(primary.call("metrics", null, primaryTimeoutMs)),
    change: (changes) => orUnavailable(primary.call("change", changes, primaryTimeoutMs)),
  };
  server = await startServer(config, siblings, (line) => primary.tell("tell", line));
  tell("started");
  limitYoungGeneration(server.listening);
  let noted = "";
  setInterval(() => {
    const snapshot = server!.snapshot();
    const { meter, live } = snapshot;
    const news = JSON.stringify([meter, live.running, live.scheduler, live.listeners]);
    if (news === noted) return;
    noted = news;
    primary.tell("note", snapshot);
  }, noteIntervalMs).unref();
  return { listening: server.listening, notices: server.notices };
}
