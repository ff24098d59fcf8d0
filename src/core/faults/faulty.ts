/** Making faults: a plan whose frames and times are changed, and a sink that an engine's faults are made through. */
import type { Fault, FaultName } from "./fault.ts";
import { Pieces } from "./pieces.ts";
import { eventEnd, stampMember } from "../frames/frames.ts";
import type {
  FrameSource,
  ResponseHead,
  ResponsePlan,
  ResponseSink,
  Schedule,
  ScheduleObserver,
  SinkObserver,
  WireFault,
} from "../seams.ts";

const encoder = new TextEncoder();

/** Due never: far beyond any stream's end in the wheel's terms, and still a number. */
const neverUs = 1e15;
/** What was written gets this long to leave before a fault cuts it. */
const lingerUs = 10_000;
/** Between two halves of what is split, so that they leave in writes of their own. */
const splitUs = 2000;
const comment: Uint8Array = encoder.encode(": keep-alive\n\n");
const nothing = new Uint8Array();

/** A sink whose response is faulted. */
export class FaultySink implements ResponseSink {
  readonly faults: readonly Fault[];
  /** Whether the request itself asked for one of them. */
  readonly isAsked: boolean;
  readonly takeUnsent?: () => Uint8Array | null;
  /** The sink that it goes on to. */
  readonly inner: ResponseSink;
  readonly #sink: ResponseSink;
  /** What the next write does instead. */
  #next: WireFault | null = null;

  constructor(sink: ResponseSink, faults: readonly Fault[], isAsked: boolean) {
    this.#sink = sink;
    this.inner = sink;
    this.faults = faults;
    this.isAsked = isAsked;
    if (sink.takeUnsent !== undefined) this.takeUnsent = () => sink.takeUnsent!();
  }

  get closed(): boolean {
    return this.#sink.closed;
  }

  isBeingRead(): boolean {
    return this.#sink.isBeingRead();
  }

  get observer(): SinkObserver | null {
    return this.#sink.observer;
  }

  set observer(observer: SinkObserver | null) {
    this.#sink.observer = observer;
  }

  set extraHeaders(headers: Readonly<Record<string, string>> | null) {
    this.#sink.extraHeaders = headers;
  }

  start(head: ResponseHead): void {
    this.#sink.start(head);
  }

  write(frame: Uint8Array): boolean {
    if (this.#next === null) return this.#sink.write(frame);
    // The pacer sees a client that is gone: nothing more is written.
    const { observer } = this.#sink;
    this.#sink.inject!(this.#next);
    observer?.onAbort();
    return false;
  }

  end(frame?: Uint8Array): void {
    this.#sink.end(frame);
  }

  reset(): void {
    this.#sink.reset();
  }

  /** The next write becomes this fault. */
  cutNext(fault: WireFault): void {
    this.#next = fault;
  }

  /** GOAWAY while the response goes on. */
  goAway(): void {
    if (!this.#sink.closed) this.#sink.inject!({ kind: "goaway", code: 0 });
  }
}

/** What making faults needs to know. */
export interface FaultTeller {
  /** Called when a fault is made, once for each. */
  made(fault: Fault): void;
  /** An event that says that something went wrong. `last` is what was sent before it. */
  errorEvent(last: Uint8Array): string;
}

/** Faults that end a response: the first that is reached does. */
const cuts: ReadonlySet<FaultName> = new Set(["hang", "reset", "rst_stream", "goaway", "close", "error", "truncate"]);
/** Faults that change one event. */
const edits: ReadonlySet<FaultName> = new Set(["malformed", "duplicate", "reorder"]);

/** A plan with faults. `sink` is where it goes. */
export function faultyPlan(plan: ResponsePlan, sink: FaultySink, teller: FaultTeller): ResponsePlan {
  const names = namesOf(sink);
  const lengthFault = sink.faults.find(({ name }) => name === "content_length");
  const rewritten = new FaultyFrames(plan, sink, teller);
  if (lengthFault !== undefined) teller.made(lengthFault);
  const head: ResponseHead = {
    ...plan.head,
    stem: undefined,
    headers: { ...plan.head.headers, "x-fakeai-fault": names },
    ...(lengthFault !== undefined && { contentLengthBy: lengthFault.by }),
    ...(sink.faults.some(({ name }) => name === "rst_stream") && { mayReset: true }),
  };
  return { ...plan, head, frames: rewritten, schedule: rewritten };
}

const namesOf = ({ faults }: FaultySink): string => faults.map(({ name }) => name).join(", ");

/** What the next frame is. */
type Next = "planned" | "piece" | "comment" | Fault;

/** Frames and times of a plan, changed. Slower than a plan's own; nothing of it is in the way of other responses. */
class FaultyFrames implements FrameSource, Schedule {
  tokens = 0;
  readonly #plan: ResponsePlan;
  readonly #sink: FaultySink;
  readonly #teller: FaultTeller;
  readonly #unary: boolean;
  /** What the stamps say beside the times. */
  readonly #mark: Uint8Array;
  readonly #made = new Set<Fault>();
  /** Frames of the plan that were taken, and their tokens. */
  #planned = 0;
  #tokensTaken = 0;
  /** When the plan's next frame is due; null: not asked yet. */
  #plannedDueUs: number | null = null;
  #shiftUs = 0;
  #silentUntilUs = 0;
  /** Bytes that wait for writes of their own, and how long each comes after the one before. */
  readonly #pieces = new Pieces();
  #pieceGapUs = splitUs;
  /** An event that waits for the one after it. */
  #held: Uint8Array | null = null;
  #last: Uint8Array = nothing;
  #lastSentUs = 0;
  #taken = 0;
  #isOver = false;
  #wasCut = false;
  #next: Next = "planned";
  #asked = -1;
  #dueUs = 0;

  constructor(plan: ResponsePlan, sink: FaultySink, teller: FaultTeller) {
    this.#plan = plan;
    this.#sink = sink;
    this.#teller = teller;
    this.#unary = !plan.head.streamed;
    this.#mark = encoder.encode(`,"fault":${JSON.stringify(namesOf(sink))}`);
  }

  /** Not known before the end. */
  get length(): number {
    return this.#isOver && this.#pieces.isUsedUp ? this.#taken : Infinity;
  }

  nextDueUs(index: number): number {
    if (index === this.#asked) return this.#dueUs;
    const dueUs = Math.max(this.#dueUs, this.#settle());
    if (this.isLive) {
      // The plan may come to know better before this time has come.
      this.#plannedDueUs = null;
      return dueUs;
    }
    this.#asked = index;
    this.#dueUs = dueUs;
    return dueUs;
  }

  get isLive(): boolean {
    return this.#plan.schedule.isLive === true;
  }

  begin(observer: ScheduleObserver): void {
    this.#plan.schedule.begin?.(observer);
  }

  end(isGivenUp: boolean): void {
    this.#plan.schedule.end?.(isGivenUp);
  }

  /** Decides what comes next, and when. */
  #settle(): number {
    if (this.#wasCut) return neverUs;
    if (!this.#pieces.isUsedUp) {
      this.#next = "piece";
      return this.#lastSentUs + this.#pieceGapUs;
    }
    const cut = this.#reached(cuts, ({ name, code, requests }) => name !== "goaway" || (code !== 0 && requests === null));
    if (cut?.name === "hang") {
      this.#tell(cut);
      return neverUs;
    }
    if (cut !== null && cut.name !== "error" && this.#planned > 0) {
      this.#next = cut;
      return this.#lastSentUs + lingerUs;
    }
    const delay = this.#find("delay");
    if (delay !== null && this.#isReached(delay) && this.#tell(delay)) this.#shiftUs += delay.us;
    const burst = this.#find("burst");
    if (burst !== null && this.#isReached(burst) && this.#tell(burst)) {
      // From what was sent, however late: a client that waits for the silence must not find it shorter.
      this.#silentUntilUs = Math.max(this.#dueUs, this.#lastSentUs) + burst.us;
    }
    this.#plannedDueUs ??= this.#plan.schedule.nextDueUs(this.#planned);
    const dueUs = Math.max(this.#plannedDueUs + this.#shiftUs, this.#silentUntilUs);
    const comments = this.#find("comments");
    if (comments !== null && dueUs > this.#dueUs + comments.us) {
      this.#next = "comment";
      return this.#dueUs + comments.us;
    }
    this.#next = cut ?? "planned";
    return dueUs;
  }

  frame(_index: number, dueUs: number, sentUs: number): Uint8Array {
    this.#lastSentUs = sentUs - this.#plan.startUs;
    this.#dueUs = Math.max(this.#dueUs, dueUs - this.#plan.startUs);
    this.#taken++;
    this.tokens = 0;
    if (this.#next === "planned") return this.#takePlanned(dueUs, sentUs);
    if (this.#next === "piece") return this.#pieces.take();
    if (this.#next === "comment") {
      this.#tell(this.#find("comments")!);
      return comment;
    }
    return this.#cut(this.#next);
  }

  #cut(fault: Fault): Uint8Array {
    const { name, code } = fault;
    this.#tell(fault);
    if (name === "error" || name === "truncate") {
      this.#isOver = true;
      return name === "error" ? encoder.encode(this.#teller.errorEvent(this.#last)) : nothing;
    }
    this.#wasCut = true;
    this.#sink.cutNext(name === "reset" ? { kind: "reset" } : { kind: name as "rst_stream" | "goaway" | "close", code });
    return nothing;
  }

  #takePlanned(dueUs: number, sentUs: number): Uint8Array {
    const { frames } = this.#plan;
    const goaway = this.#find("goaway");
    if (goaway?.code === 0 && goaway.requests === null && this.#isReached(goaway) && this.#tell(goaway)) this.#sink.goAway();
    const bytes = frames.frame(this.#planned, dueUs, sentUs).slice();
    const isFirst = this.#tokensTaken === 0;
    const edit = frames.tokens > 0 || this.#unary ? this.#reached(edits, (fault) => !this.#made.has(fault)) : null;
    this.tokens = frames.tokens;
    this.#tokensTaken += frames.tokens;
    this.#planned++;
    this.#plannedDueUs = null;
    this.#isOver = this.#planned === frames.length;
    const truncate = this.#find("truncate");
    if (this.#unary) return this.#unaryBody(marked(bytes, "}", this.#mark), truncate ?? edit);
    // A stream that was to end here anyway ends whole.
    if (truncate !== null && !this.#isOver && this.#isReached(truncate) && this.#tell(truncate)) this.#isOver = true;
    const planned = eventsOf(bytes).map((event) => marked(event, eventEnd, this.#mark));
    const events = this.#edited(planned, edit, isFirst);
    if (frames.tokens > 0 || this.#isOver) this.#last = events.at(-1) ?? nothing;
    this.#split(joined(events));
    return this.#pieces.take();
  }

  #unaryBody(bytes: Uint8Array, fault: Fault | null): Uint8Array {
    if (fault === null) return bytes;
    this.#tell(fault);
    return bytes.subarray(0, fault.name === "truncate" ? Math.floor(bytes.length / 2) : bytes.length - 1);
  }

  /** The events of one frame, changed. */
  #edited(events: Uint8Array[], edit: Fault | null, isFirst: boolean): Uint8Array[] {
    if (this.#held !== null) {
      events.splice(1, 0, this.#held);
      this.#held = null;
    }
    if (edit !== null) {
      // What opens a stream stands before its first token, what ends it after the last.
      const at = isFirst ? Math.max(0, events.length - (this.#isOver ? 2 : 1)) : 0;
      if (edit.name === "malformed") events[at] = broken(events[at]!);
      else if (edit.name === "duplicate") events.splice(at, 0, events[at]!);
      else if (!this.#isOver) this.#held = events.splice(at, 1)[0]!;
      else if (events.length > at + 1) events.splice(at, 2, events[at + 1]!, events[at]!);
      this.#tell(edit);
    }
    const noDone = this.#find("no_done");
    if (noDone !== null && this.#planned === this.#plan.frames.length) {
      events.pop();
      this.#tell(noDone);
    }
    return events;
  }

  /** Settles which writes a frame becomes. */
  #split(bytes: Uint8Array): void {
    const bytewise = this.#find("bytewise");
    const lines = bytewise === null ? this.#find("split_lines") : null;
    const characters = bytewise === null ? this.#find("split_utf8") : null;
    if (bytewise !== null) {
      this.#pieceGapUs = bytewise.us;
      this.#tell(bytewise);
    }
    if (lines !== null) this.#tell(lines);
    // A byte above 0xBF begins a character of several.
    if (characters !== null && bytes.some((byte) => byte > 0xbf)) this.#tell(characters);
    this.#pieces.load(bytes, { bytes: bytewise !== null, lines: lines !== null, characters: characters !== null });
  }

  #find(name: FaultName): Fault | null {
    return this.#sink.faults.find((fault) => fault.name === name) ?? null;
  }

  #isReached({ after }: Fault): boolean {
    return this.#unary || this.#tokensTaken >= after;
  }

  /** The fault of a set that is reached and comes first. */
  #reached(names: ReadonlySet<FaultName>, fits: (fault: Fault) => boolean): Fault | null {
    // Half an unstreamed body is made when the body is.
    const fault = this.#sink.faults.find(
      (fault) => names.has(fault.name) && this.#isReached(fault) && fits(fault) && !(this.#unary && fault.name === "truncate"),
    );
    return fault ?? null;
  }

  /** true the first time. */
  #tell(fault: Fault): boolean {
    if (this.#made.has(fault)) return false;
    this.#made.add(fault);
    this.#teller.made(fault);
    return true;
  }
}

/** The events of a frame, each with the empty line that ends it. */
function eventsOf(bytes: Uint8Array): Uint8Array[] {
  const events: Uint8Array[] = [];
  let start = 0;
  for (let i = 1; i < bytes.length; i++) {
    if (bytes[i] !== 10 || bytes[i - 1] !== 10) continue;
    events.push(bytes.subarray(start, i + 1));
    start = i + 1;
  }
  if (start < bytes.length) events.push(bytes.subarray(start));
  return events;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const stampsOpening = encoder.encode(stampMember.slice(0, stampMember.indexOf(" ")));

/** A stamped event, or body, with `mark` after its stamps; `ending` is what stands after those. Any other stays as it is. */
function marked(bytes: Uint8Array, ending: string, mark: Uint8Array): Uint8Array {
  const from = bytes.length - ending.length - stampMember.length;
  if (from < 0 || !stampsOpening.every((byte, index) => bytes[from + index] === byte)) return bytes;
  // Before the brace of the stamps.
  const at = bytes.length - ending.length - 1;
  return joined([bytes.subarray(0, at), mark, bytes.subarray(at)]);
}

/** An event whose JSON stops half way. */
function broken(event: Uint8Array): Uint8Array {
  const start = event.indexOf(123);
  if (start < 0) return event;
  const half = Math.floor((start + event.length) / 2);
  return joined([event.subarray(0, half), Uint8Array.of(10, 10)]);
}
