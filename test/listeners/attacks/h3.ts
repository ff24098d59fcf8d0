/**
 * Attacks over HTTP/3, in a process of its own: datagrams on a raw socket, and streams of hand-made bytes on the QUIC engine's client.
 * Not part of the product.
 *
 * A message ({ id, attack, port }) is answered by one ({ id, observed } or { id, error }).
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { frame, frameOf } from "../../../src/wire/h3/frames.ts";
import type { Field } from "../../../src/wire/h3/qpack.ts";
import { initialBytes, openingDatagram } from "../../support/quic-packets.ts";
import { Peer, patienceMs, post, type Seen } from "../../support/quic-peer.ts";
import { sleep } from "../../support/wait.ts";

export interface Command {
  readonly id: number;
  readonly attack: string;
  readonly port: number;
}

/** What an attack saw, or why it failed. */
export interface Report {
  readonly id: number;
  readonly observed?: Readonly<Record<string, unknown>>;
  readonly error?: string;
}

const none = Buffer.alloc(0);
const host = "127.0.0.1";

const ids = (count: number): number[] => Array.from({ length: count }, (_, index) => index * 4);

/** How many streams had which outcome: "200 ended", "408 reset", "reset". */
function outcomes(peer: Peer): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status, ended, reset } of peer.streams.values()) {
    const words = [...(status > 0 ? [status] : []), ended ? "ended" : reset !== null ? "reset" : "open"].join(" ");
    counts[words] = (counts[words] ?? 0) + 1;
  }
  return counts;
}

/** Passes datagrams on, until it is cut: then both ends hear nothing more of each other, not even that no socket is there. */
async function relay(port: number): Promise<{ readonly port: number; cut(): void }> {
  const [front, back] = [createSocket("udp4"), createSocket("udp4")];
  let client = 0;
  let isCut = false;
  front.on("message", (bytes, from) => {
    client = from.port;
    if (!isCut) back.send(bytes, port, host);
  });
  back.on("message", (bytes) => {
    if (!isCut) front.send(bytes, client, host);
  });
  front.bind(0, host);
  back.bind(0, host);
  await Promise.all([once(front, "listening"), once(back, "listening")]);
  return {
    port: front.address().port,
    cut() {
      isCut = true;
      setTimeout(() => {
        front.close();
        back.close();
      }, patienceMs).unref();
    },
  };
}

/** A raw socket: what came back, in bytes and datagrams. */
async function rawSocket(): Promise<{ readonly socket: Socket; readonly got: { bytes: number; datagrams: number } }> {
  const socket = createSocket("udp4");
  const got = { bytes: 0, datagrams: 0 };
  socket.on("message", (bytes) => {
    got.bytes += bytes.length;
    got.datagrams++;
  });
  socket.bind(0, host);
  await once(socket, "listening");
  return { socket, got };
}

/** Sends all, with pauses, so that the receiver's buffer takes them. */
async function sendAll(socket: Socket, port: number, datagrams: readonly Buffer[]): Promise<void> {
  for (const [index, datagram] of datagrams.entries()) {
    socket.send(datagram, port, host);
    if (index % 50 === 49) await sleep(1);
  }
}

/** The connection has to be closed for what `act` sends. */
const closes =
  (act: (peer: Peer) => void, bare = false) =>
  async (port: number): Promise<Readonly<Record<string, unknown>>> => {
    const peer = await Peer.open(port, { bare });
    peer.ask(0, [["x-fakeai-output-tokens", "400"]]);
    await peer.until(() => peer.of(0).status > 0);
    act(peer);
    await peer.until(() => peer.closed !== null);
    const { closed } = peer;
    await peer.end();
    return { closed };
  };

/** One request, and how it ends. */
const answered =
  (act: (peer: Peer) => void, isDone: (seen: Seen) => boolean = ({ ended, reset }) => ended || reset !== null) =>
  async (port: number): Promise<Readonly<Record<string, unknown>>> => {
    const peer = await Peer.open(port);
    act(peer);
    await peer.until(() => peer.closed !== null || (peer.streams.size > 0 && [...peer.streams.values()].every(isDone)));
    const observed = { ...outcomes(peer), closed: peer.closed };
    await peer.end();
    return observed;
  };

const control = (...frames: Buffer[]): Buffer => Buffer.concat([Buffer.from([0]), ...frames]);
const settings = (...bytes: number[]): Buffer => frameOf(frame.settings, Buffer.from(bytes));

const attacks: Readonly<Record<string, (port: number) => Promise<Readonly<Record<string, unknown>>>>> = {
  data_before_a_head: closes((peer) => peer.send(4, frameOf(frame.data, Buffer.from("x")))),
  settings_on_a_request: closes((peer) => peer.send(4, settings())),
  http2_frame_on_a_request: closes((peer) => peer.send(4, frameOf(6, Buffer.alloc(8)))),
  push_promise_from_a_client: closes((peer) => peer.send(4, frameOf(frame.pushPromise, Buffer.from([0])))),
  frame_cut_by_the_end: closes((peer) => peer.send(4, post().subarray(0, 9), true)),
  bad_qpack: closes((peer) => peer.send(4, frameOf(frame.headers, Buffer.from([0, 0, 0xff, 0xff, 0xff, 0xff, 0xff])))),
  missing_settings: closes((peer) => peer.send(2, control(frameOf(frame.goaway, Buffer.from([0])))), true),
  settings_twice: closes((peer) => peer.send(2, settings())),
  settings_of_http2: closes((peer) => peer.send(2, control(settings(2, 0))), true),
  second_control_stream: closes((peer) => peer.send(6, control(settings()))),
  control_stream_closed: closes((peer) => peer.send(2, none, true)),
  push_stream_from_a_client: closes((peer) => peer.send(6, Buffer.from([1, 0]))),
  qpack_table_too_large: closes((peer) => peer.send(6, Buffer.from([2, 0x3f, 0xe1, 0x1f]))),

  async malformed_datagrams(port) {
    const { socket, got } = await rawSocket();
    const opening = openingDatagram();
    const noise = (seed: number, length: number): Buffer =>
      Buffer.from(Array.from({ length }, (_, at) => (at * 31 + seed * 17 + ((at * seed) % 251)) & 0xff));
    const flipped = (at: number): Buffer => {
      const bytes = Buffer.from(openingDatagram());
      bytes[at]! ^= 0x55;
      return bytes;
    };
    const datagrams = [
      // Cut to every length that a header can end in, and some beyond. A datagram that opens a connection has 1,200 bytes.
      ...Array.from({ length: 60 }, (_, length) => opening.subarray(0, length)),
      ...[100, 300, 600, 900, initialBytes - 1].map((length) => opening.subarray(0, length)),
      ...Array.from({ length: 200 }, (_, seed) => noise(seed, (seed * 7) % 1500)),
      // A version that no server speaks, a fixed bit that is not set, lengths of ids that cannot be, and changed ciphertext.
      ...[1, 2, 3, 4, 5, 14, 0, 40, 400, 1199].map(flipped),
    ];
    await sendAll(socket, port, datagrams);
    await sleep(300);
    socket.close();
    const sent = datagrams.reduce((sum, { length }) => sum + length, 0);
    return { sent, got: got.bytes, isAmplified: got.bytes > 3 * sent };
  },

  /** Opens connections with whole ClientHellos, and says nothing more on any. */
  async initial_flood(port) {
    const { socket, got } = await rawSocket();
    const datagrams = Array.from({ length: 200 }, () => openingDatagram());
    await sendAll(socket, port, datagrams);
    await sleep(300);
    socket.close();
    return { answered: got.datagrams > 0, isAmplified: got.bytes > 3 * initialBytes * datagrams.length };
  },

  async client_vanishes(port) {
    const between = await relay(port);
    const peer = await Peer.open(between.port);
    for (const id of ids(20)) peer.ask(id, [["x-fakeai-output-tokens", "4000"]]);
    await peer.until(() => [...peer.streams.values()].filter(({ status }) => status === 200).length === 20);
    between.cut();
    const begun = outcomes(peer);
    // What it says at its end reaches no one.
    await peer.end();
    return begun;
  },

  async idle_connection(port) {
    const peer = await Peer.open(port);
    await peer.until(() => peer.closed !== null);
    const { closed } = peer;
    await peer.end();
    return { closed };
  },

  async too_many_streams(port) {
    const peer = await Peer.open(port);
    for (const id of ids(140))
      peer.ask(id, [
        ["x-fakeai-ttft", "300"],
        ["x-fakeai-output-tokens", "20"],
      ]);
    await peer.until(() => [...peer.streams.values()].filter(({ ended, reset }) => ended || reset !== null).length === 140);
    const observed = { ...outcomes(peer), closed: peer.closed };
    await peer.end();
    return observed;
  },

  async never_reads(port) {
    const peer = await Peer.open(port, { reads: false, windowBytes: 20_000 });
    for (const id of ids(20))
      peer.ask(id, [
        ["x-fakeai-output-tokens", "20000"],
        ["x-fakeai-itl", "0"],
      ]);
    // A stream is cut at the second look that finds nothing taken.
    await sleep(2500);
    const { closed } = peer;
    await peer.end();
    return { closed };
  },

  /** Each stream is reset as soon as it is opened. */
  async rapid_reset(port) {
    const peer = await Peer.open(port);
    for (const id of ids(2000)) {
      if (peer.closed !== null) break;
      peer.ask(id);
      peer.cut(id);
      if (id % 80 === 0) await sleep(2);
    }
    await peer.until(() => peer.closed !== null, 2000);
    const { closed } = peer;
    await peer.end();
    return { closed };
  },

  async abort_storm(port) {
    const peer = await Peer.open(port);
    for (const id of ids(80)) peer.ask(id, [["x-fakeai-output-tokens", "4000"]]);
    await peer.until(() => [...peer.streams.values()].filter(({ status }) => status === 200).length === 80);
    for (const id of ids(80)) peer.cut(id);
    await sleep(100);
    const { closed } = peer;
    await peer.end();
    return { closed };
  },

  unknown_frame_flood: async (port) => {
    const peer = await Peer.open(port);
    const bytes = Buffer.concat(Array.from({ length: 60 }, () => frameOf(0x21, Buffer.alloc(1000))));
    const isTaken = (): boolean => peer.closed !== null;
    // Of a request whose head has come, so that nothing but the flood ends it.
    peer.send(0, post());
    for (let round = 0; !isTaken() && round < 100; round++) {
      for (let part = 0; part < 16; part++) peer.send(0, bytes);
      await sleep(1);
    }
    await peer.until(isTaken, 2000);
    const { closed } = peer;
    await peer.end();
    return { closed };
  },

  half_a_head: answered(
    (peer) => peer.send(0, post().subarray(0, 9)),
    ({ ended, reset }) => ended || reset !== null,
  ),
  body_never_sent: answered((peer) => peer.send(0, post([["content-length", "100"]]))),
  body_too_large: answered((peer) => peer.send(0, Buffer.concat([post(), frameOf(frame.data, Buffer.alloc(60_000))]), true)),
  head_too_large: answered((peer) => peer.send(0, post([["x-big", "a".repeat(40_000)]]), true)),
  length_that_lies: answered((peer) =>
    peer.send(0, Buffer.concat([post([["content-length", "100"]]), frameOf(frame.data, Buffer.alloc(10))]), true),
  ),
  bad_header_fields: answered((peer) => {
    for (const [index, field] of [
      ["Upper", "1"],
      ["connection", "close"],
      [":other", "1"],
      ["a", "b\r\nc"],
    ].entries())
      peer.send(index * 4, post([field as unknown as Field]), true);
    for (const id of ids(4)) peer.of(id);
  }),
};

process.on("message", ({ id, attack, port }: Command) => {
  attacks[attack]!(port).then(
    (observed) => process.send!({ id, observed } satisfies Report),
    (error: Error) => process.send!({ id, error: `${error.name}: ${error.message}` } satisfies Report),
  );
});
process.on("disconnect", () => process.exit(0));
