/** WebSocket as a protocol beside others: the half of an HTTP listener that its handshakes lead to. */
import type { Engine, ListenerCounts, ListenOptions, ProtocolListener } from "../../core/seams.ts";
import type { WebSocketService } from "./service.ts";

export class WebSocketListener implements ProtocolListener {
  readonly protocol: "ws" | "wss";
  readonly engine: Engine;
  readonly counts: Readonly<ListenerCounts>;
  readonly #http: ProtocolListener;

  /** `http` listens and closes once, for both. */
  constructor(protocol: "ws" | "wss", http: ProtocolListener, service: WebSocketService) {
    this.protocol = protocol;
    this.engine = http.engine;
    this.counts = service.counts;
    this.#http = http;
  }

  listen(options: ListenOptions): Promise<number> {
    return this.#http.listen(options);
  }

  close(graceMs: number): Promise<void> {
    return this.#http.close(graceMs);
  }
}
