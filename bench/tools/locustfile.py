"""Locust's users of a chat server: TTFT, gaps between chunks and whole answers as entries of its own table.

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
        done = False
        response = self.client.post(
            "/v1/chat/completions", data=BODY, headers={"content-type": "application/json"}, stream=True
        )
        for line in response.iter_lines():
            if line == b"data: [DONE]":
                done = True
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if event["choices"] and event["choices"][0]["delta"].get("content"):
                read.append(time.perf_counter())
        if not done:
            return
        ended = time.perf_counter()
        self.entry("ttft", (read[0] - begun) * 1e3)
        for before, after in zip(read, read[1:]):
            self.entry("itl", (after - before) * 1e3)
        self.entry("e2e", (ended - begun) * 1e3)
