/** fakeai as a library: a fake OpenAI-compatible server for test suites. */
export { UsageError } from "./base/usage-error.ts";
export type { ServerConfig, ServerOptions } from "./settings/server.ts";
export { createServer, type FakeAiServer, type Listening, type ServerStats } from "./server/server.ts";
export type { Engine, Protocol } from "./core/seams.ts";
