/** fakeai as a library: a fake OpenAI-compatible server for test suites. */
export { UsageError, type ServerConfig, type ServerOptions } from "./config.ts";
export { createServer, type FakeAiServer, type Listening, type ServerStats } from "./server.ts";
export type { Engine, Protocol } from "./core/seams.ts";
