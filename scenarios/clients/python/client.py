"""Python clients for `fakeai bench --driver client --client-cmd "python3 client.py <name>"`.

    pip install -r scenarios/clients/python/requirements.txt
    fakeai bench --driver client --protocol h1s --client-cmd "python3 scenarios/clients/python/client.py openai"
    fakeai bench --driver client --protocol h2 --client-cmd "python3 scenarios/clients/python/client.py openai-http2"
    fakeai bench --driver client --protocol h3 --client-cmd "python3 scenarios/clients/python/client.py aioquic"

Opens FAKEAI_STREAMS streams and writes the time at which each token was seen into FAKEAI_RECORD.
"""

import asyncio
import gc
import json
import os
import ssl
import sys
import time

env = os.environ
url = env["FAKEAI_URL"]
tokens = int(env["FAKEAI_OUTPUT_TOKENS"])
streams = int(env["FAKEAI_STREAMS"])
ramp_s = int(env.get("FAKEAI_RAMP_MS", "0")) / 1000
stop_s = int(env.get("FAKEAI_STOP_MS", "0")) / 1000
path = "/v1/chat/completions"
model = "fakeai"
messages = [{"role": "user", "content": "Hello"}]


def now_us():
    # CLOCK_MONOTONIC, which the server's log is kept in too.
    return time.monotonic_ns() / 1000


def named(key):
    # Streams that only warm up are quick; our server takes its pace from headers.
    quick = {} if key.startswith("run-") else {"x-fakeai-ttft": "10", "x-fakeai-itl": "5"}
    return {"x-client-request-id": key, **quick}


def body(max_tokens):
    return {"model": model, "stream": True, "max_tokens": max_tokens, "messages": messages}


def take(line, on_token):
    if not line.startswith("data: ") or line == "data: [DONE]":
        return
    choices = json.loads(line[6:])["choices"]
    if choices and choices[0]["delta"].get("content"):
        on_token()


def trust():
    ca = env.get("FAKEAI_CA")
    return ssl.create_default_context(cafile=ca) if url.startswith("https:") else True


async def with_openai(http2):
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    http_client = DefaultAsyncHttpxClient(http2=True) if http2 else None
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="any", http_client=http_client)

    async def ask(key, max_tokens, on_token):
        stream = await client.chat.completions.create(**body(max_tokens), extra_headers=named(key))
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                on_token()

    return ask


async def with_httpx(http2):
    import httpx

    # Its defaults, but for the time-out of five seconds and the limit of connections, which openai lifts as well.
    limits = httpx.Limits(max_connections=1000, max_keepalive_connections=100)
    client = httpx.AsyncClient(http2=http2, verify=trust(), timeout=60, limits=limits)

    async def ask(key, max_tokens, on_token):
        async with client.stream("POST", url + path, json=body(max_tokens), headers=named(key)) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                take(line, on_token)

    return ask


async def with_aiohttp():
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust(), limit=1000))

    async def ask(key, max_tokens, on_token):
        async with session.post(url + path, json=body(max_tokens), headers=named(key)) as response:
            response.raise_for_status()
            async for line in response.content:
                take(line.decode().rstrip("\n"), on_token)

    return ask


async def with_quic(package):
    """HTTP/3 on one connection: aioquic, or qh3, which grew out of it and has its interface."""
    from importlib import import_module
    from urllib.parse import urlsplit

    connect = import_module(f"{package}.asyncio").connect
    protocol = import_module(f"{package}.asyncio.protocol").QuicConnectionProtocol
    h3 = import_module(f"{package}.h3.connection")
    events = import_module(f"{package}.h3.events")
    stream_reset = import_module(f"{package}.quic.events").StreamReset
    configuration = import_module(f"{package}.quic.configuration").QuicConfiguration

    class Client(protocol):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.http = h3.H3Connection(self._quic)
            self.queues = {}

        def quic_event_received(self, event):
            if isinstance(event, stream_reset) and event.stream_id in self.queues:
                self.queues[event.stream_id].put_nowait(ConnectionError(f"reset with {event.error_code:#x}"))
            for each in self.http.handle_event(event):
                if each.stream_id in self.queues:
                    self.queues[each.stream_id].put_nowait(each)

        def open(self, headers, data):
            stream = self._quic.get_next_available_stream_id()
            self.queues[stream] = asyncio.Queue()
            self.http.send_headers(stream, headers)
            self.http.send_data(stream, data, end_stream=True)
            self.transmit()
            return stream

    to = urlsplit(url)
    # The server's certificate is its own, and no authority's.
    settings = configuration(is_client=True, alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE, server_name=to.hostname)
    # These take the first address of a name and try no other; our server listens on that of IPv4.
    host = "127.0.0.1" if to.hostname == "localhost" else to.hostname
    opening = connect(host, to.port, configuration=settings, create_protocol=Client)
    client = await opening.__aenter__()
    # Without one who holds it, it would be collected, and close the connection.
    client.opening = opening

    async def ask(key, max_tokens, on_token):
        headers = {":method": "POST", ":scheme": "https", ":authority": to.netloc, ":path": path, **named(key)}
        data = json.dumps(body(max_tokens)).encode()
        stream = client.open([(name.encode(), value.encode()) for name, value in headers.items()], data)
        rest = ""
        while True:
            event = await client.queues[stream].get()
            if isinstance(event, Exception):
                raise event
            if isinstance(event, events.HeadersReceived):
                status = dict(event.headers)[b":status"]
                if status != b"200":
                    raise ConnectionError(f"status {status.decode()}")
            if isinstance(event, events.DataReceived):
                *lines, rest = (rest + event.data.decode()).split("\n")
                for line in lines:
                    take(line, on_token)
            if event.stream_ended:
                del client.queues[stream]
                return

    return ask


clients = {
    "aioquic": lambda: with_quic("aioquic"),
    "qh3": lambda: with_quic("qh3"),
    "openai": lambda: with_openai(False),
    "openai-http2": lambda: with_openai(True),
    "httpx": lambda: with_httpx(False),
    "httpx-http2": lambda: with_httpx(True),
    "aiohttp": with_aiohttp,
}


def rss_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def run(ask, stream, max_tokens):
    stream["startUs"] = now_us()
    times = stream["tokenUs"]
    try:
        await ask(stream["key"], max_tokens, lambda: times.append(now_us()))
    except Exception as error:  # What a library throws is its answer.
        stream["error"] = f"{type(error).__name__}: {error}"[:160]


def new_streams(prefix, count):
    return [{"key": f"{prefix}-{i}", "startUs": 0, "tokenUs": [], "error": None} for i in range(count)]


async def main():
    ask = await clients[sys.argv[1]]()
    idle = None
    if env.get("FAKEAI_WARMUP") == "1":
        warm = min(30, tokens)
        await asyncio.gather(*(run(ask, one, warm) for one in new_streams("code", min(8, streams))))
        gc.collect()
        idle = rss_bytes()
        await asyncio.gather(*(run(ask, one, warm) for one in new_streams("warm", streams)))
        gc.collect()
    measured = new_streams("run", streams)
    under_way = 0
    samples = []

    async def begin(i, stream):
        nonlocal under_way
        await asyncio.sleep(i * ramp_s / streams)
        under_way += 1
        if under_way == streams:
            samples.append(rss_bytes())
        await run(ask, stream, tokens)
        under_way -= 1

    cpu = time.process_time_ns()
    began = now_us()
    tasks = [asyncio.create_task(begin(i, stream)) for i, stream in enumerate(measured)]

    async def sample():
        while True:
            await asyncio.sleep(0.05)
            if under_way == streams:
                samples.append(rss_bytes())

    sampler = asyncio.create_task(sample())
    await asyncio.wait(tasks, timeout=stop_s or None)
    sampler.cancel()
    ended = now_us()
    samples.sort()
    head = {
        "kind": "fakeai.client",
        "beganUs": began,
        "endedUs": ended,
        "cpuUs": (time.process_time_ns() - cpu) / 1000,
        "idleRssBytes": idle,
        "rssBytes": samples[len(samples) // 2] if samples else None,
    }
    if "FAKEAI_RECORD" in env:
        with open(env["FAKEAI_RECORD"], "w") as file:
            file.writelines(json.dumps(line) + "\n" for line in [head, *measured])
    # Connections that a library keeps open do not delay the exit.
    sys.stdout.flush()
    os._exit(0)


if len(sys.argv) != 2 or sys.argv[1] not in clients:
    sys.exit(f"usage: client.py {'|'.join(clients)}")
asyncio.run(main())
