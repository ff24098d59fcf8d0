/** `fakeai/vitest`: a server for the tests of one file, or of one `describe`. */
import { afterAll, afterEach, beforeAll } from "vitest";
import { createServer, type FakeAiServer } from "./server/server.ts";
import type { ServerOptions } from "./settings/options.ts";

/** Requests that are kept where the options say nothing. */
const keptRequests = 1000;

/** The server, from the first test on. Throws where it is asked for before. */
export interface UsedServer {
  readonly server: FakeAiServer;
  /** The base URL for clients of OpenAI's API: the address of h1, or of the first protocol, with /v1. */
  readonly baseUrl: string;
}

/**
 * Starts a server before the tests and closes it after them. After each test the replies of `options` are in force anew, and what
 * came in is forgotten. Rejects as `createServer` does.
 */
export function useFakeAi(options: ServerOptions = {}): UsedServer {
  let started: FakeAiServer | null = null;
  beforeAll(async () => {
    started = await createServer({ keepRequests: keptRequests, ...options });
  });
  afterEach(async () => {
    await started?.setReplies(options.replies ?? []);
    started?.requests.clear();
  });
  afterAll(() => started?.close(0));
  const server = (): FakeAiServer => {
    if (started === null) throw new Error("the server starts before the first test: ask for it inside a test or a hook");
    return started;
  };
  return {
    get server() {
      return server();
    },
    get baseUrl() {
      const { urls, listening } = server();
      return `${urls.h1 ?? listening[0]!.url}/v1`;
    },
  };
}
