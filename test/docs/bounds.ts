/** What a server does beyond each bound, for the table in src/listeners/README.md. */
import type { ServerKey } from "../../src/settings/options.ts";

interface Bound {
  readonly beyond: string;
  /** The label of `fakeai_bounds_met_total`, or another counter, as Markdown. */
  readonly counter: string;
}

/** Flags of the group "Limits" in the order of the table. */
export const bounds: Partial<Readonly<Record<ServerKey, Bound>>> = {
  maxConnections: {
    beyond: "h1: 503 with the error JSON, closed; h2c: GOAWAY ENHANCE_YOUR_CALM; on uws, or before a TLS handshake: closed at once",
    counter: "`too-many-connections`, `open-files`",
  },
  maxConcurrentStreams: {
    beyond: "RST_STREAM REFUSED_STREAM; GOAWAY when the client had seen the limit",
    counter: "`stream-limit`, once a connection",
  },
  headerTable: {
    beyond: "the oldest fields leave the table (RFC 7541, section 4.4); HTTP/2 only",
    counter: "none: nothing is refused",
  },
  maxHead: {
    beyond: "431; on HTTP/2 beyond 4 times as much, or 64 fields: RST_STREAM ENHANCE_YOUR_CALM",
    counter: "`head-too-large`",
  },
  maxBody: {
    beyond: "413; cut after 64 MB more",
    counter: "`body-too-large`",
  },
  maxJsonDepth: {
    beyond: "400; so are more values than [one request may have](../../docs/serve.md#what-one-request-may-ask-for)",
    counter: "`json-too-deep`, `json-too-large`",
  },
  maxStreamBuffer: {
    beyond: "the stream waits for its reader (uws: from the first write that the socket does not take whole)",
    counter: "`fakeai_stalled_streams`",
  },
  maxBuffer: {
    beyond: "the streams that have waited longest are cut",
    counter: "`buffers-full`",
  },
  headTimeout: {
    beyond: "408 where HTTP/1.1 can be spoken, else closed; refused at start for uws, which closes near 11 s",
    counter: "`head-timeout`",
  },
  bodyTimeout: {
    beyond: "408, closed; for uws up to 10000",
    counter: "`body-timeout`",
  },
  idleTimeout: {
    beyond: "closed (node:http adds a second); GOAWAY first; refused at start for uws, which closes near 11 s",
    counter: "`idle-timeout`",
  },
  stallTimeout: {
    beyond: "the stream is cut; a finished answer that is not taken too; for uws up to 10000",
    counter: "`fakeai_stall_cut_streams_total`, `never-read`",
  },
  wsLifetime: {
    beyond: "an error message, then closed with 1000",
    counter: "none: clients open another",
  },
  wsMaxInFlight: {
    beyond:
      "they wait in their lanes, up to 1,024 messages or 16 MiB; then 429, `queue_full`; in a session of Realtime `too_many_responses`",
    counter: "none: they are answered later",
  },
  wsMaxLanes: {
    beyond: "400, `websocket_stream_limit_reached`; the connection goes on",
    counter: "none: it is the API's own",
  },
  maxStored: {
    beyond:
      "responses that were asked for longest ago are forgotten; `previous_response_id` then gets 400; conversations of Realtime get as much again, then `conversation_full`",
    counter: "none: nothing is refused",
  },
};
