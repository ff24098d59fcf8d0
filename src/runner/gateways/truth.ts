/** The server behind the gateways, which knows what it was asked and what it did. */
import type { StreamLogged } from "../../base/parent-channel.ts";
import { documentAt } from "../processes/probe.ts";
import { RunError, type ServerChild } from "../processes/target.ts";

/** What the server has counted since it began. */
export interface Counted {
  readonly aborted: number;
  /** Faults that it made, of all kinds: requests that met one. */
  readonly faults: number;
}

/** How the server answers from here on; what is absent is as it was, null sets back to the default. */
export type Knobs = Readonly<Record<string, string | number | boolean | null>>;

export class Truth {
  readonly server: ServerChild;

  constructor(server: ServerChild) {
    this.server = server;
  }

  /** Changes how the server answers, and begins to record anew. Throws RunError where it does not answer. */
  async set(knobs: Knobs): Promise<void> {
    if ((await this.server.ask({ ask: "record", knobs })) === null)
      throw new RunError(this.server.died ?? `the server does not take ${JSON.stringify(knobs)}`);
  }

  /** The streamed answers since `set`. */
  async recorded(): Promise<StreamLogged> {
    const logged = await this.server.ask({ ask: "recorded" });
    if (logged === null) throw new RunError(this.server.died ?? "the server does not answer its bench");
    return logged;
  }

  async counted(): Promise<Counted> {
    const { origins, tls } = this.server;
    const text = await documentAt({ origin: origins.h1!, protocol: "h1", path: "/metrics", method: "GET", headers: {}, tls });
    if (text === null) throw new RunError(this.server.died ?? "the server does not say what it counts");
    const sum = (name: string): number =>
      [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\d+)`, "gm"))].reduce((total, [, count]) => total + Number(count), 0);
    return { aborted: sum("fakeai_aborted_streams_total"), faults: sum("fakeai_faults_total") };
  }
}
