"""Streams with `requests` or `urllib3`, as their documentation does it. Prints one JSON line with times in milliseconds.

Arguments: library, URL, file of the body, requests, requests at a time. `readDelayMs` is the time from a token's stamp `sent` to
the moment at which the library hands the token on. Both clocks are the host's monotonic clock.
"""

import json
import sys
import threading
import time

library, url, body_file, requests_asked, concurrency = sys.argv[1:4] + [int(text) for text in sys.argv[4:6]]
with open(body_file, "rb") as file:
    body = file.read()
headers = {"content-type": "application/json"}


def lines_of_requests(session):
    with session.post(url, data=body, headers=headers, stream=True) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            yield line


def lines_of_urllib3(pool):
    response = pool.request("POST", url, body=body, headers=headers, preload_content=False)
    for chunk in response.stream():
        yield from chunk.split(b"\n")
    response.release_conn()


def new_session():
    if library == "requests":
        import requests

        return requests.Session(), lines_of_requests
    import urllib3

    return urllib3.PoolManager(), lines_of_urllib3


answers = []
lock = threading.Lock()


def answer(session, lines):
    begun = time.monotonic()
    read, delays = [], []
    for line in lines(session):
        if not line.startswith(b"data: {"):
            continue
        now = time.monotonic()
        event = json.loads(line[6:])
        if not event["choices"] or not event["choices"][0]["delta"].get("content"):
            continue
        read.append(now)
        delays.append(now * 1e3 - event["fakeai"]["sent"] / 1e3)
    ended = time.monotonic()
    with lock:
        answers.append(
            {
                "ttftMs": (read[0] - begun) * 1e3,
                "itlMs": (read[-1] - read[0]) / (len(read) - 1) * 1e3,
                "e2eMs": (ended - begun) * 1e3,
                "readDelayMs": delays,
            }
        )


def work(count):
    session, lines = new_session()
    for _ in range(count):
        answer(session, lines)


threads = [threading.Thread(target=work, args=(requests_asked // concurrency,)) for _ in range(concurrency)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(answers))
