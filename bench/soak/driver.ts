/** The clients of a soak: as many streams as asked for at any time, on every protocol, each with a plan of its own. */
import { readFileSync } from "node:fs";
import { openConnection } from "../../src/load/client/open.ts";
import { EventReader } from "../../src/load/events.ts";
import { defaultWindows, type Endpoint } from "../../src/load/job.ts";
import { ConnectError, type Connection, type FailureReason } from "../../src/load/client/connection.ts";
import { Recorder } from "../../src/results/recorder.ts";
import type { ProtocolName } from "../../src/results/types.ts";
import { sleep } from "../../test/support/wait.ts";
import { itlMs, type Kind, type Outcome, type Plan, type PlanOptions, planOf } from "./plan.ts";

const path = "/v1/chat/completions";
const body = JSON.stringify({ model: "gpt-4o", stream: true, messages: [{ role: "user", content: "Hello there" }] });
const dialTimeoutMs = 10_000;
/** Streams that share a connection of HTTP/2. */
const streamsPerConnection = 50;
/** A window that a stream of HTTP/2 fills within some 30 tokens when it is not read. */
const windows = { ...defaultWindows, streamBytes: 8192 };
/** A stream of which nothing has come for so long is lost. */
const patienceMs = 20_000;
/** Streams begin over this long, so that they do not run in step. */
const rampMs = 2000;

interface Link {
  readonly connection: Connection;
  /** Streams on it. */
  used: number;
}

/** What was measured of the paced streams of one protocol in one window of time. */
export interface WindowFacts {
  readonly protocol: ProtocolName;
  readonly streams: number;
  /** Measured over planned mean ITL, minus 1; null without a stream. */
  readonly itlError: number | null;
  /** By the server's stamps: sent minus due. */
  readonly latenessP50Us: number;
  readonly latenessP99Us: number;
  readonly latenessMaxUs: number;
  /** Read by this client minus due. */
  readonly arrivalP99Us: number;
}

class Window {
  streams = 0;
  gapsUs = 0;
  gaps = 0;
  readonly late: Recorder = new Recorder("us");
  readonly arrival: Recorder = new Recorder("us");

  facts(protocol: ProtocolName): WindowFacts {
    const late = this.late.summary();
    return {
      protocol,
      streams: this.streams,
      itlError: this.gaps === 0 ? null : this.gapsUs / this.gaps / (itlMs * 1000) - 1,
      latenessP50Us: late?.p50 ?? 0,
      latenessP99Us: late?.p99 ?? 0,
      latenessMaxUs: late?.max ?? 0,
      arrivalP99Us: this.arrival.summary()?.p99 ?? 0,
    };
  }
}

/** Counts of what was planned and came as planned, and what did not. */
export interface Tally {
  requests: number;
  readonly planned: Record<Kind, number>;
  readonly asPlanned: Record<Kind, number>;
  /** By fault: planned, and as planned. */
  readonly faults: Record<string, { planned: number; asPlanned: number }>;
  /** Neither ended nor failed: nothing came any more. */
  lost: number;
  /** Refused unseen, as HTTP/2 says by GOAWAY, and sent again. */
  resent: number;
  connections: number;
  /** What the server has to have counted. */
  aborts: number;
  refusals: number;
  wrong: number;
  /** The first of them. */
  readonly details: string[];
}

const newTally = (): Tally => ({
  requests: 0,
  planned: { whole: 0, abort: 0, stall: 0, fault: 0 },
  asPlanned: { whole: 0, abort: 0, stall: 0, fault: 0 },
  faults: {},
  lost: 0,
  resent: 0,
  connections: 0,
  aborts: 0,
  refusals: 0,
  wrong: 0,
  details: [],
});

/** Streams of one protocol. */
class Lane {
  active = 0;
  window: Window = new Window();
  readonly protocol: ProtocolName;
  readonly #endpoint: Endpoint;
  readonly #isH2: boolean;
  readonly #options: PlanOptions;
  readonly #tally: Tally;
  /** Connections of HTTP/2 that streams share. */
  readonly #links: Link[] = [];
  #dialing: Promise<unknown> | null = null;
  #going = true;
  /** Streams so far, over all lanes apart by the stride. */
  #next: number;
  readonly #stride: number;

  constructor(
    protocol: ProtocolName,
    origin: string,
    caPath: string | null,
    place: number,
    places: number,
    options: PlanOptions,
    tally: Tally,
  ) {
    this.protocol = protocol;
    this.#isH2 = protocol === "h2" || protocol === "h2c";
    const ca = origin.startsWith("https:") && caPath !== null ? readFileSync(caPath, "utf8") : null;
    const tls = { ca, insecure: false, cipher: null };
    this.#endpoint = { origin, protocol, path, method: "POST", headers: { "content-type": "application/json" }, tls };
    this.#next = place;
    this.#stride = places;
    this.#options = options;
    this.#tally = tally;
  }

  /** Keeps so many streams going until `stop`; resolves when the last one has ended. */
  async run(streams: number): Promise<void> {
    await Promise.all(Array.from({ length: streams }, (_, slot) => this.#slot((slot / streams) * rampMs)));
    for (const { connection } of this.#links) connection.close();
    this.#links.length = 0;
  }

  stop(): void {
    this.#going = false;
  }

  async #slot(delayMs: number): Promise<void> {
    await sleep(delayMs);
    let own: Connection | null = null;
    while (this.#going) {
      const index = this.#next;
      this.#next += this.#stride;
      const plan = planOf(this.protocol, index, this.#options);
      try {
        if (this.#isH2) {
          while ((await this.#shared((connection) => this.#one(connection, plan))) === "refused") this.#tally.resent++;
        } else {
          if (own === null || !own.open) own = await this.#dial();
          await this.#one(own, plan);
        }
      } catch (error) {
        if (!(error instanceof ConnectError)) throw error;
        this.#tally.lost++;
        this.#complain(`${this.protocol}: no connection: ${error.message}`);
        await sleep(100);
      }
    }
    own?.close();
  }

  async #shared(use: (connection: Connection) => Promise<string>): Promise<string> {
    let link = this.#free();
    while (link === undefined) {
      this.#dialing ??= this.#dial()
        .then((connection) => this.#links.push({ connection, used: 0 }))
        .finally(() => {
          this.#dialing = null;
        });
      await this.#dialing;
      link = this.#free();
    }
    link.used++;
    const how = await use(link.connection);
    if (--link.used === 0 && !link.connection.open) {
      this.#links.splice(this.#links.indexOf(link), 1);
      link.connection.close();
    }
    return how;
  }

  #free(): Link | undefined {
    return this.#links.find(({ connection, used }) => connection.open && used < streamsPerConnection);
  }

  #dial(): Promise<Connection> {
    this.#tally.connections++;
    return openConnection({ endpoint: this.#endpoint, windows, timeoutMs: dialTimeoutMs });
  }

  /** One stream; how it ended. */
  #one(connection: Connection, plan: Plan): Promise<string> {
    return new Promise((resolve) => {
      const paced = plan.kind === "whole" || plan.kind === "abort";
      let status = 0;
      let fault: string | null = null;
      let events = 0;
      let finished = false;
      let failed = false;
      let readUs = 0;
      let firstUs = 0;
      let lastUs = 0;
      let settled = false;
      let later: NodeJS.Timeout | null = null;
      let cancel = (): void => {};
      const settle = (how: FailureReason | "end" | "lost" | "aborted"): void => {
        if (settled) return;
        settled = true;
        clearTimeout(patience);
        if (later !== null) clearTimeout(later);
        this.active--;
        if (plan.kind === "whole" && how === "end" && events > 1) {
          this.window.streams++;
          this.window.gapsUs += lastUs - firstUs;
          this.window.gaps += events - 1;
        }
        if (how !== "refused") this.#account(plan, { status, fault, events, finished, failed, how });
        resolve(how);
      };
      const giveUp = (how: "lost" | "aborted"): void => {
        cancel();
        settle(how);
      };
      const reader = new EventReader((event) => {
        if (settled) return;
        finished ||= event.finished;
        failed ||= event.failed;
        if (!event.content) return;
        if (events++ === 0) firstUs = readUs;
        lastUs = readUs;
        if (paced && event.sentUs >= 0) {
          this.window.late.record(event.sentUs - event.dueUs);
          this.window.arrival.record(readUs - event.dueUs);
        }
        if (events === plan.abortAt) {
          if (plan.abortAfterMs === 0) giveUp("aborted");
          else later = setTimeout(() => giveUp("aborted"), plan.abortAfterMs);
        }
      });
      this.active++;
      this.#tally.requests++;
      const patience = setTimeout(() => giveUp("lost"), patienceMs);
      cancel = connection.send(
        { method: "POST", path, body, headers: plan.headers, unreadMs: plan.unreadMs },
        {
          onResponse: (head) => {
            ({ status, fault } = head);
          },
          onData: (bytes, start, end, us) => {
            if (settled || status !== 200) return;
            readUs = us;
            patience.refresh();
            reader.push(bytes, start, end);
          },
          onEnd: () => settle("end"),
          onFail: (reason) => settle(reason),
        },
      );
    });
  }

  #account(plan: Plan, outcome: Outcome): void {
    const tally = this.#tally;
    tally.planned[plan.kind]++;
    if (plan.aborts) tally.aborts++;
    if (plan.refused) tally.refusals++;
    const of = plan.fault === "" ? null : (tally.faults[plan.fault] ??= { planned: 0, asPlanned: 0 });
    if (of !== null) of.planned++;
    const wrong = plan.wrong(outcome);
    if (wrong === null) {
      tally.asPlanned[plan.kind]++;
      if (of !== null) of.asPlanned++;
      return;
    }
    if (outcome.how === "lost") tally.lost++;
    tally.wrong++;
    this.#complain(wrong);
  }

  #complain(what: string): void {
    if (this.#tally.details.length < 20) this.#tally.details.push(what);
  }
}

/** Clients on all protocols of a server. */
export class Clients {
  readonly tally: Tally = newTally();
  readonly #lanes: readonly Lane[];

  constructor(urls: Readonly<Partial<Record<ProtocolName, string>>>, caPath: string | null, options: PlanOptions) {
    const protocols = Object.keys(urls) as ProtocolName[];
    this.#lanes = protocols.map((name, place) => new Lane(name, urls[name]!, caPath, place, protocols.length, options, this.tally));
  }

  /** Streams under way. */
  get active(): number {
    return this.#lanes.reduce((sum, { active }) => sum + active, 0);
  }

  /** Keeps so many streams going for so long, evenly over the protocols; then lets each end. */
  async run(streams: number, durationMs: number): Promise<void> {
    const running = Promise.all(this.#lanes.map((lane) => lane.run(streams / this.#lanes.length)));
    await sleep(durationMs);
    for (const lane of this.#lanes) lane.stop();
    await running;
  }

  /** What was measured since the last time this was asked. */
  takeWindow(): WindowFacts[] {
    return this.#lanes.map((lane) => {
      const facts = lane.window.facts(lane.protocol);
      lane.window = new Window();
      return facts;
    });
  }
}
