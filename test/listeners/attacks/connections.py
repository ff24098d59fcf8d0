"""Attacks that are the same for both versions of HTTP: connections, and TLS below the requests."""

import re
import ssl
import time

from hyperframe.frame import GoAwayFrame, HeadersFrame

from wire import Http2, connect, read_until_close, registry, secure, send

ATTACKS, attack = registry()


@attack
def tls_never_finished(target, connections=20):
    held = [connect(target, handshake=False) for _ in range(connections)]
    for index, sock in enumerate(held):
        if index % 2:
            send(sock, bytes.fromhex("16030100f5010000f10303"))
    ends = [read_until_close(sock, 8)[1] for sock in held]
    for sock in held:
        sock.close()
    return {"ends": sorted(set(ends))}


@attack
def tls_garbage(target):
    for _ in range(20):
        sock = connect(target, handshake=False)
        send(sock, b"\x16\x03\x01\x40\x00" + b"\xff" * 500)
        send(sock, b"GET / HTTP/1.1\r\n\r\n")
        read_until_close(sock, 0.05)
        sock.close()
    return {}


@attack
def too_many_connections(target, connections=150):
    """More connections than allowed; each asks, those that were first last. How many got which answer."""
    held = [connect(target, handshake=False) for _ in range(connections)]
    time.sleep(0.1)
    answers = {}
    for index in reversed(range(connections)):
        try:
            held[index] = secure(target, held[index])
            key = ask_over_h2(target, held[index]) if target["h2"] else ask_over_h1(held[index])
        except (OSError, ssl.SSLError):
            key = "closed"
        answers[key] = answers.get(key, 0) + 1
    for sock in held:
        sock.close()
    return answers


def ask_over_h1(sock):
    send(sock, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    data, _, _ = read_until_close(sock, 5, limit=1)
    more, _, _ = read_until_close(sock, 0.005)
    status = re.match(rb"HTTP/1\.1 (\d{3}) ", data + more)
    return status.group(1).decode() if status else "closed"


def ask_over_h2(target, sock):
    connection = Http2(target, sock=sock)
    connection.raw(connection.head(method="GET", path="/health", end=True))
    connection.read(5, until=lambda frame: isinstance(frame, (HeadersFrame, GoAwayFrame)))
    summary = connection.summary()
    if summary["goaway"] is not None:
        return f"goaway {summary['goaway']}"
    return next(iter(summary["statuses"]), "closed")
