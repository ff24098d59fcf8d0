/** Sessions of Realtime for tests: what they send, and OpenAI's own types as the judge of what they get. */
import type { StartedServer } from "../../src/server/server.ts";
import { type Judge, judgeBy } from "./sdk-judge.ts";
import { connectSocket, type Message, type SocketClient } from "./sockets.ts";

let types: Judge<"event"> | null = null;

/** Null in captures of the API, where its types want the member left out. */
const nullable: ReadonlySet<string> = new Set(["usage", "status_details", "conversation_id", "include"]);

/** A session or a response as the types know it. */
function known(value: unknown, extras: readonly string[]): unknown {
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).filter(([name, one]) => !extras.includes(name) && !(one === null && nullable.has(name)));
  return Object.fromEntries(members);
}

/** Throws an Error for a server's event that is not of OpenAI's types. Its first call takes seconds. */
export function judgeEvent(event: Message): void {
  types ??= judgeBy("realtime-types", { event: "OpenAI.Realtime.RealtimeServerEvent" });
  // Captures show them, the types do not.
  const { obfuscation: _obfuscation, fakeai: _stamps, session, response, ...rest } = event as Record<string, unknown>;
  types("event", {
    ...rest,
    ...(session !== undefined && { session: known(session, ["id", "object", "expires_at"]) }),
    ...(response !== undefined && { response: known(response, []) }),
  });
}

/** Opens a session, whose first event is the next to read. */
export function connectRealtime(
  server: StartedServer,
  protocol: "ws" | "wss" = "ws",
  headers: Readonly<Record<string, string>> = {},
  query = "?model=m",
): Promise<SocketClient> {
  return connectSocket(server, protocol, { path: `/v1/realtime${query}`, headers });
}

export function say(client: SocketClient, text: string, more: object = {}): void {
  const item = { type: "message", role: "user", content: [{ type: "input_text", text }] };
  client.send({ type: "conversation.item.create", item, ...more });
}

/** Asks for a response; `metadata` is of it alone. */
export function respond(client: SocketClient, metadata: object = {}, params: object = {}): void {
  client.send({ type: "response.create", response: { metadata, ...params } });
}

/** What was said in the deltas. */
export function deltasOf(messages: readonly Message[]): string {
  return messages.flatMap(({ type, delta }) => (type === "response.output_text.delta" ? [delta!] : [])).join("");
}
