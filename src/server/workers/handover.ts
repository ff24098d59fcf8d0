/**
 * Connections on their way from the primary to a worker. node:cluster's primary accepts, sends each connection to a worker, and
 * keeps it open until the worker says that it has taken it. A worker that dies before says nothing. node then keeps the connection
 * until the primary ends, and the client gets no answer. Node 20 to 24 have this (lib/internal/cluster/round_robin_handle.js,
 * `handoff`).
 */
import type { Worker } from "node:cluster";

/** node's own messages between a primary and a worker (lib/internal/cluster/utils.js). */
interface ClusterMessage {
  readonly cmd?: unknown;
  readonly act?: unknown;
  readonly seq?: number;
  readonly ack?: number;
}

/** A connection without a socket around it. */
interface Handle {
  close(): void;
}

type Send = (message: ClusterMessage, handle?: Handle, ...rest: unknown[]) => boolean;

export class Handovers {
  /** By the number of the message that carries it. */
  readonly #underWay = new Map<number, Handle>();
  readonly #process: Worker["process"];

  /** Sees all that the primary sends to a worker. To be made before the worker listens. */
  constructor(worker: Worker) {
    this.#process = worker.process;
    const child = worker.process as unknown as { send: Send };
    const send = child.send.bind(child);
    child.send = (message, handle, ...rest) => {
      if (message.cmd === "NODE_CLUSTER" && message.act === "newconn" && handle !== undefined) this.#underWay.set(message.seq!, handle);
      return send(message, handle, ...rest);
    };
    this.#process.on("internalMessage", ({ ack }: ClusterMessage) => {
      if (ack !== undefined) this.#underWay.delete(ack);
    });
  }

  /**
   * The worker is dead. What it has not taken goes to another, as if it had refused it; `isAlone`: no other listens, and the
   * connections are closed.
   */
  giveBack(isAlone: boolean): void {
    for (const [ack, handle] of this.#underWay) {
      if (isAlone) handle.close();
      else this.#process.emit("internalMessage", { cmd: "NODE_CLUSTER", ack, accepted: false });
    }
    this.#underWay.clear();
  }
}
