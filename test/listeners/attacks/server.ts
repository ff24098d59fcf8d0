/** A server under attack, in a process of its own, that tells its parent over IPC what it holds. Not part of the product. */
import { getHeapCodeStatistics } from "node:v8";
import { limitYoungGeneration } from "../../../src/server/heap.ts";
import { createServer, type ServerOptions, type ServerStats } from "../../../src/index.ts";

/** What a process holds, after a garbage collection. */
export interface Holdings {
  /** Without compiled code and what belongs to it: V8 makes more for as long as it finds something to optimize. */
  readonly heapBytes: number;
  readonly rssBytes: number;
  /** Handles that keep the process alive, by kind. */
  readonly resources: Readonly<Record<string, number>>;
  readonly stats: ServerStats;
}

const server = await createServer(JSON.parse(process.env["ATTACKED_OPTIONS"] ?? "{}") as ServerOptions);
// As `fakeai serve` does.
limitYoungGeneration(server.listening);

process.on("message", (message) => {
  if (message === "stop") {
    void server.close(0).then(() => process.exit(0));
    return;
  }
  if (message === "collect") for (let round = 0; round < 3; round++) globalThis.gc?.();
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  const { heapUsed, rss } = process.memoryUsage();
  const { code_and_metadata_size, bytecode_and_metadata_size } = getHeapCodeStatistics();
  const codeBytes = code_and_metadata_size + bytecode_and_metadata_size;
  process.send!({ heapBytes: heapUsed - codeBytes, rssBytes: rss, resources, stats: server.stats() } satisfies Holdings);
});
process.send!({ urls: server.urls, caPath: server.caPath });
