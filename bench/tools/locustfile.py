"""Locust's users of a chat server: TTFT, ITL and the whole answer as entries of its own table.

The body is the file that FAKEAI_BODY names. A streamed response is read with `iter_lines` of `requests`, which Locust's HttpUser is.
"""

import json
import os
import time

from locust import HttpUser, task

with open(os.environ["FAKEAI_BODY"], "rb") as file:
    BODY = file.read()


class ChatUser(HttpUser):
    def entry(self, name, milliseconds):
        self.environment.events.request.fire(
            request_type="SSE", name=name, response_time=milliseconds, response_length=0, exception=None, context={}
        )

    @task
    def chat(self):
        begun = time.perf_counter()
        read = []
        response = self.client.post(
            "/v1/chat/completions", data=BODY, headers={"content-type": "application/json"}, stream=True
        )
        for line in response.iter_lines():
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if event["choices"] and event["choices"][0]["delta"].get("content"):
                read.append(time.perf_counter())
        ended = time.perf_counter()
        self.entry("ttft", (read[0] - begun) * 1e3)
        self.entry("itl", (read[-1] - read[0]) / (len(read) - 1) * 1e3)
        self.entry("e2e", (ended - begun) * 1e3)
