/** fakeai as a library: a fake OpenAI-compatible server for test suites. */
export { UsageError } from "./base/usage-error.ts";
export type { GivenReplies, Reply, ReplyRule, ReplySet } from "./settings/replies.ts";
export type { ServerOptions } from "./settings/options.ts";
export type { ServerConfig } from "./settings/server.ts";
export type { ServerStats } from "./server/activity.ts";
export type { Listening } from "./server/listening.ts";
export type { ReceivedRequest, ReceivedRequests, RequestMatch, WaitOptions } from "./server/request-log.ts";
export { createServer, type FakeAiServer } from "./server/server.ts";
export type { Engine, Protocol } from "./core/seams.ts";
