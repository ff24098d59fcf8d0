/** Where packets are lost, streams of QUIC come in any order: each is answered (RFC 9000, section 2.1). The engine is a fake here. */
import { expect, test } from "vitest";
import { type QuicEvent, quicEvent, type QuicServer } from "../../../src/base/quic.ts";
import { Bounds, newCounts } from "../../../src/listeners/bounds.ts";
import { H3Service } from "../../../src/listeners/h3/service.ts";
import { freePorts, resolveConfig } from "../../../src/settings/server.ts";
import { frame, frameOf } from "../../../src/wire/h3/frames.ts";
import { encodeFields } from "../../../src/wire/h3/qpack.ts";

const head = frameOf(
  frame.headers,
  encodeFields([
    [":method", "GET"],
    [":scheme", "https"],
    [":authority", "x"],
    [":path", "/health"],
  ]),
);

const event = (eventType: number, streamId: number, more: Partial<QuicEvent> = {}): QuicEvent => ({
  eventType,
  connHandle: 7,
  streamId,
  ...more,
});

test.each([
  ["the later one first", [8, 0, 4]],
  ["the last, then those before it, from the end", [12, 8, 4, 0]],
])("streams out of order: %s", (_name, order) => {
  const sent: number[] = [];
  const cut: number[] = [];
  const engine: Partial<QuicServer> = {
    streamSend(_connection, id, bytes) {
      sent.push(id);
      return { status: 0, written: bytes.length };
    },
    streamClose: (_connection, id) => cut.push(id) > 0,
    closeSession: () => true,
    pingSession: () => true,
  };
  const answered: number[] = [];
  const counts = newCounts();
  const service = new H3Service(
    {
      handle(_request, _body, sink) {
        sink.start({ status: 200, headers: {}, streamed: false });
        sink.end(Buffer.from("{}"));
        answered.push(sink.streamId!);
      },
      refuse: () => {},
    },
    new Bounds(resolveConfig({}, freePorts).limits),
    counts,
  );
  service.engine = engine as QuicServer;
  service.take([event(quicEvent.session, -1), event(quicEvent.handshake, -1)]);
  for (const id of order) service.take([event(quicEvent.stream, id, { data: head, fin: true })]);
  expect(answered).toEqual(order);
  expect(new Set(sent.filter((id) => id % 4 === 0))).toEqual(new Set(order));
  expect(cut).toEqual([]);
  expect(counts.streams).toBe(0);
  service.destroy();
});
