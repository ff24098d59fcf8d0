"""Attacks over HTTP/1.1, as bytes. Each takes its target and returns what the server answered."""

import json
import re
import socket
import time

from wire import CHAT, abort, connect, read_until_close, registry, send

ATTACKS, attack = registry()


def post(body, headers="", length=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(data) if length is None else length}\r\n\r\n".encode() + data


def told(data):
    """The statuses and error codes of whatever came."""
    text = data.decode("latin1")
    return [int(status) for status in re.findall(r"HTTP/1\.1 (\d{3}) ", text)], re.findall(r'"code":\s*"(\w+)"', text)


def exchange(target, data, seconds=0.3, half_close=False, first=True):
    """Sends, reads until closed or for a while, closes."""
    sock = connect(target)
    send(sock, data)
    if half_close:
        sock.shutdown(socket.SHUT_WR)
    # A busy machine may take long to answer at all.
    answer, end, waited = read_until_close(sock, 10 if first else seconds, limit=1)
    if end == "open" and answer:
        more, end, waited = read_until_close(sock, seconds)
        answer += more
    sock.close()
    statuses, codes = told(answer)
    return {"statuses": statuses, "codes": codes, "end": end, "seconds": round(waited, 1), "text": answer.decode("latin1")}


def quick(name, data):
    def run(target):
        result = exchange(target, data, target.get("patience", 0.3))
        del result["text"]
        return result

    ATTACKS[name] = run


CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SMALL = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}).encode()

quick("conflicting_lengths", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}abcGET /health HTTP/1.1\r\nHost: x\r\n\r\n")
quick("length_and_chunked", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
quick("transfer_encoding_gzip", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n")
quick("negative_length", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n")
quick("duplicate_host", b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
quick("no_host", b"GET /health HTTP/1.1\r\n\r\n")
quick("http_1_0", b"GET /health HTTP/1.0\r\nHost: x\r\n\r\n")
quick("folded_header", b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n")
quick("space_before_colon", b"GET /health HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n")
quick("nul_in_a_header", b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n")
quick("garbage", bytes(range(256)) * 20)
quick("connect_method", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n")
quick("upgrade_websocket", b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
quick("chunk_extensions", CHUNKED + b"%x;a=b\r\n" % len(SMALL) + SMALL + b"\r\n0\r\n\r\n")
quick("trailers", CHUNKED + b"%x\r\n" % len(SMALL) + SMALL + b"\r\n0\r\nX-T: 1\r\n\r\n")
quick("chunk_size_overflow", CHUNKED + b"FFFFFFFFFFFFFFFFFF\r\nabc")
quick("head_too_large", b"GET /health HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 40000 + b"\r\n\r\n")
quick("too_many_headers", b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"v" * 60) for i in range(400)) + b"\r\n")
quick("target_too_long", b"GET /" + b"a" * 60000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
quick("json_too_deep", post(b'{"model":' + b"[" * 6000 + b"]" * 6000 + b"}"))
quick("json_objects_too_deep", post(b'{"a":' * 6000 + b"1" + b"}" * 6000))


@attack
def body_too_large(target):
    result = exchange(target, post(b"x" * 60000) + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 0)
    return {"statuses": result["statuses"], "codes": result["codes"]}


@attack
def body_too_large_in_chunks(target):
    result = exchange(target, CHUNKED + b"3e8\r\n" * 1 + b"x" * 1000 + b"\r\n" + (b"3e8\r\n" + b"x" * 1000 + b"\r\n") * 59 + b"0\r\n\r\n")
    return {"statuses": result["statuses"], "codes": result["codes"]}


@attack
def length_announced_too_large(target):
    """The announcement alone; the body never comes."""
    result = exchange(target, b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 3)
    return {"statuses": result["statuses"], "codes": result["codes"], "end": result["end"]}


@attack
def cr_lf_in_what_we_echo(target):
    body = {"model": "a\r\nX-Injected: 1", "stream": True, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
    result = exchange(target, post(body, "x-fakeai-text: \"\\r\\nX-Injected: 1\"\r\n"), 0.3)
    other = exchange(target, b"GET /v1/models/%0d%0aX-Injected:%201 HTTP/1.1\r\nHost: x\r\n\r\n", 0.2)
    injected = any("\nx-injected" in answer["text"].split("\r\n\r\n")[0].lower() for answer in (result, other))
    return {"injected": injected}


@attack
def pipelining(target):
    """Two requests in one write, the first of them slow."""
    result = exchange(target, post({**CHAT, "max_tokens": 3}, "x-fakeai-ttft: 50\r\n") + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 0.5)
    return {"statuses": result["statuses"], "end": result["end"]}


@attack
def pipelined_garbage(target):
    """Bytes that are no request behind one that is being answered: they must not get into its answer."""
    sock = connect(target)
    send(sock, post({**CHAT, "max_tokens": 20}, "x-fakeai-itl: 10\r\n"))
    before, _, _ = read_until_close(sock, 10, limit=1)
    send(sock, b"\0\0\0\r\n\r\n")
    answer, end, _ = read_until_close(sock, 10)
    answer = before + answer
    sock.close()
    return {"statuses": told(answer)[0], "end": end}


@attack
def half_close(target):
    result = exchange(target, post({**CHAT, "max_tokens": 10}, "x-fakeai-itl: 20\r\n"), 2, half_close=not target["tls"])
    return {"statuses": result["statuses"], "end": result["end"]}


@attack
def abort_storm(target, connections=60):
    held = []
    for _ in range(connections):
        sock = connect(target)
        send(sock, post({**CHAT, "max_tokens": 1000}, "x-fakeai-itl: 10\r\n"))
        held.append(sock)
    time.sleep(0.05)
    for sock in held:
        abort(sock)
    return {}


@attack
def abort_in_the_head(target, connections=60):
    for _ in range(connections):
        sock = connect(target)
        send(sock, b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-")
        abort(sock)
    return {}


@attack
def abort_in_the_body(target, connections=60):
    for _ in range(connections):
        sock = connect(target)
        send(sock, post(b"{", length=100))
        abort(sock)
    return {}


def hold_open(target, data, seconds, connections=20, trickle=None):
    """Many connections that begin a request and do not end it."""
    held = [connect(target) for _ in range(connections)]
    for sock in held:
        send(sock, data)
    started = time.monotonic()
    if trickle is not None:
        while time.monotonic() < started + seconds and all(send(sock, trickle) for sock in held):
            time.sleep(0.15)
    answers = [read_until_close(sock, max(0.1, started + seconds - time.monotonic())) for sock in held]
    for sock in held:
        sock.close()
    statuses, codes = told(answers[0][0])
    return {"statuses": statuses, "codes": codes, "ends": sorted({end for _, end, _ in answers}), "seconds": round(time.monotonic() - started, 1)}


@attack
def silent(target, seconds=8):
    return hold_open(target, b"", target.get("patience", seconds))


@attack
def half_a_head(target, seconds=8):
    return hold_open(target, b"GET /health HTTP/1.1\r\nHost:", target.get("patience", seconds))


@attack
def slow_head(target, seconds=8):
    """Slowloris: a header line now and then."""
    return hold_open(target, b"GET /health HTTP/1.1\r\nHost: x\r\n", target.get("patience", seconds), trickle=b"X-A: b\r\n")


@attack
def body_never_sent(target, seconds=8):
    return hold_open(target, b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", target.get("patience", seconds))


@attack
def slow_body(target, seconds=8):
    return hold_open(target, b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n", target.get("patience", seconds), trickle=b"x")


@attack
def slow_chunks(target, seconds=8):
    return hold_open(target, CHUNKED, target.get("patience", seconds), trickle=b"1\r\nx\r\n")


@attack
def idle_after_an_answer(target, seconds=8):
    return hold_open(target, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", target.get("patience", seconds))


def readers_that_never_read(target, body, headers, connections, seconds, pipelined=1):
    held = []
    for _ in range(connections):
        sock = connect(target, receive_buffer=4096)
        send(sock, post(body, headers) * pipelined)
        held.append(sock)
    time.sleep(seconds)
    ends = sorted({read_until_close(sock, 0.01)[1] for sock in held})
    for sock in held:
        sock.close()
    return {"ends": ends}


@attack
def never_reads(target):
    return readers_that_never_read(target, CHAT, "x-fakeai-itl: 0\r\nx-fakeai-output-tokens: 200000\r\n", 20, 1.8)


@attack
def never_reads_an_answer_in_one_piece(target):
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    # One such answer fits the kernel's buffers; the last of those that are handed over does not.
    return readers_that_never_read(target, body, "x-fakeai-itl: 0\r\nx-fakeai-output-tokens: 131072\r\n", 2, 1.8, pipelined=8)
