"""Attacks over WebSocket, as bytes. Each takes its target and returns what the server answered."""

import json
import socket
import struct
import time
import zlib

from wire import abort, connect, registry, send

ATTACKS, attack = registry()

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HEAD = "GET /v1/responses HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
KEY = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True, announced=None):
    length = len(payload) if announced is None else announced
    first = (128 if fin else 0) | rsv << 4 | opcode
    bit = 128 if masked else 0
    if length < 126:
        head = bytes([first, bit | length])
    elif length < 65536:
        head = struct.pack("!BBH", first, bit | 126, length)
    else:
        head = struct.pack("!BBQ", first, bit | 127, length)
    # A mask of zeros is a mask.
    return head + (b"\0\0\0\0" if masked else b"") + payload


def create(**more):
    return frame(TEXT, json.dumps({"type": "response.create", "model": "m", "input": "Hello", **more}).encode())


def shake(target, extra="", **options):
    """A socket behind its handshake, and what came behind that."""
    sock = connect(target, **options)
    send(sock, f"{HEAD}{KEY}{extra}\r\n".encode())
    data = b""
    sock.settimeout(10)
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(65536)
        if not chunk:
            raise OSError("no answer to the handshake")
        data += chunk
    head, rest = data.split(b"\r\n\r\n", 1)
    if not head.startswith(b"HTTP/1.1 101"):
        raise OSError(head.decode("latin1"))
    return sock, rest


class Frames:
    """What a server sends, until it closes or for a while."""

    def __init__(self, sock, data=b""):
        self.sock, self.data, self.end = sock, data, "open"
        self.seen = []

    def read(self, seconds, until=None):
        deadline = time.monotonic() + seconds
        while True:
            while len(self.data) >= 2:
                short = self.data[1]
                length, head = (short, 2) if short < 126 else (struct.unpack("!H", self.data[2:4])[0], 4) if short == 126 else (struct.unpack("!Q", self.data[2:10])[0], 10)
                if len(self.data) < head + length:
                    break
                found = (self.data[0] & 15, self.data[head : head + length])
                self.data = self.data[head + length :]
                self.seen.append(found)
                if until is not None and until(*found):
                    return self
            left = deadline - time.monotonic()
            if left <= 0:
                return self
            self.sock.settimeout(left)
            try:
                chunk = self.sock.recv(65536)
            except (socket.timeout, TimeoutError):
                return self
            except OSError:
                self.end = "reset"
                return self
            if not chunk:
                self.end = "fin"
                return self
            self.data += chunk

    def told(self):
        """Close codes, codes of errors, and how it ended."""
        closes = [struct.unpack("!H", payload[:2])[0] for opcode, payload in self.seen if opcode == CLOSE and len(payload) >= 2]
        errors = {}
        done = 0
        for opcode, payload in self.seen:
            if opcode != TEXT:
                continue
            message = json.loads(payload)
            if message["type"] == "error":
                code = message["error"]["code"]
                errors[code] = errors.get(code, 0) + 1
            done += message["type"] in ("response.completed", "response.incomplete")
        return {"code": closes[0] if closes else None, "errors": errors, "done": done, "end": self.end}


def exchange(target, data, seconds=3, extra=""):
    sock, rest = shake(target, extra)
    send(sock, data)
    told = Frames(sock, rest).read(seconds).told()
    sock.close()
    return told


def quick(name, data, extra=""):
    ATTACKS[name] = lambda target: exchange(target, data, extra=extra)


def close(code, reason=b""):
    return frame(CLOSE, struct.pack("!H", code) + reason)


quick("unmasked_frame", frame(TEXT, b"{}", masked=False) * 8)
quick("reserved_bits", frame(TEXT, b"{}", rsv=2))
quick("reserved_opcode", frame(5, b"{}"))
quick("reserved_control_opcode", frame(13))
quick("ping_too_long", frame(PING, b"*" * 126))
quick("ping_in_fragments", frame(PING, b"a", fin=False) + frame(0, b"b"))
quick("continuation_of_nothing", frame(0, b"{}"))
quick("message_among_fragments", frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"))
quick("bad_utf8", frame(TEXT, b"\xce\xba\xed\xa0\x80"))
quick("bad_utf8_in_fragments", frame(TEXT, b"\xce\xba", fin=False) + frame(0, b"\xed\xa0\x80"))
quick("bad_close_code", close(1005))
quick("close_of_one_byte", frame(CLOSE, b"a"))
quick("close_reason_too_long", close(1000, b"*" * 124))
quick("compressed_without_extension", frame(TEXT, b"\xaa\x56\x00", rsv=4))
quick("binary_message", frame(BINARY, b"{}"))
quick("message_too_large", frame(TEXT, b"x" * 60000))
quick("length_announced_too_large", frame(TEXT, b"", announced=1 << 40))
quick("length_beyond_63_bits", frame(TEXT, b"", announced=(1 << 64) - 1))
quick("fragments_without_end", frame(TEXT, b"x" * 1000, fin=False) + frame(0, b"x" * 1000, fin=False) * 200)
quick("empty_fragments_without_end", frame(TEXT, b"", fin=False) + frame(0, b"", fin=False) * 20000)
quick("ping_flood", frame(PING, b"x" * 125) * 4000)
quick("pong_flood", frame(PONG) * 4000)
quick("deflate_garbage", frame(TEXT, b"\xff" * 100, rsv=4), DEFLATE)


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


BOMB = deflated(b'{"type":"response.create","model":"m","input":"' + b" " * (48 << 20))
quick("decompression_bomb", frame(TEXT, BOMB, rsv=4), DEFLATE)


@attack
def json_too_deep(target):
    """Refused in band: the socket goes on."""
    sock, rest = shake(target)
    send(sock, frame(TEXT, b'{"type":"response.create","input":' + b"[" * 6000 + b"]" * 6000 + b"}") + create(max_output_tokens=16))
    told = Frames(sock, rest).read(10, lambda opcode, payload: b'"response.incomplete"' in payload[:40]).told()
    sock.close()
    return told


@attack
def messages_without_end(target):
    """5,000 messages that are no JSON."""
    return exchange(target, frame(TEXT, b"no JSON") * 5000, 2)


@attack
def lanes_without_end(target):
    """200 names of lanes, and many requests in each."""
    sock, rest = shake(target)
    send(sock, b"".join(create(stream_id=f"n{index % 200}", max_output_tokens=16) for index in range(1000)))
    told = Frames(sock, rest).read(1).told()
    abort(sock)
    return {"errors": sorted(told["errors"]), "end": told["end"]}


@attack
def never_reads(target, sockets=5):
    """Long answers on many lanes of sockets that take nothing."""
    held = []
    for _ in range(sockets):
        sock, _rest = shake(target, "x-fakeai-itl: 0\r\nx-fakeai-output-tokens: 100000\r\n", receive_buffer=4096)
        send(sock, b"".join(create(stream_id=f"n{index}") for index in range(16)))
        held.append(sock)
    time.sleep(2)
    for sock in held:
        abort(sock)
    return {}


@attack
def ping_flood_unread(target):
    """Pings whose pongs are not read."""
    sock, _rest = shake(target, receive_buffer=4096)
    sock.settimeout(2)
    try:
        for _ in range(200):
            sock.sendall(frame(PING, b"x" * 125) * 200)
    except OSError:
        pass
    time.sleep(0.2)
    abort(sock)
    return {}


@attack
def abort_storm(target, sockets=60):
    held = []
    for _ in range(sockets):
        sock, _rest = shake(target, "x-fakeai-itl: 10\r\nx-fakeai-output-tokens: 1000\r\n")
        send(sock, create(stream_id="a") + create(stream_id="b"))
        held.append(sock)
    time.sleep(0.05)
    for sock in held:
        abort(sock)
    return {}


@attack
def half_a_message(target):
    """The beginning of a frame, and then nothing: its socket is held like any that is silent."""
    sock, rest = shake(target)
    send(sock, frame(TEXT, b"{" * 10, announced=1000))
    told = Frames(sock, rest).read(0.5).told()
    abort(sock)
    return {"end": told["end"]}


def status(target, head, seconds):
    sock = connect(target)
    send(sock, head.encode())
    sock.settimeout(seconds)
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            chunk = sock.recv(65536)
            if not chunk:
                break
            data += chunk
    except OSError:
        pass
    sock.close()
    return int(data.split(b" ")[1]) if data.startswith(b"HTTP/1.1 ") else None


@attack
def bad_handshakes(target):
    """Another version, no key, a key that is none, another path."""
    heads = [
        f"{HEAD}{KEY.replace('13', '12')}\r\n",
        f"{HEAD}Sec-WebSocket-Version: 13\r\n\r\n",
        f"{HEAD}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
        f"{HEAD.replace('/v1/responses', '/v1/models')}{KEY}\r\n",
    ]
    return {"statuses": [status(target, head, 3) for head in heads]}


@attack
def half_a_handshake(target, sockets=20):
    """Heads that never end."""
    held = []
    for _ in range(sockets):
        sock = connect(target)
        send(sock, f"{HEAD}{KEY}".encode())
        held.append(sock)
    time.sleep(2)
    ends = set()
    for sock in held:
        frames = Frames(sock)
        frames.data = b"H"
        ends.add(frames.read(0.05).end)
        sock.close()
    return {"ends": sorted(ends)}


@attack
def handshakes_without_end(target, sockets=200):
    for _ in range(sockets):
        sock, _rest = shake(target)
        abort(sock)
    return {}
