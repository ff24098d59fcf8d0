/** Packets on the loopback interface, as tcpdump prints them: when a server's data left for each client. */
import { spawn, spawnSync } from "node:child_process";

/** A segment, with data or without. */
export interface Packet {
  /** Seconds, with microseconds. */
  readonly atS: number;
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

export const canCapture: boolean = spawnSync("tcpdump", ["--version"]).status === 0;

export interface Capture {
  /** Ends it, and resolves with what it saw. Rejects where the system dropped a packet before tcpdump read it. */
  stop(): Promise<Packet[]>;
}

/** Begins to capture what goes through a port. Resolves when it does. */
export async function capture(port: number): Promise<Capture> {
  // Heads alone, and much room for them: tcpdump may have to wait for a core.
  const child = spawn("tcpdump", ["-i", "lo", "-nn", "-tt", "-l", "--immediate-mode", "-s", "128", "-B", "16384", `tcp port ${port}`], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  let said = "";
  // When it has ended and all that it printed is read: of the packets dropped it tells last.
  const ended = new Promise((resolve) => child.once("close", resolve));
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes("listening on")) resolve();
    });
    child.once("exit", () => reject(new Error("tcpdump did not start; it may need CAP_NET_RAW")));
  });
  return {
    async stop() {
      // What was sent last is printed a moment later.
      await new Promise((resolve) => setTimeout(resolve, 300));
      child.kill("SIGINT");
      await ended;
      const dropped = Number(/(\d+) packets? dropped by kernel/.exec(said)?.[1] ?? 0);
      if (dropped > 0) throw new Error(`tcpdump missed ${dropped} packets`);
      return [...text.matchAll(/^(\d+\.\d+) IP6? \S+?\.(\d+) > \S+?\.(\d+): .*length (\d+)/gm)].map(([, at, from, to, bytes]) => ({
        atS: Number(at),
        from: Number(from),
        to: Number(to),
        bytes: Number(bytes),
      }));
    },
  };
}

/** Milliseconds from a client's first data to each packet of the server, by connection in the order of those. */
export function answersOf(packets: readonly Packet[], port: number): number[][] {
  const byClient = new Map<number, { askedS: number; atMs: number[] }>();
  for (const { atS, from, to, bytes } of packets) {
    if (bytes === 0) continue;
    if (to === port) {
      if (!byClient.has(from)) byClient.set(from, { askedS: atS, atMs: [] });
      // The last of the request's packets counts.
      else if (byClient.get(from)!.atMs.length === 0) byClient.get(from)!.askedS = atS;
    } else {
      const answer = byClient.get(to);
      answer?.atMs.push((atS - answer.askedS) * 1000);
    }
  }
  return [...byClient.values()].map(({ atMs }) => atMs);
}
