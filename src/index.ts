/** fakeai as a library: a fake OpenAI-compatible server for test suites. */
export { UsageError } from "./base/usage-error.ts";
export type { ServerOptions } from "./settings/options.ts";
export type { ServerConfig } from "./settings/server.ts";
export { createServer, type FakeAiServer, type Listening, type ServerStats } from "./server/server.ts";
export type { Engine, Protocol } from "./core/seams.ts";
