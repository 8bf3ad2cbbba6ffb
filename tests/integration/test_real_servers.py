# SPDX-License-Identifier: Apache-2.0
"""LiteLLM's gateway before llama.cpp's server: it passes on requests, chunks and errors in its own words."""

import pytest
from harness import tiny_gguf
from harness.http_client import broke_off, interrupted
from harness.model_servers import LiteLlm, LlamaCpp, needs_litellm, needs_llama_cpp
from harness.tool_mocks import SEARCH, search, search_env

pytestmark = [needs_llama_cpp, needs_litellm, pytest.mark.long]

KEY = "sk-a-key-of-its-own-4711"
WORDS = tiny_gguf.words(300)
TEXT = "".join(WORDS)
THREAD = "a-thread-of-its-own"


def cloud(testbed, model, key=KEY, name=LiteLlm.MODEL, env=None, sets=(), **params):
    """(service, gateway, llama.cpp's server)"""
    server = LlamaCpp(testbed, model, **params)
    gateway = LiteLlm(testbed, server, KEY)
    service = testbed.service(env={"USE_CLOUD_LLM": "true", "CLOUD_CHAT_UI_URL": f"{gateway.url}/v1/chat/completions",
                                   "CLOUD_CHAT_UI_AUTH_TOKEN": key, "CLOUD_MODEL_NAME": name, **(env or {})}, sets=sets)
    return service.wait_ready(), gateway, server


def answered(turn, text=TEXT):
    assert turn.whole and turn.text == text, turn.chunks


def test_a_chat(testbed):
    service, _, _ = cloud(testbed, {"answer": WORDS})
    turn = service.chat("hello")
    answered(turn)
    assert 0 < turn.stats["ttft"] <= turn.stats["total_time"]


def test_broken_utf8(testbed):
    service, _, _ = cloud(testbed, {}, sets=["cloud.max_tokens=200"])
    for _ in range(5):
        assert service.chat("hello", THREAD).whole


def test_a_call_of_a_tool(testbed):
    searching = search(testbed, all={"results": [{"title": "Pandas", "url": "http://pandas/", "content": "red"}]})
    model = {"answer": tiny_gguf.call(SEARCH, "query", "red ", "pandas"), "result": ["Some", " are", " red", "."]}
    service, _, _ = cloud(testbed, model, env=search_env(searching))
    turn = service.chat("Which pandas are red?", THREAD)
    assert turn.whole and turn.answer == "Some are red.", turn.chunks
    assert searching.queries() == [("tavily", "red pandas")]


def test_a_thread_that_outgrows_the_context_window(testbed):
    service, _, _ = cloud(testbed, {"answer": WORDS[:5]}, n_ctx=1024, sets=["prompts.plain=", "prompts.tools="])
    service.chat("first", THREAD)
    for n in range(12):
        answered(service.chat(f"question {n} ".ljust(120, "."), THREAD), "w0 w1 w2 w3 w4")


def test_a_message_that_is_longer_than_the_context_window(testbed):
    service, _, _ = cloud(testbed, {"answer": WORDS[:5]}, n_ctx=1024, sets=["prompts.plain=", "prompts.tools="])
    turn = service.chat("no word of it " * 200, THREAD)
    assert turn.whole and turn.text == "The message is too long for the language model's context window. Please shorten it."
    answered(service.chat("hello", THREAD), "w0 w1 w2 w3 w4")


def test_the_server_behind_it_dies_in_mid_stream(testbed):
    """The gateway ends its answer with an event that has an error."""
    service, _, server = cloud(testbed, {"answer": tiny_gguf.words(3000)}, n_ctx=16384, sets=["cloud.max_tokens=5000"])
    turn = interrupted(service.ask("hello"), server.kill)
    said = tiny_gguf.begun(turn.text)
    assert said
    broke_off(turn, said)


def test_the_server_behind_it_is_gone(testbed):
    service, _, server = cloud(testbed, {"answer": WORDS})
    server.kill()
    broke_off(service.chat("hello"))


@pytest.mark.parametrize("wrong", [{"key": "sk-another-key"}, {"name": "another-model"}])
def test_a_wrong_key_or_model_is_told(testbed, wrong):
    service, _, _ = cloud(testbed, {"answer": WORDS}, **wrong)
    broke_off(service.chat("hello"))
    service.responder.wait_log("attempt_failed.*status=400")
