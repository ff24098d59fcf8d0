/** Our listeners with a session that sends each message back: what cases of the protocol are written for. */
import { resolveConfig, freePorts } from "../../src/settings/server.ts";
import type { MessageSession, MessageSocket, RequestHandler } from "../../src/core/seams.ts";
import { Bounds, newCounts } from "../../src/listeners/bounds.ts";
import { NodeListener } from "../../src/listeners/node/listener.ts";
import { NodeWebSockets } from "../../src/listeners/node/websocket.ts";
import { UwsListener } from "../../src/listeners/uws/listener.ts";
import { loadUws } from "../../src/listeners/uws/module.ts";
import { WebSocketService } from "../../src/listeners/websocket/service.ts";

class Echo implements MessageSession {
  readonly #socket: MessageSocket;

  constructor(socket: MessageSocket) {
    this.#socket = socket;
  }

  onMessage(text: Uint8Array): void {
    this.#socket.send(Buffer.from(text).toString("utf8"));
  }

  onRefused(): void {}

  drain(): void {
    this.#socket.close(1001, "");
  }

  onClose(): void {}
}

const handler: RequestHandler = {
  handle: (_request, _body, sink) => sink.reset(),
  refuse: (_reason, _request, sink) => sink.reset(),
  upgrade: () => ({ headers: {}, open: (socket) => new Echo(socket) }),
};

/** Listens on a free port of 127.0.0.1. Returns it, and what ends the listener. */
export async function startEcho(
  engine: "uws" | "node",
  deflates: boolean,
): Promise<{ readonly port: number; readonly close: () => Promise<void> }> {
  const { limits } = resolveConfig({ maxBody: "32mb" }, freePorts);
  const bounds = new Bounds(limits);
  const counts = newCounts();
  const service = new WebSocketService(counts, bounds, { deflates });
  const uws = engine === "uws" ? await loadUws() : null;
  if (engine === "uws" && uws === null) throw new Error("uWebSockets.js does not run here");
  const listener =
    uws === null
      ? new NodeListener("h1", null, null, handler, bounds, { service, sockets: NodeWebSockets })
      : new UwsListener(uws.module, null, handler, bounds, service);
  const port = await listener.listen({ host: "127.0.0.1", port: 0, shared: false });
  return { port, close: () => listener.close(0) };
}
