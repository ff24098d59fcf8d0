"""A pytest plugin for the SDKs' own tests: takes out of requests what their providers refuse or fakeai does not have, to see what is behind."""

import importlib

MENDED = {
    "best_of": lambda value: max(value, 1),
    "max_completion_tokens": lambda value: max(value, 1),
    "max_tokens": lambda value: max(value, 1),
    "max_tool_calls": lambda value: max(value, 1),
    "background": lambda value: False,
}
LEFT_OUT = {"functions", "function_call", "previous_response_id"}
ASKED_FOR = {"/responses": {"model": "gpt-5", "input": "Hi"}, "/responses/input_tokens": {"model": "gpt-5", "input": "Hi"}}


def mended(path, body):
    body = {name: MENDED.get(name, lambda value: value)(value) for name, value in body.items() if name not in LEFT_OUT}
    if not body.get("stream"):
        body.pop("stream_options", None)
    if path.startswith("/v1/messages") and "tools" in body:
        body["tools"] = [{**tool, "input_schema": {"type": "object"}} if "input_schema" in tool else tool for tool in body["tools"]]
    return {**ASKED_FOR.get(path, {}), **body}


def patch(sdk):
    client = importlib.import_module(f"{sdk}._base_client").BaseClient
    build = client._build_request

    def build_mended(self, options, **others):
        if isinstance(options.json_data, dict):
            options.json_data = mended(options.url.split("?")[0], options.json_data)
        return build(self, options, **others)

    client._build_request = build_mended


for sdk in ("openai", "anthropic"):
    patch(sdk)
