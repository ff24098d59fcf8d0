/** The clients of a soak: as many streams as asked for at any time, on every protocol, each with a plan of its own. */
import { subscribe } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { openConnection } from "../../src/load/client/open.ts";
import { monotonicUs } from "../../src/base/clock.ts";
import { EventReader } from "../../src/load/events.ts";
import { defaultWindows, type Endpoint } from "../../src/load/job.ts";
import { ConnectError, type Connection, type FailureReason } from "../../src/load/client/connection.ts";
import { Recorder } from "../../src/results/recorder.ts";
import type { ProtocolName } from "../../src/results/types.ts";
import { sleep } from "../../test/support/wait.ts";
import { type Dialed, Graveyard } from "./deaths.ts";
import { itlMs, type Kind, kindNames, type Outcome, type Plan, type PlanOptions, planOf } from "./plan.ts";
import type { LaneAddress, SoakedServer } from "./servers.ts";

const path = "/v1/chat/completions";
const body = JSON.stringify({ model: "gpt-4o", stream: true, messages: [{ role: "user", content: "Hello there" }] });
const dialTimeoutMs = 20_000;
/** Streams that share a connection of HTTP/2. */
const streamsPerConnection = 50;
/** A window that a stream of HTTP/2 fills within some 30 tokens when it is not read. */
const windows = { ...defaultWindows, streamBytes: 8192 };
/** A stream of which nothing has come for so long is lost. */
const patienceMs = 20_000;
/** An abort so shortly before the end of a stream, or after it, may not be seen before it. */
const unseenUs = 500_000;
/** Streams begin over this long, so that they do not run in step. */
const rampMs = 2000;

/** The socket that was made last: `openConnection` makes one before it waits. */
let newestSocket: Socket | null = null;
subscribe("net.client.socket", (message) => {
  newestSocket = (message as { socket: Socket }).socket;
});

interface Link {
  readonly connection: Connection;
  readonly dialed: Dialed;
  /** Streams on it. */
  used: number;
}

/** What was measured of the paced streams of one lane in one window of time; null: of no stream. */
export interface WindowFacts {
  readonly lane: string;
  readonly streams: number;
  /** Measured over planned mean ITL, minus 1. */
  readonly itlError: number | null;
  /** By the server's stamps: sent minus due. */
  readonly latenessP50Us: number | null;
  readonly latenessP99Us: number | null;
  readonly latenessMaxUs: number | null;
  /** Read by this client minus due. */
  readonly arrivalP99Us: number | null;
}

class Window {
  streams = 0;
  gapsUs = 0;
  gaps = 0;
  readonly late: Recorder = new Recorder("us");
  readonly arrival: Recorder = new Recorder("us");

  facts(lane: string): WindowFacts {
    const late = this.late.summary();
    return {
      lane,
      streams: this.streams,
      itlError: this.gaps === 0 ? null : this.gapsUs / this.gaps / (itlMs * 1000) - 1,
      latenessP50Us: late?.p50 ?? null,
      latenessP99Us: late?.p99 ?? null,
      latenessMaxUs: late?.max ?? null,
      arrivalP99Us: this.arrival.summary()?.p99 ?? null,
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
  /** Neither ended nor failed, or had no connection: nothing came any more. */
  lost: number;
  /** Not as planned, on a connection to a worker that was killed. */
  died: number;
  /** Of those, with no head of an answer. */
  diedUnanswered: number;
  /** Refused unseen, as HTTP/2 says by GOAWAY, and sent again. */
  resent: number;
  connections: number;
  /** What the server has to have counted. */
  aborts: number;
  refusals: number;
  wrong: number;
  /** Of those, by protocol, kind and how they ended. */
  readonly strays: Record<string, number>;
  /** The first of them, with the second in which each ended. */
  readonly details: string[];
}

const newTally = (): Tally => ({
  requests: 0,
  planned: { whole: 0, abort: 0, stall: 0, fault: 0 },
  asPlanned: { whole: 0, abort: 0, stall: 0, fault: 0 },
  faults: {},
  lost: 0,
  died: 0,
  diedUnanswered: 0,
  resent: 0,
  connections: 0,
  aborts: 0,
  refusals: 0,
  wrong: 0,
  strays: {},
  details: [],
});

/** Where a lane stands among those of its server. */
interface LaneOptions {
  readonly address: LaneAddress;
  readonly caPath: string | null;
  readonly place: number;
  readonly places: number;
  readonly plans: PlanOptions;
  readonly tally: Tally;
  readonly graveyard: Graveyard;
}

/** Streams of one protocol on one engine. */
class Lane {
  window: Window = new Window();
  readonly name: string;
  /** The connections of the streams under way. */
  readonly active: Set<{ readonly dialed: Dialed }> = new Set();
  readonly #protocol: ProtocolName;
  readonly #endpoint: Endpoint;
  readonly #isH2: boolean;
  readonly #options: PlanOptions;
  readonly #tally: Tally;
  readonly #graveyard: Graveyard;
  /** Connections of HTTP/2 that streams share. */
  readonly #links: Link[] = [];
  #dialing: Promise<unknown> | null = null;
  #going = true;
  readonly #startedMs: number = performance.now();
  /** Streams so far, over all lanes apart by the stride. */
  #next: number;
  readonly #stride: number;

  constructor({ address, caPath, place, places, plans, tally, graveyard }: LaneOptions) {
    const { name, protocol, origin } = address;
    this.name = name;
    this.#protocol = protocol;
    this.#isH2 = protocol === "h2" || protocol === "h2c";
    const ca = origin.startsWith("https:") && caPath !== null ? readFileSync(caPath, "utf8") : null;
    const tls = { ca, insecure: false, cipher: null };
    this.#endpoint = { origin, protocol, path, method: "POST", headers: { "content-type": "application/json" }, tls };
    this.#next = place;
    this.#stride = places;
    this.#options = plans;
    this.#tally = tally;
    this.#graveyard = graveyard;
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
    let own: Link | null = null;
    while (this.#going) {
      const index = this.#next;
      this.#next += this.#stride;
      const plan = planOf(this.#protocol, index, this.#options);
      if (this.#isH2) {
        while ((await this.#shared(plan)) === "refused") this.#tally.resent++;
      } else {
        if (own === null || !own.connection.open) own = await this.#dial();
        await this.#one(own, plan);
      }
    }
    own?.connection.close();
  }

  async #shared(plan: Plan): Promise<string> {
    let link = this.#free();
    while (link === undefined) {
      this.#dialing ??= this.#dial()
        .then((dialed) => this.#links.push(dialed))
        .finally(() => {
          this.#dialing = null;
        });
      await this.#dialing;
      link = this.#free();
    }
    link.used++;
    const how = await this.#one(link, plan);
    if (--link.used === 0 && !link.connection.open) {
      this.#links.splice(this.#links.indexOf(link), 1);
      link.connection.close();
    }
    return how;
  }

  #free(): Link | undefined {
    return this.#links.find(({ connection, used }) => connection.open && used < streamsPerConnection);
  }

  /** Opens a connection; one that fails because its worker was killed is opened again, any other is complained of first. */
  async #dial(): Promise<Link> {
    for (;;) {
      this.#tally.connections++;
      const opening = openConnection({ endpoint: this.#endpoint, windows, timeoutMs: dialTimeoutMs });
      const socket = newestSocket!;
      const dialed: Dialed = { port: 0, openedMs: performance.now() };
      socket.once("connect", () => {
        dialed.port = socket.localPort ?? 0;
      });
      try {
        return { connection: await opening, dialed, used: 0 };
      } catch (error) {
        if (!(error instanceof ConnectError)) throw error;
        const death = this.#graveyard.deathOf(dialed);
        if (death === null) {
          this.#tally.lost++;
          this.#complain(`${this.name}: no connection: ${error.message}`);
          await sleep(100);
        } else {
          death.unopened++;
        }
      }
    }
  }

  /** One stream; how it ended. */
  #one({ connection, dialed }: Link, plan: Plan): Promise<string> {
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
      /** When the last token of the stream was planned; Infinity: it hangs, or nothing has come. */
      let endsUs = Infinity;
      let settled = false;
      let later: NodeJS.Timeout | null = null;
      let cancel = (): void => {};
      const settle = (how: FailureReason | "end" | "lost" | "aborted"): void => {
        if (settled) return;
        settled = true;
        clearTimeout(patience);
        if (later !== null) clearTimeout(later);
        this.active.delete(stream);
        if (plan.kind === "whole" && how === "end" && events > 1) {
          this.window.streams++;
          this.window.gapsUs += lastUs - firstUs;
          this.window.gaps += events - 1;
        }
        const late = endsUs < monotonicUs() + unseenUs;
        if (how !== "refused") this.#account(plan, { status, fault, events, finished, failed, how }, { dialed, late });
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
        if (plan.kind === "abort") endsUs = event.dueUs + (plan.tokens - events) * itlMs * 1000;
        if (events === plan.abortAt) {
          if (plan.abortAfterMs === 0) giveUp("aborted");
          else later = setTimeout(() => giveUp("aborted"), plan.abortAfterMs);
        }
      });
      const stream = { dialed };
      this.active.add(stream);
      this.#tally.requests++;
      const patience = setTimeout(() => giveUp("lost"), patienceMs);
      cancel = connection.send(
        { method: "POST", path, body, headers: plan.headers, unreadMs: plan.unreadMs },
        {
          onResponse: (head) => {
            ({ status, fault } = head);
            this.#graveyard.note("answered", dialed);
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

  #account(plan: Plan, outcome: Outcome, { dialed, late }: { dialed: Dialed; late: boolean }): void {
    const tally = this.#tally;
    const wrong = plan.wrong(outcome);
    const death = wrong === null ? null : this.#graveyard.deathOf(dialed);
    tally.planned[plan.kind]++;
    const of = plan.fault === "" ? null : (tally.faults[plan.fault] ??= { planned: 0, asPlanned: 0 });
    if (of !== null) of.planned++;
    if (death !== null) {
      death.died++;
      tally.died++;
      if (outcome.status === 0) tally.diedUnanswered++;
      return;
    }
    if (plan.aborts) tally.aborts++;
    if (plan.refused) tally.refusals++;
    if (plan.aborts || !plan.refused) this.#graveyard.note(plan.aborts ? "aborted" : "finished", dialed, late);
    if (wrong === null) {
      tally.asPlanned[plan.kind]++;
      if (of !== null) of.asPlanned++;
      return;
    }
    if (outcome.how === "lost") tally.lost++;
    tally.wrong++;
    const stray = `${this.name}, ${kindNames[plan.kind]}, status ${outcome.status}, ${outcome.how}`;
    tally.strays[stray] = (tally.strays[stray] ?? 0) + 1;
    this.#complain(this.name === this.#protocol ? wrong : `${this.name}: ${wrong}`);
  }

  #complain(what: string): void {
    const atS = ((performance.now() - this.#startedMs) / 1000).toFixed(0);
    if (this.#tally.details.length < 20) this.#tally.details.push(`at ${atS} s, ${what}`);
  }
}

/** Clients on all protocols of a server. */
export class Clients {
  readonly tally: Tally = newTally();
  readonly graveyard: Graveyard = new Graveyard();
  readonly #lanes: readonly Lane[];

  constructor({ lanes, caPath }: SoakedServer, plans: PlanOptions) {
    const common = { caPath, places: lanes.length, plans, tally: this.tally, graveyard: this.graveyard };
    this.#lanes = lanes.map((address, place) => new Lane({ address, place, ...common }));
  }

  /** Streams under way. */
  get active(): number {
    return this.#lanes.reduce((sum, { active }) => sum + active.size, 0);
  }

  /** Streams under way on connections for which this holds. */
  activeOn(holds: (dialed: Dialed) => boolean): number {
    return this.#lanes.reduce((sum, { active }) => sum + [...active].filter(({ dialed }) => holds(dialed)).length, 0);
  }

  /** Keeps so many streams going on each lane for so long; then lets each end. */
  async run(streamsPerLane: number, durationMs: number): Promise<void> {
    const running = Promise.all(this.#lanes.map((lane) => lane.run(streamsPerLane)));
    await sleep(durationMs);
    for (const lane of this.#lanes) lane.stop();
    await running;
  }

  /** What was measured since the last time this was asked. */
  takeWindow(): WindowFacts[] {
    return this.#lanes.map((lane) => {
      const facts = lane.window.facts(lane.name);
      lane.window = new Window();
      return facts;
    });
  }
}
