"""langchain's published standard tests (langchain-tests) of its chat models, against the server at FAKEAI."""

import os

from langchain_anthropic import ChatAnthropic
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

URL = os.environ["FAKEAI"]


class TestOpenAI(ChatModelIntegrationTests):
    chat_model_class = property(lambda self: ChatOpenAI)
    chat_model_params = property(lambda self: {"model": "gpt-4o", "base_url": f"{URL}/v1", "api_key": "any", "stream_usage": True})
    supports_json_mode = property(lambda self: True)


class TestAnthropic(ChatModelIntegrationTests):
    chat_model_class = property(lambda self: ChatAnthropic)
    chat_model_params = property(lambda self: {"model": "claude-any", "base_url": URL, "api_key": "any"})


class TestOllama(ChatModelIntegrationTests):
    chat_model_class = property(lambda self: ChatOllama)
    chat_model_params = property(lambda self: {"model": "llama-any", "base_url": URL})
    supports_json_mode = property(lambda self: True)
    # Ollama's API has no such parameter.
    has_tool_choice = property(lambda self: False)
