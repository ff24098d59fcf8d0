/** Every attack: what the server answers, who decides that, and which counter shows it. The table in the docs is checked against this. */
import type { ServerOptions } from "../../../src/index.ts";

export interface Case {
  /** Name of the attack in h1.py, h2.py, ws.py or h3.ts. */
  readonly attack: string;
  /** Matched against what the attacker saw; texts may have a pattern. */
  readonly expect: object;
  /** As the docs put it. */
  readonly answer: string;
  readonly decides: "fakeai" | "engine";
  /** A metric that must move, with the bound where it has one; null where the engine does not tell. */
  readonly counter: string | null;
}

/** Cases that share a server, and run at the same time unless `sequential`. */
export interface Batch {
  readonly name: string;
  readonly protocol: "h1" | "h1s" | "h2c" | "h2" | "h3" | "ws";
  readonly engine: "uws" | "node" | "own" | "quiche";
  readonly options?: ServerOptions;
  readonly sequential?: boolean;
  /** Of `npm run measure -- attacks` alone: the tests have no time for it. Of WebSocket they have websocket-frames.test.ts. */
  readonly isLong?: boolean;
  /** The tests run each case once, and `npm run measure -- attacks` five times. */
  readonly isOnce?: boolean;
  readonly cases: readonly Case[];
}

const bound = (name: string): string => `fakeai_bounds_met_total:${name}`;
const aborted = "fakeai_aborted_streams_total";
const reaped = "fakeai_sessions_reaped_total";
const responses = "fakeai_http_responses_total";

const by =
  (decides: Case["decides"]) =>
  (attack: string, answer: string, expect: object, counter: string | null): Case => ({ attack, expect, answer, decides, counter });
const ours = by("fakeai");
const engines = by("engine");

/** GOAWAY from the engine's own protocol checks; its session lingers in Node 20 until the watchdog ends it. */
const goaway = (attack: string, name: string, code: number): Case =>
  engines(attack, `GOAWAY ${name}; its streams are cancelled`, { goaway: code, statuses: { 200: 1 } }, aborted);

/** How a bad field was answered, and the good request behind it. */
const dropped = { statuses: { 200: 2 }, resets: {}, goaway: null };
const refused = { statuses: { 200: 1 }, resets: { 1: 1 }, goaway: null };
const badFields = (value: object, name: object): object => ({
  answers: { "CR LF": value, NUL: value, "a space": value, "a capital": name, connection: name, "transfer-encoding": name },
});

const malformedH2: readonly Case[] = [
  goaway("made_you_reset_window_zero", "INTERNAL_ERROR", 2),
  goaway("made_you_reset_window_overflow", "INTERNAL_ERROR", 2),
  goaway("made_you_reset_data_after_end", "STREAM_CLOSED", 5),
  goaway("made_you_reset_headers_after_end", "INTERNAL_ERROR", 2),
  goaway("made_you_reset_priority_self", "PROTOCOL_ERROR", 1),
  goaway("made_you_reset_priority_length", "FRAME_SIZE_ERROR", 6),
  goaway("connection_window_overflow", "INTERNAL_ERROR", 2),
  goaway("ping_of_wrong_length", "FRAME_SIZE_ERROR", 6),
  goaway("settings_of_wrong_length", "FRAME_SIZE_ERROR", 6),
  goaway("settings_on_a_stream", "INTERNAL_ERROR", 2),
  goaway("settings_window_too_large", "INTERNAL_ERROR", 2),
  goaway("settings_frame_size_too_small", "INTERNAL_ERROR", 2),
  goaway("even_stream_id", "INTERNAL_ERROR", 2),
  goaway("rst_on_an_idle_stream", "INTERNAL_ERROR", 2),
  goaway("data_on_an_idle_stream", "PROTOCOL_ERROR", 1),
  goaway("data_on_stream_zero", "PROTOCOL_ERROR", 1),
  goaway("push_promise_from_a_client", "INTERNAL_ERROR", 2),
  goaway("continuation_without_headers", "PROTOCOL_ERROR", 1),
  goaway("oversize_frame", "FRAME_SIZE_ERROR", 6),
  goaway("padding_longer_than_the_frame", "STREAM_CLOSED", 5),
  goaway("window_update_of_wrong_length", "FRAME_SIZE_ERROR", 6),
  goaway("goaway_of_wrong_length", "FRAME_SIZE_ERROR", 6),
  goaway("bad_hpack", "COMPRESSION_ERROR", 9),
  goaway("hpack_table_too_large", "COMPRESSION_ERROR", 9),
  goaway("garbage", "FRAME_SIZE_ERROR", 6),
  engines("client_goaway", "streams under way go on", { statuses: { 200: 1 }, whole: true }, responses),
];

const floodsH2: readonly Case[] = [
  ours("rapid_reset", "GOAWAY ENHANCE_YOUR_CALM beyond --max-concurrent-streams in a turn", { goaway: 11 }, bound("flood")),
  ours("rapid_reset_on_many_connections", "the same on each, sooner on the last", { goaways: ["11"] }, bound("flood")),
  engines("continuation_flood", "GOAWAY INTERNAL_ERROR after 8 frames", { goaway: 2, end: "fin" }, bound("malformed")),
  engines("continuation_race", "nothing; the session is freed", {}, null),
  engines("settings_flood", "closed when 1,000 acknowledgements wait", {}, bound("malformed")),
  engines("ping_flood", "closed when 1,000 acknowledgements wait", {}, bound("malformed")),
  engines("ping_flood_with_a_reader", "acknowledged, or closed as above", {}, null),
  engines("empty_data_flood", "GOAWAY INTERNAL_ERROR after 1,000 frames", { goaway: 2, end: "fin" }, bound("malformed")),
  ours("priority_flood", "closed beyond 1 MiB of control frames", { end: "fin" }, bound("flood")),
  ours("unknown_frame_flood", "closed beyond 1 MiB of control frames", { end: "fin" }, bound("flood")),
  ours("window_update_flood", "closed beyond 1 MiB of control frames", { end: "fin" }, bound("flood")),
  engines(
    "too_many_streams",
    "REFUSED_STREAM beyond --max-concurrent-streams; the others go on",
    { goaway: null, statuses: { 200: 101 }, resets: { 7: 800 } },
    bound("stream-limit"),
  ),
  engines(
    "too_many_streams_later",
    "GOAWAY INTERNAL_ERROR: the client has seen the limit",
    // What the client still sends can turn the end into a reset, which takes the GOAWAY with it.
    { end: /^(fin|reset)$/ },
    aborted,
  ),
];

const restH2: readonly Case[] = [
  engines(
    "hpack_bomb_of_fields",
    "RST_STREAM ENHANCE_YOUR_CALM beyond 64 fields",
    { goaway: null, resets: { 11: 20 }, statuses: { 200: 2 } },
    null,
  ),
  ours("hpack_bomb_with_a_closed_window", "as zero_window; a larger head gets 431", {}, "fakeai_stall_cut_streams_total"),
  ours("head_too_large", "431 with the error JSON", { goaway: null, statuses: { 431: 2 } }, bound("head-too-large")),
  engines("empty_header_names", "the fields are dropped", { goaway: null, statuses: { 200: 50 } }, responses),
  ours(
    "zero_window",
    "streams wait, RST_STREAM at --stall-timeout",
    { goaway: null, resets: { 2: 100 } },
    "fakeai_stall_cut_streams_total",
  ),
  ours("zero_window_unstreamed", "RST_STREAM at --stall-timeout", { resets: { 2: 20 } }, bound("never-read")),
  ours("window_of_one", "a byte a frame; RST_STREAM when it stops", { goaway: null }, aborted),
  ours("never_reads", "streams wait, cut at --stall-timeout", {}, "fakeai_stall_cut_streams_total"),
  ours("silent", "closed at --head-timeout", { ends: ["fin"] }, bound("head-timeout")),
  ours("half_a_preface", "closed at --head-timeout", { end: "fin" }, bound("head-timeout")),
  ours("preface_then_nothing", "GOAWAY NO_ERROR at --idle-timeout", { goaway: 0, end: "fin" }, bound("idle-timeout")),
  ours("preface_then_silence", "closed when no PING is answered for --stall-timeout", {}, reaped),
  ours("half_a_head", "closed when no PING is answered for --stall-timeout", { end: "fin" }, reaped),
  ours("body_never_sent", "408 with the error JSON at --body-timeout", { statuses: { 408: 20 } }, bound("body-timeout")),
  ours("body_too_large", "413 with the error JSON", { goaway: null, statuses: { 413: 1 } }, bound("body-too-large")),
  ours("json_too_deep", "400 with the error JSON", { goaway: null, statuses: { 400: 1 } }, bound("json-too-deep")),
  engines("length_that_lies", "RST_STREAM PROTOCOL_ERROR", { goaway: null, resets: { 1: 1 } }, null),
  engines("bad_header_fields", "of a bad value: dropped; of a bad name: RST_STREAM PROTOCOL_ERROR", badFields(dropped, refused), null),
  ours("cr_lf_in_what_we_echo", "escaped in JSON, never in a header", { goaway: null, statuses: { 200: 1, 404: 1 } }, responses),
  ours("abort_storm", "every stream is cancelled", {}, aborted),
  ours("half_close", "taken as an abort", { end: "fin" }, aborted),
  ours(
    "http1_on_the_h2c_port",
    "505 with the error JSON",
    { end: "fin", first: "HTTP/1.1 505", error: "http2_required" },
    bound("wrong-protocol"),
  ),
  ours("tls_on_the_h2c_port", "closed", {}, bound("malformed")),
];

/** The same on both engines of HTTP/1.1. */
/** What an engine that decides by itself answers: the RFC's codes, and no stream error for what breaks the rules of frames. */
const ownGoaway = (attack: string, name: string, code: number): Case =>
  ours(attack, `GOAWAY ${name}; its streams are cancelled`, { goaway: code, statuses: { 200: 1 } }, aborted);

const malformedOwn: readonly Case[] = [
  ownGoaway("made_you_reset_window_zero", "PROTOCOL_ERROR", 1),
  ownGoaway("made_you_reset_window_overflow", "FLOW_CONTROL_ERROR", 3),
  ownGoaway("made_you_reset_data_after_end", "STREAM_CLOSED", 5),
  ownGoaway("made_you_reset_headers_after_end", "STREAM_CLOSED", 5),
  ownGoaway("made_you_reset_priority_self", "PROTOCOL_ERROR", 1),
  ownGoaway("made_you_reset_priority_length", "FRAME_SIZE_ERROR", 6),
  ownGoaway("connection_window_overflow", "FLOW_CONTROL_ERROR", 3),
  ownGoaway("ping_of_wrong_length", "FRAME_SIZE_ERROR", 6),
  ownGoaway("settings_of_wrong_length", "FRAME_SIZE_ERROR", 6),
  ownGoaway("settings_on_a_stream", "PROTOCOL_ERROR", 1),
  ownGoaway("settings_window_too_large", "FLOW_CONTROL_ERROR", 3),
  ownGoaway("settings_frame_size_too_small", "PROTOCOL_ERROR", 1),
  ownGoaway("even_stream_id", "PROTOCOL_ERROR", 1),
  ownGoaway("rst_on_an_idle_stream", "PROTOCOL_ERROR", 1),
  ownGoaway("data_on_an_idle_stream", "PROTOCOL_ERROR", 1),
  ownGoaway("data_on_stream_zero", "PROTOCOL_ERROR", 1),
  ownGoaway("push_promise_from_a_client", "PROTOCOL_ERROR", 1),
  ownGoaway("continuation_without_headers", "PROTOCOL_ERROR", 1),
  ownGoaway("oversize_frame", "FRAME_SIZE_ERROR", 6),
  ownGoaway("padding_longer_than_the_frame", "STREAM_CLOSED", 5),
  ownGoaway("window_update_of_wrong_length", "FRAME_SIZE_ERROR", 6),
  ownGoaway("goaway_of_wrong_length", "FRAME_SIZE_ERROR", 6),
  ownGoaway("bad_hpack", "COMPRESSION_ERROR", 9),
  ownGoaway("hpack_table_too_large", "COMPRESSION_ERROR", 9),
  ownGoaway("garbage", "FRAME_SIZE_ERROR", 6),
  ours("client_goaway", "streams under way go on", { statuses: { 200: 1 }, whole: true }, responses),
];

/** The cases that are answered alike on both engines of HTTP/2, in the order of their table. */
const sharedWith = (cases: readonly Case[], others: readonly Case[]): Case[] =>
  cases
    .map((each) => others.find(({ attack }) => attack === each.attack) ?? each)
    // Nothing here is left to another engine.
    .map(({ attack, expect, answer, counter }) => ours(attack, answer, expect, counter));

const floodsOwn: readonly Case[] = sharedWith(floodsH2, [
  ours("continuation_flood", "GOAWAY ENHANCE_YOUR_CALM after 8 frames", { goaway: 11, end: "fin" }, bound("flood")),
  ours("settings_flood", "closed beyond 1,000 in 2 s", {}, bound("flood")),
  ours("ping_flood", "closed when 1,000 acknowledgements wait", {}, bound("flood")),
  ours("empty_data_flood", "GOAWAY ENHANCE_YOUR_CALM after 1,000 frames", { goaway: 11, end: "fin" }, bound("flood")),
  ours(
    "too_many_streams_later",
    "REFUSED_STREAM beyond --max-concurrent-streams; the others go on",
    { goaway: null, statuses: { 200: 100 }, resets: { 7: 300 } },
    bound("stream-limit"),
  ),
]);

const restOwn: readonly Case[] = sharedWith(restH2, [
  ours("empty_header_names", "RST_STREAM PROTOCOL_ERROR", { goaway: null, resets: { 1: 50 } }, null),
  ours("half_a_head", "GOAWAY PROTOCOL_ERROR at a frame in between, else at --head-timeout", { end: "fin" }, bound("malformed")),
  ours("bad_header_fields", "RST_STREAM PROTOCOL_ERROR", badFields(refused, refused), null),
]);

const commonH1: readonly Case[] = [
  ours("conflicting_lengths", "400 or closed; nothing behind it is read", {}, null),
  ours(
    "duplicate_host",
    "400 with the error JSON, closed",
    { statuses: [400], codes: ["ambiguous_request"], end: "fin" },
    bound("ambiguous"),
  ),
  ours(
    "transfer_encoding_gzip",
    "400 with the error JSON, closed",
    { statuses: [400], codes: ["ambiguous_request"], end: "fin" },
    bound("ambiguous"),
  ),
  ours("upgrade_websocket", "426 with the error JSON", { statuses: [426], codes: ["websocket_not_supported"] }, responses),
  ours("json_too_deep", "400 with the error JSON", { statuses: [400], codes: ["json_too_deep"] }, bound("json-too-deep")),
  ours("json_objects_too_deep", "400 with the error JSON", { statuses: [400], codes: ["json_too_deep"] }, bound("json-too-deep")),
  ours("body_too_large", "413 with the error JSON", { statuses: [413], codes: ["request_too_large"] }, bound("body-too-large")),
  ours("body_too_large_in_chunks", "413 with the error JSON", { statuses: [413], codes: ["request_too_large"] }, bound("body-too-large")),
  ours("length_announced_too_large", "408 at --body-timeout, closed", { statuses: [408], end: "fin" }, bound("body-timeout")),
  ours(
    "body_never_sent",
    "408 at --body-timeout, closed",
    { statuses: [408], codes: ["request_timeout"], ends: ["fin"] },
    bound("body-timeout"),
  ),
  ours("slow_body", "408 at --body-timeout, closed", { statuses: [408], codes: ["request_timeout"] }, bound("body-timeout")),
  ours("slow_chunks", "408 at --body-timeout, closed", { statuses: [408], codes: ["request_timeout"] }, bound("body-timeout")),
  ours("cr_lf_in_what_we_echo", "escaped in JSON, never in a header", { injected: false }, responses),
  ours("half_close", "taken as an abort", { end: "fin" }, aborted),
  ours("abort_storm", "every stream is cancelled", {}, aborted),
  engines("abort_in_the_head", "freed", {}, null),
  engines("abort_in_the_body", "freed", {}, null),
  ours("never_reads", "streams wait, cut at --stall-timeout", {}, "fakeai_stall_cut_streams_total"),
];

const nodeH1: readonly Case[] = [
  ...commonH1,
  engines(
    "length_and_chunked",
    "400 with the error JSON, closed",
    { statuses: [400], codes: ["ambiguous_request"], end: "fin" },
    bound("ambiguous"),
  ),
  engines(
    "negative_length",
    "400 with the error JSON, closed",
    { statuses: [400], codes: ["malformed_request"], end: "fin" },
    bound("malformed"),
  ),
  ours("no_host", "400 with the error JSON, closed", { statuses: [400], codes: ["malformed_request"], end: "fin" }, bound("malformed")),
  engines("http_1_0", "served, closed", { statuses: [200], end: "fin" }, responses),
  engines("folded_header", "400 with the error JSON, closed", { statuses: [400], codes: ["malformed_request"] }, bound("malformed")),
  engines("space_before_colon", "400 with the error JSON, closed", { statuses: [400], codes: ["malformed_request"] }, bound("malformed")),
  engines("nul_in_a_header", "400 with the error JSON, closed", { statuses: [400], codes: ["malformed_request"] }, bound("malformed")),
  engines("garbage", "400 with the error JSON, closed", { statuses: [400], codes: ["malformed_request"], end: "fin" }, bound("malformed")),
  ours(
    "connect_method",
    "400 with the error JSON, closed",
    { statuses: [400], codes: ["malformed_request"], end: "fin" },
    bound("malformed"),
  ),
  engines("chunk_extensions", "read and ignored", { statuses: [200] }, responses),
  engines("trailers", "read and ignored", { statuses: [200] }, responses),
  engines("chunk_size_overflow", "400 with the error JSON, closed", { statuses: [400], codes: ["malformed_request"] }, bound("malformed")),
  ours(
    "head_too_large",
    "431 with the error JSON, closed",
    { statuses: [431], codes: ["request_head_too_large"] },
    bound("head-too-large"),
  ),
  ours(
    "too_many_headers",
    "431 with the error JSON, closed",
    { statuses: [431], codes: ["request_head_too_large"] },
    bound("head-too-large"),
  ),
  ours(
    "target_too_long",
    "431 with the error JSON, closed",
    { statuses: [431], codes: ["request_head_too_large"] },
    bound("head-too-large"),
  ),
  engines("pipelining", "answered in order", { statuses: [200, 200] }, responses),
  ours("pipelined_garbage", "closed; nothing gets into the answer under way", { statuses: [200], end: "fin" }, bound("malformed")),
  ours("silent", "408 at --head-timeout, closed", { statuses: [408], ends: ["fin"] }, bound("head-timeout")),
  ours("half_a_head", "408 at --head-timeout, closed", { statuses: [408], ends: ["fin"] }, bound("head-timeout")),
  ours("slow_head", "408 at --head-timeout, closed", { codes: ["request_timeout"] }, bound("head-timeout")),
  ours("idle_after_an_answer", "closed at --idle-timeout", { statuses: [200], ends: ["fin"] }, bound("idle-timeout")),
  ours("never_reads_an_answer_in_one_piece", "cut at --stall-timeout", {}, bound("never-read")),
];

const uwsH1: readonly Case[] = [
  ...commonH1,
  engines("length_and_chunked", "400, closed", { statuses: [400], end: "fin" }, null),
  engines("negative_length", "400, closed", { statuses: [400], end: "fin" }, null),
  engines("http_1_0", "505, closed", { statuses: [505], end: "fin" }, null),
  engines("garbage", "505, closed", { statuses: [505], end: "fin" }, null),
  engines("connect_method", "505, closed", { statuses: [505], end: "fin" }, null),
  engines("trailers", "505, closed", { statuses: [505], end: "fin" }, null),
  engines("chunk_size_overflow", "400, closed", { statuses: [400], end: "fin" }, null),
  engines("head_too_large", "431 without a body, closed", { statuses: [431], end: "fin" }, null),
  engines("too_many_headers", "431 without a body, closed", { statuses: [431], end: "fin" }, null),
  engines("target_too_long", "431 without a body, closed", { statuses: [431], end: "fin" }, null),
  engines("pipelining", "closed without an answer while one is out", { statuses: [], end: "fin" }, aborted),
  engines("pipelined_garbage", "505 into the answer under way, closed", { statuses: [200, 505], end: "fin" }, aborted),
  engines("never_reads_an_answer_in_one_piece", "cut near 11 s", {}, null),
];

/** What uWebSockets.js ends near 11 s, whatever the flags say. */
export const uwsDeadlines: readonly Case[] = [
  engines("silent", "closed near 11 s", { ends: ["fin"], statuses: [] }, null),
  engines("half_a_head", "closed near 11 s", { ends: ["fin"], statuses: [] }, null),
  engines("slow_head", "closed near 11 s", { statuses: [] }, null),
  engines("idle_after_an_answer", "closed near 11 s", { ends: ["fin"], statuses: [200] }, null),
  engines("no_host", "no answer, closed near 11 s", {}, null),
  engines("folded_header", "no answer, closed near 11 s", {}, null),
  engines("space_before_colon", "no answer, closed near 11 s", {}, null),
  engines("nul_in_a_header", "no answer, closed near 11 s", {}, null),
  engines("chunk_extensions", "no answer, closed near 11 s", {}, null),
];

const tlsCommon: readonly Case[] = [
  ours("abort_storm", "every stream is cancelled", {}, aborted),
  ours("never_reads", "streams wait, cut at --stall-timeout", {}, "fakeai_stall_cut_streams_total"),
  ours("body_never_sent", "408 with the error JSON at --body-timeout", {}, bound("body-timeout")),
];

const tlsNode: readonly Case[] = [
  ...tlsCommon,
  ours("tls_never_finished", "closed at --head-timeout", { ends: ["fin"] }, bound("head-timeout")),
  engines("tls_garbage", "closed", {}, null),
];

const closedWith = (attack: string, name: string, code: number): Case =>
  ours(attack, `CONNECTION_CLOSE ${name}`, { closed: code }, bound("malformed"));

/** HTTP/3. What datagrams are is the engine's to judge; frames, requests and time-outs are ours. */
const floodsH3: readonly Case[] = [
  engines("malformed_datagrams", "nothing is answered, and no connection is opened", { got: 0 }, null),
  ours(
    "initial_flood",
    "closed at --head-timeout; with a Retry none is opened",
    { answered: true, isAmplified: false },
    bound("head-timeout"),
  ),
  ours("rapid_reset", "CONNECTION_CLOSE H3_EXCESSIVE_LOAD", { closed: 0x107 }, bound("flood")),
  ours("abort_storm", "every stream is cancelled", { closed: null }, aborted),
  ours("unknown_frame_flood", "CONNECTION_CLOSE H3_EXCESSIVE_LOAD beyond 1 MiB", { closed: 0x107 }, bound("flood")),
];

/** By itself: all clients of a process share what the engine may tell them, and this one does not take it. */
const readersH3: readonly Case[] = [
  ours("never_reads", "streams wait, RESET_STREAM at --stall-timeout", {}, "fakeai_stall_cut_streams_total"),
];

const restH3: readonly Case[] = [
  ours("client_vanishes", "closed when no PING is answered for --stall-timeout", { "200 open": 20 }, reaped),
  ours("idle_connection", "GOAWAY, CONNECTION_CLOSE H3_NO_ERROR at --idle-timeout", { closed: 0x100 }, bound("idle-timeout")),
  engines("too_many_streams", "the client has no credit for more", { "200 ended": 100, reset: 40 }, bound("stream-limit")),
  ours("half_a_head", "408 with the error JSON at --head-timeout", { "408 ended": 1, closed: null }, bound("head-timeout")),
  ours("body_never_sent", "408 with the error JSON at --body-timeout", { "408 ended": 1, closed: null }, bound("body-timeout")),
  ours("body_too_large", "413 with the error JSON", { "413 ended": 1, closed: null }, bound("body-too-large")),
  ours("head_too_large", "431 with the error JSON", { "431 ended": 1, closed: null }, bound("head-too-large")),
  ours("length_that_lies", "RESET_STREAM H3_MESSAGE_ERROR", { reset: 1, closed: null }, bound("malformed")),
  ours("bad_header_fields", "RESET_STREAM H3_MESSAGE_ERROR", { reset: 4, closed: null }, bound("malformed")),
  closedWith("data_before_a_head", "H3_FRAME_UNEXPECTED", 0x105),
  closedWith("settings_on_a_request", "H3_FRAME_UNEXPECTED", 0x105),
  closedWith("http2_frame_on_a_request", "H3_FRAME_UNEXPECTED", 0x105),
  closedWith("push_promise_from_a_client", "H3_FRAME_UNEXPECTED", 0x105),
  closedWith("frame_cut_by_the_end", "H3_FRAME_ERROR", 0x106),
  closedWith("bad_qpack", "QPACK_DECOMPRESSION_FAILED", 0x200),
  closedWith("missing_settings", "H3_MISSING_SETTINGS", 0x10a),
  closedWith("settings_twice", "H3_FRAME_UNEXPECTED", 0x105),
  closedWith("settings_of_http2", "H3_SETTINGS_ERROR", 0x109),
  closedWith("second_control_stream", "H3_STREAM_CREATION_ERROR", 0x103),
  closedWith("control_stream_closed", "H3_CLOSED_CRITICAL_STREAM", 0x104),
  closedWith("push_stream_from_a_client", "H3_STREAM_CREATION_ERROR", 0x103),
  closedWith("qpack_table_too_large", "QPACK_ENCODER_STREAM_ERROR", 0x201),
];

/** What breaks the rules of frames: the code of RFC 6455, section 7.4.1, or, on an engine that closes TCP before it tells us, none. */
const closes =
  (by: "node" | "uws") =>
  (attack: string, code: number, name = "malformed"): Case =>
    by === "node"
      ? engines(attack, `close frame ${code}`, { code }, bound(name))
      : engines(attack, "closed without a close frame", { code: null, end: /^(fin|reset)$/ }, bound(name));

const malformedWs = (by: "node" | "uws"): readonly Case[] => {
  const closed = closes(by);
  return [
    by === "node"
      ? closed("unmasked_frame", 1002)
      : engines("unmasked_frame", "read as if it were masked; closed at what makes no frame", { code: null }, bound("malformed")),
    closed("reserved_bits", 1002),
    closed("reserved_opcode", 1002),
    closed("reserved_control_opcode", 1002),
    closed("ping_too_long", 1002),
    closed("ping_in_fragments", 1002),
    closed("continuation_of_nothing", 1002),
    closed("message_among_fragments", 1002),
    closed("bad_close_code", 1002),
    closed("close_of_one_byte", 1002),
    closed("close_reason_too_long", 1002),
    closed("compressed_without_extension", 1002),
    closed("bad_utf8", 1007),
    closed("bad_utf8_in_fragments", 1007),
    by === "node" ? closed("deflate_garbage", 1007) : closed("deflate_garbage", 1007, "body-too-large"),
    ours("binary_message", "close frame 1003", { code: 1003 }, null),
    ours("message_too_large", "close frame 1009", { code: 1009 }, bound("body-too-large")),
    closed("length_announced_too_large", 1009, "body-too-large"),
    closed("length_beyond_63_bits", 1009, "body-too-large"),
    ours("bad_handshakes", "426, 400, 400, 426", { statuses: [426, 400, 400, 426] }, responses),
  ];
};

const restWs = (by: "node" | "uws"): readonly Case[] => [
  closes(by)("fragments_without_end", 1009, "body-too-large"),
  by === "node"
    ? engines("empty_fragments_without_end", "close frame 1008 after 16,384", { code: 1008 }, bound("malformed"))
    : engines("empty_fragments_without_end", "nothing: they hold no memory", { code: null, end: "open" }, null),
  closes(by)("decompression_bomb", 1009, "body-too-large"),
  // What comes behind the close frame can turn the end into a reset, which takes the frame with it.
  ours("ping_flood", "close frame 1008 beyond 1,000 in 10 s", { end: /^(fin|reset)$/ }, bound("flood")),
  ours("pong_flood", "close frame 1008 beyond 1,000 in 10 s", { end: /^(fin|reset)$/ }, bound("flood")),
  ours("messages_without_end", "close frame 1008 when four times --max-body wait", {}, bound("flood")),
  ours(
    "json_too_deep",
    "an error in band; the socket goes on",
    { code: null, errors: { json_too_deep: 1 }, done: 1 },
    bound("json-too-deep"),
  ),
  ours("lanes_without_end", "errors in band, or close frame 1008", {}, aborted),
  ours("never_reads", "cut at --stall-timeout", {}, aborted),
  ours("ping_flood_unread", "closed", {}, null),
  ours("abort_storm", "every response is cancelled", {}, aborted),
  ours("half_a_message", "held as any silent peer: pinged after a minute, gone after two", { end: "open" }, null),
  by === "node"
    ? ours("half_a_handshake", "408 at --head-timeout, closed", { ends: ["fin"] }, bound("head-timeout"))
    : engines("half_a_handshake", "closed near 11 s", { ends: ["open"] }, null),
  ours("handshakes_without_end", "freed", {}, null),
];

/** Short times, so that the suite is short; everything else as it comes, but for a few small sizes. */
const fast: ServerOptions = { stallTimeout: 600, bodyTimeout: 600, maxBody: 50_000, maxConcurrentStreams: 100, outputTokens: 100 };
const fastNode: ServerOptions = { ...fast, h1Engine: "node", headTimeout: 600, idleTimeout: 900 };
const fastOwn: ServerOptions = { ...fastNode, h2Engine: "own" };
/** A handshake of a busy machine takes longer than a head. */
const fastTls: ServerOptions = { ...fastNode, headTimeout: 1500 };
/** As above; and a busy attacker takes a while to say anything at all. */
const fastQuic: ServerOptions = { ...fastTls, idleTimeout: 3000 };

const deflating: ServerOptions = { wsDeflate: true };

export const batches: readonly Batch[] = [
  { name: "floods", protocol: "h2c", engine: "node", options: { ...fastNode, idleTimeout: 3000 }, sequential: true, cases: floodsH2 },
  { name: "malformed frames", protocol: "h2c", engine: "node", options: { ...fastNode, idleTimeout: 3000 }, cases: malformedH2 },
  { name: "requests, readers, connections", protocol: "h2c", engine: "node", options: fastNode, cases: restH2 },
  {
    name: "over TLS",
    protocol: "h2",
    engine: "node",
    options: fastTls,
    isLong: true,
    cases: [...tlsNode, floodsH2[0]!, floodsH2[1]!, malformedH2[2]!, malformedH2[22]!, restH2[4]!],
  },
  { name: "floods", protocol: "h2c", engine: "own", options: { ...fastOwn, idleTimeout: 3000 }, sequential: true, cases: floodsOwn },
  { name: "malformed frames", protocol: "h2c", engine: "own", options: { ...fastOwn, idleTimeout: 3000 }, cases: malformedOwn },
  { name: "requests, readers, connections", protocol: "h2c", engine: "own", options: fastOwn, cases: restOwn },
  {
    name: "over TLS",
    protocol: "h2",
    engine: "own",
    options: { ...fastOwn, headTimeout: 1500 },
    isLong: true,
    cases: [...tlsNode, floodsOwn[0]!, floodsOwn[1]!, malformedOwn[2]!, malformedOwn[22]!, restOwn[4]!],
  },
  { name: "requests, readers, connections", protocol: "h1", engine: "node", options: fastNode, cases: nodeH1 },
  { name: "requests, readers, connections", protocol: "h1", engine: "uws", options: fast, cases: uwsH1 },
  {
    name: "malformed messages",
    protocol: "ws",
    engine: "node",
    options: { ...fastNode, ...deflating },
    isLong: true,
    cases: malformedWs("node"),
  },
  {
    name: "malformed messages",
    protocol: "ws",
    engine: "uws",
    options: { ...fast, ...deflating },
    isLong: true,
    cases: malformedWs("uws"),
  },
  {
    name: "floods, lanes, handshakes",
    protocol: "ws",
    engine: "node",
    options: { ...fastNode, ...deflating },
    isLong: true,
    cases: restWs("node"),
  },
  {
    name: "floods, lanes, handshakes",
    protocol: "ws",
    engine: "uws",
    options: { ...fast, ...deflating },
    isLong: true,
    cases: restWs("uws"),
  },
  { name: "over TLS", protocol: "h1s", engine: "node", options: fastTls, isLong: true, cases: tlsNode },
  { name: "over TLS", protocol: "h1s", engine: "uws", options: fast, cases: tlsCommon },
  { name: "floods", protocol: "h3", engine: "quiche", options: fastQuic, isOnce: true, sequential: true, cases: floodsH3 },
  { name: "frames, requests", protocol: "h3", engine: "quiche", options: fastQuic, cases: restH3 },
  { name: "readers", protocol: "h3", engine: "quiche", options: fastQuic, cases: readersH3 },
];

/** The rows of the docs' table: case, engine, answer, who decides, counter. */
export function tableRows(): string[] {
  const rows = new Map<string, { on: string[]; rest: string }>();
  const add = (on: string, { attack, answer, decides, counter }: Case): void => {
    const rest = `${answer} | ${decides} | ${counter === null ? "none" : `\`${counter.replace(/(\w+):(.*)/, '$1{bound="$2"}')}\``}`;
    const key = `${attack} ${rest}`;
    const row = rows.get(key) ?? { on: [], rest: `${attack.replaceAll("_", " ")} | ON | ${rest}` };
    if (!row.on.includes(on)) row.on.push(on);
    rows.set(key, row);
  };
  for (const { protocol, engine, cases } of batches) for (const each of cases) add(`${protocol} ${engine}`, each);
  for (const each of uwsDeadlines) add("h1 uws", each);
  return [...rows.values()].map(({ on, rest }) => `| ${rest.replace("ON", on.join(", "))} |`);
}
