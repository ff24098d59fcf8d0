"""httpx against a server of HTTP/2: checks of bench/interop/run.ts, as one line of JSON. python client.py <origin> <file of the CA>"""

import asyncio
import json
import ssl
import sys

import h2
import httpx

STREAMS = 100
ABORTED = 20


def body(stream, padding=0):
    return {"model": "m", "stream": stream, "user": "u" * padding, "messages": [{"role": "user", "content": "Hello"}]}


def is_whole(answer):
    return answer.status_code == 200 and answer.text.count('"content":"') == 51 and answer.text.endswith("data: [DONE]\n\n")


async def main(origin, ca):
    url = f"{origin}/v1/chat/completions"
    verify = ssl.create_default_context(cafile=ca)
    async with httpx.AsyncClient(http1=False, http2=True, verify=verify, timeout=60) as client:
        # The first one opens the connection that the others share.
        first = await client.post(url, json=body(True))
        answers = await asyncio.gather(*[client.post(url, json=body(True)) for _ in range(STREAMS)])
        large = await client.post(url, json=body(False, 300_000))
        missing = await client.get(f"{origin}/nowhere")

        async def give_up():
            async with client.stream("POST", url, json=body(True), headers={"x-fakeai-output-tokens": "100000"}) as answer:
                async for _ in answer.aiter_lines():
                    return

        await asyncio.gather(*[give_up() for _ in range(ABORTED)])
        after = await client.post(url, json=body(True))
    seen = {
        "client": "Python httpx",
        "version": f"{httpx.__version__} (h2 {h2.__version__})",
        "protocol": first.http_version,
        "complete": sum(is_whole(answer) for answer in answers),
        "upload": large.status_code,
        "trailers": None,
        "missing": missing.status_code,
        "afterAborts": is_whole(after),
    }
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
