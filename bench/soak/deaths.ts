/** Workers that are killed or stopped while they serve, and which connections die with them: the kernel's tables say. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { statOf } from "../../src/base/proc.ts";
import { sleep } from "../../test/support/wait.ts";
import { kill, type SoakedServer } from "./servers.ts";

/** A worker tells its counts each 250 ms, on a busy machine later: what it did in this long before its end may be in no count. */
const unnotedMs = 2000;

/** The end of a worker, and what went with it. */
export interface Death {
  readonly atS: number;
  readonly server: string;
  readonly pid: number;
  /** It had been stopped for so long when it was killed. */
  readonly stoppedMs: number;
  /** Connections that it had accepted. */
  readonly connections: number;
  /** Connections that no process had accepted, on ports where each worker has a queue of its own: they may have been in that one's. */
  readonly unaccepted: number;
  /** Of the clients, as many streams as were under way on its connections, and on those that none had accepted. */
  underWay: number;
  /** Streams that did not come as planned because of it. */
  died: number;
  /** Connections that were being opened and failed because of it. */
  unopened: number;
}

/** A time in which a process, or all of a server, was stopped. */
export interface Pause {
  readonly atS: number;
  readonly server: string;
  readonly what: "worker" | "server";
  readonly lastedMs: number;
}

/** A connection as its client knows it. */
export interface Dialed {
  /** 0: not connected yet. */
  port: number;
  readonly openedMs: number;
}

/** What a client did, noted for a while: a worker that dies soon after may not have told of it. */
export type Did = "answered" | "finished" | "aborted";

interface Note {
  readonly ms: number;
  readonly did: Did;
  readonly dialed: Dialed;
}

/** What is known of the connections of one server. */
export class Graveyard {
  readonly deaths: Death[] = [];
  readonly pauses: Pause[] = [];
  /** By what a client did: what the dead workers may not have told of. */
  readonly untold: Record<Did, number> = { answered: 0, finished: 0, aborted: 0 };
  /** Aborts that a server could not see in time, so that it may have finished the streams first. */
  abortsUnseen = 0;
  /** By the client's port: connections that died, and when. Ports are used again. */
  readonly #graves = new Map<number, { death: Death; ms: number }>();
  #notes: Note[] = [];
  /** Until when what happens counts as unseen. */
  #blindUntilMs = 0;

  /** The death that ended a connection, or null. */
  deathOf({ port, openedMs }: Dialed): Death | null {
    const grave = this.#graves.get(port);
    return grave !== undefined && openedMs <= grave.ms ? grave.death : null;
  }

  /** `late`: an abort near the planned end of its stream. */
  note(did: Did, dialed: Dialed, late = false): void {
    const ms = performance.now();
    if (did === "aborted" && (late || ms < this.#blindUntilMs)) this.abortsUnseen++;
    if (this.#notes.length > 0 && this.#notes[0]!.ms < ms - 10_000) this.#notes = this.#notes.filter((note) => note.ms > ms - 5000);
    this.#notes.push({ ms, did, dialed });
  }

  /** A process is stopped; `null`: it goes on, and what happens until half a second later may not be seen by it in order. */
  blind(isStopped: boolean): void {
    this.#blindUntilMs = isStopped ? Infinity : performance.now() + 500;
  }

  bury(death: Death, dead: ReadonlySet<number>, unaccepted: ReadonlySet<number>, living: ReadonlySet<number>): void {
    const ms = performance.now();
    this.deaths.push(death);
    for (const port of [...dead, ...unaccepted]) this.#graves.set(port, { death, ms });
    for (const { did, dialed, ms: atMs } of this.#notes) {
      if (atMs >= ms - death.stoppedMs - unnotedMs && !living.has(dialed.port)) this.untold[did]++;
    }
  }
}

interface KernelSocket {
  /** 0: no process has it. */
  readonly inode: number;
  /** Not closed by its own side, so that without a process it waits to be accepted. */
  readonly isOpen: boolean;
  readonly localPort: number;
  readonly remotePort: number;
}

/** IPv4 sockets of this host that are connected, or closed by one side alone (proc_net_tcp). */
function kernelSockets(): KernelSocket[] {
  const lines = readFileSync("/proc/net/tcp", "latin1").trim().split("\n").slice(1);
  return lines.flatMap((line) => {
    const [, local, remote, state, , , , , , inode] = line.trim().split(/\s+/);
    // Established, FIN-WAIT-1 and -2, CLOSE-WAIT, LAST-ACK.
    if (!["01", "04", "05", "08", "09"].includes(state!)) return [];
    const portOf = (address: string): number => parseInt(address.split(":")[1]!, 16);
    const isOpen = state === "01" || state === "08";
    return [{ inode: Number(inode), isOpen, localPort: portOf(local!), remotePort: portOf(remote!) }];
  });
}

function socketsOf(pid: number): number[] {
  const inodes: number[] = [];
  for (const file of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${file}`))?.[1];
      if (inode !== undefined) inodes.push(Number(inode));
    } catch {
      // It was closed in between.
    }
  }
  return inodes;
}

/** Whether a process has threads that live: its sockets are closed with the last. */
function isThere(pid: number): boolean {
  try {
    const threads = readdirSync(`/proc/${pid}/task`);
    return threads.some((thread) => !["Z", "X", undefined].includes(statOf(`${pid}/task/${thread}`)?.[0]));
  } catch {
    return false;
  }
}

/** SIGSTOP takes hold a moment after it was sent. */
function stop(pid: number): void {
  kill(pid, "SIGSTOP");
  while (!["T", "Z", undefined].includes(statOf(pid)?.[0]));
}

/**
 * Kills a worker by SIGKILL, after it has been stopped for `stoppedMs`, and buries what was connected to it. All from the last
 * look at its sockets to its end, which takes a while on a busy machine, happens in one turn: no client connects, or hears of
 * the end, in between.
 */
export async function killWorker(
  server: SoakedServer,
  graveyard: Graveyard,
  pid: number,
  atS: number,
  stoppedMs: number,
  streamsOn: (isDead: (dialed: Dialed) => boolean) => number,
): Promise<void> {
  stop(pid);
  graveyard.blind(true);
  if (stoppedMs > 0) await sleep(stoppedMs);
  const engines = new Map(server.lanes.map(({ origin, engine }) => [Number(new URL(origin).port), engine]));
  const sockets = kernelSockets().filter(({ localPort }) => engines.has(localPort));
  const own = socketsOf(pid);
  const others = new Set(server.workers().flatMap((other) => (other === pid ? [] : socketsOf(other))));
  const portsOf = (wanted: (socket: KernelSocket) => boolean): Set<number> =>
    new Set(sockets.filter(wanted).map(({ remotePort }) => remotePort));
  const dead = portsOf(({ inode }) => own.includes(inode));
  // Workers have queues of their own on uWebSockets.js alone. On node the primary accepts, and it lives.
  const unaccepted = portsOf(({ inode, isOpen, localPort }) => inode === 0 && isOpen && engines.get(localPort) === "uws");
  const counts = { connections: dead.size, unaccepted: unaccepted.size, underWay: 0, died: 0, unopened: 0 };
  const death: Death = { atS, server: server.name, pid, stoppedMs, ...counts };
  graveyard.bury(
    death,
    dead,
    unaccepted,
    portsOf(({ inode }) => others.has(inode)),
  );
  death.underWay = streamsOn((dialed) => graveyard.deathOf(dialed) === death);
  kill(pid, "SIGKILL");
  while (isThere(pid)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
  graveyard.blind(false);
}

/** Stops processes of a server for a while. */
export async function pause(
  server: SoakedServer,
  graveyard: Graveyard,
  what: Pause["what"],
  atS: number,
  ms: number,
  place: number,
): Promise<void> {
  const workers = server.workers();
  const pids = what === "server" ? [server.pid, ...workers] : [workers[place % workers.length]!];
  const startMs = performance.now();
  for (const pid of pids) kill(pid, "SIGSTOP");
  graveyard.blind(true);
  await sleep(ms);
  for (const pid of pids) kill(pid, "SIGCONT");
  graveyard.blind(false);
  graveyard.pauses.push({ atS, server: server.name, what, lastedMs: performance.now() - startMs });
}
