"""Sockets and raw HTTP/2 frames for the attacks: hpack and hyperframe build what a well-behaved client never would."""

import json
import socket
import ssl
import struct
import time

from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CHAT = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}


def registry():
    """Attacks by name, and the decorator that adds one."""
    attacks = {}

    def attack(function):
        attacks[function.__name__] = function
        return function

    return attacks, attack


def connect(target, handshake=True, **options):
    """
    A connected socket, TLS where the target has it. `receive_buffer` bytes make a reader that fills up soon. On a busy machine
    a handshake can take longer than the server allows: then it is made once more.
    """
    for left in (2, 1, 0):
        try:
            return connect_once(target, handshake=handshake, **options)
        except OSError:
            if left == 0 or not target["tls"] or not handshake:
                raise


def connect_once(target, timeout=5.0, handshake=True, receive_buffer=None, alpn=None):
    raw = socket.socket()
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.settimeout(timeout)
    raw.connect(("127.0.0.1", target["port"]))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return secure(target, raw, alpn) if handshake else raw


def secure(target, raw, alpn=None):
    """TLS on a connected socket, where the target has it."""
    if not target["tls"]:
        return raw
    # Not the default context, which reads the system's certificates each time.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(alpn or (["h2"] if target["h2"] else ["http/1.1"]))
    return context.wrap_socket(raw, server_hostname="localhost")


def abort(sock):
    """Closes with a TCP RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def send(sock, data):
    """Sends all; false where the peer has closed."""
    try:
        sock.sendall(data)
        return True
    except OSError:
        return False


def read_until_close(sock, seconds, limit=1 << 24):
    """What comes until the peer closes: (bytes, how it ended: "fin", "reset" or "open", seconds waited)."""
    started = time.monotonic()
    parts = []
    size = 0
    while True:
        left = started + seconds - time.monotonic()
        if left <= 0 or size >= limit:
            return b"".join(parts), "open", time.monotonic() - started
        sock.settimeout(left)
        try:
            chunk = sock.recv(65536)
        except (socket.timeout, TimeoutError):
            continue
        except OSError:
            return b"".join(parts), "reset", time.monotonic() - started
        if not chunk:
            return b"".join(parts), "fin", time.monotonic() - started
        parts.append(chunk)
        size += len(chunk)


class Http2:
    """An HTTP/2 connection that keeps no rules."""

    def __init__(self, target, settings=None, hello=True, sock=None, **options):
        self.sock = sock or connect(target, **options)
        self.encoder = Encoder()
        self.next_stream = 1
        self.buffer = b""
        self.frames = []
        self.end = None
        if hello:
            self.raw(PREFACE, SettingsFrame(0, settings=settings or {}))

    def raw(self, *parts):
        """Sends frames and bytes in one write."""
        return send(self.sock, b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts))

    def head(self, extra=(), method="POST", path="/v1/chat/completions", end=False, stream=None):
        """A HEADERS frame that begins a request on the next stream."""
        if stream is None:
            stream = self.next_stream
            self.next_stream += 2
        fields = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "localhost"), *extra]
        flags = ["END_HEADERS"] + (["END_STREAM"] if end else [])
        return HeadersFrame(stream, data=self.encoder.encode(fields), flags=flags)

    def data(self, stream, body=None, end=True):
        """A DATA frame, by default with a streamed chat request."""
        payload = json.dumps(body or CHAT).encode() if not isinstance(body, bytes) else body
        return DataFrame(stream, data=payload, flags=["END_STREAM"] if end else [])

    def chat(self, extra=(), body=None):
        """The frames of one whole chat request."""
        head = self.head(extra)
        return [head, self.data(head.stream_id, body)]

    def read(self, seconds, until=None, answer=True):
        """Reads frames for a while, or until one fits; answers SETTINGS and PING unless told not to."""
        deadline = time.monotonic() + seconds
        while self.end is None:
            while len(self.buffer) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
                if len(self.buffer) < 9 + length:
                    break
                frame.parse_body(memoryview(self.buffer[9 : 9 + length]))
                self.buffer = self.buffer[9 + length :]
                self.frames.append(frame)
                if answer and "ACK" not in frame.flags and isinstance(frame, SettingsFrame):
                    self.raw(SettingsFrame(0, flags=["ACK"]))
                if answer and "ACK" not in frame.flags and isinstance(frame, PingFrame):
                    self.raw(PingFrame(0, frame.opaque_data, flags=["ACK"]))
                if until is not None and until(frame):
                    return frame
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.sock.settimeout(left)
            try:
                chunk = self.sock.recv(65536)
            except (socket.timeout, TimeoutError):
                return None
            except OSError:
                self.end = "reset"
                return None
            if not chunk:
                self.end = "fin"
                return None
            self.buffer += chunk
        return None

    def summary(self):
        """What the server said: GOAWAY and RST codes, statuses, how the connection ended."""
        from hpack import Decoder

        decoder = Decoder()
        statuses = {}
        resets = {}
        goaway = None
        bytes_read = 0
        for frame in self.frames:
            name = type(frame).__name__
            if name == "GoAwayFrame":
                goaway = frame.error_code if goaway is None else goaway
            elif name == "RstStreamFrame":
                resets[frame.error_code] = resets.get(frame.error_code, 0) + 1
            elif name == "HeadersFrame":
                status = dict(decoder.decode(frame.data)).get(":status", "trailers")
                statuses[status] = statuses.get(status, 0) + 1
            elif name == "DataFrame":
                bytes_read += len(frame.data)
        return {"goaway": goaway, "resets": resets, "statuses": statuses, "end": self.end or "open", "bytes": bytes_read}

    def close(self):
        self.sock.close()


__all__ = ["Http2", "CHAT", "PREFACE", "abort", "connect", "read_until_close", "registry", "secure", "send", "RstStreamFrame", "WindowUpdateFrame"]
