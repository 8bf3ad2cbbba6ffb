# SPDX-License-Identifier: Apache-2.0
"""MLX's own server as the LLM: of another family than llama.cpp's, it has other habits. HTTP/1.0 and comments
in its stream, an error that is but a string, 404 for a model that it cannot load, tokens of its chat template
as text, no limit of its context window."""

import threading

import pytest
from harness import tiny_gguf
from harness.http_client import broke_off, interrupted
from harness.model_servers import LlamaCpp, Mlx, needs_llama_cpp, needs_mlx
from harness.tool_mocks import SEARCH, search, search_env

pytestmark = [needs_mlx, pytest.mark.long]

WORDS = tiny_gguf.words(300)
TEXT = "".join(WORDS)
NO_TOOLS = {"tool_calling_enabled": False}
THREAD = "a-thread-of-its-own"


def discovered(testbed, server, deployment=None, **more):
    backend = testbed.backend({"d1": server.deployment(**(deployment or NO_TOOLS))})
    return testbed.service(backend=backend, **more).wait_ready()


def answered(turn, text=TEXT):
    assert turn.whole, turn.chunks
    assert turn.text == text
    return turn


def test_discovered(testbed):
    service = discovered(testbed, Mlx(testbed, {"answer": WORDS}))
    turn = answered(service.chat("hello"))
    assert turn.stats["tokens_decoded"] >= len(WORDS)
    assert 0 < turn.stats["ttft"] <= turn.stats["total_time"]


def test_container(testbed):
    server = Mlx(testbed, {"answer": WORDS})
    service = testbed.service(env={"LLM_CONTAINER_NAME": f"{server.url}/v1"}).wait_ready()
    answered(service.chat("hello"))
    assert service.ctl("models")["models"][0]["model"] == str(server.directory)


def test_a_model_that_it_cannot_load(testbed):
    """It answers HTTP 404 with its reason; the next LLM is asked."""
    server, other = Mlx(testbed, {"answer": WORDS}), testbed.llm(text=["the other one"])
    backend = testbed.backend({"d1": server.deployment(model_impl={"hf_model_id": "no/such-model"}, **NO_TOOLS),
                               "d2": other.deployment("Qwen3-8B", name="c-d2")})
    service = testbed.service(backend=backend).wait_ready()
    service.wait_status(lambda s: len(s["available_models"]) == 2, "two models")
    service.ctl("select", "d1")
    answered(service.chat("hello"), "the other one")
    service.responder.wait_log("attempt_failed.*status=404")


def test_broken_utf8(testbed):
    service = discovered(testbed, Mlx(testbed), sets=["llm.max_tokens=200"])
    for _ in range(5):
        assert service.chat("hello", THREAD).whole


def test_odd_text_of_a_user(testbed):
    service = discovered(testbed, Mlx(testbed, {"answer": WORDS[:5]}))
    for text in ("\u0000\u0001", "a" * 20000, "\U0001f600\u200d\ufeff", "</s><|answer|><unk>"):
        answered(service.chat(text, THREAD), "w0 w1 w2 w3 w4")


def test_a_call_of_a_tool(testbed):
    searching = search(testbed, all={"results": [{"title": "Pandas", "url": "http://pandas/", "content": "red"}]})
    server = Mlx(testbed, {"answer": tiny_gguf.call(SEARCH, "query", "red ", "pandas"), "result": ["Some", " are", " red", "."]})
    service = discovered(testbed, server, {"tool_calling_enabled": True}, env=search_env(searching))
    turn = service.chat("Which pandas are red?", THREAD)
    assert turn.whole and turn.answer == "Some are red.", turn.chunks
    assert searching.queries() == [("tavily", "red pandas")]
    turn = service.chat("Are you sure?", THREAD)
    assert turn.whole and turn.answer == "Some are red.", turn.chunks


def test_tools_are_offered_and_none_is_called(testbed):
    service = discovered(testbed, Mlx(testbed, {"answer": WORDS}), {"tool_calling_enabled": True})
    answered(service.chat("hello"))


def test_reasoning(testbed):
    server = Mlx(testbed, {"answer": ["<think>", "\nLet", " me", " see.", "\n</think>", "\n\n", "Some", " are", " red."]})
    turn = discovered(testbed, server).chat("Which pandas are red?")
    assert turn.whole and turn.answer.strip() == "Some are red.", turn.chunks
    assert "Let me see." in turn.text


def test_the_longest_answer(testbed):
    service = discovered(testbed, Mlx(testbed, {"answer": WORDS}), sets=["llm.max_tokens=20", "prompts.length_note=[cut]"])
    turn = service.chat("hello")
    assert turn.whole and tiny_gguf.begun(turn.text).split() == TEXT.split()[:20] and "[cut]" in turn.text, turn.chunks


def test_more_turns_than_it_answers_at_once(testbed):
    service = discovered(testbed, Mlx(testbed, {"answer": WORDS[:50]}, ["--decode-concurrency", "2", "--prompt-concurrency", "1"]))
    turns = []
    threads = [threading.Thread(target=lambda: turns.append(service.chat("hello"))) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(turns) == len(threads)
    for turn in turns:
        answered(turn, "".join(WORDS[:50]))


def test_clients_that_leave(testbed):
    """It notices only when it writes; it answers the next one all the same."""
    service = discovered(testbed, Mlx(testbed, {"answer": tiny_gguf.words(1000)}))
    for _ in range(3):
        asked = service.ask("hello")
        next(asked.chunks())
        asked.close()
    answered(service.chat("hello"), "".join(tiny_gguf.words(1000)))


def test_killed_in_mid_stream(testbed):
    server = Mlx(testbed, {"answer": tiny_gguf.words(2000)})
    service = discovered(testbed, server, sets=["llm.max_tokens=5000"])
    turn = interrupted(service.ask("hello"), server.kill)
    said = tiny_gguf.begun(turn.text)
    assert said
    broke_off(turn, said)


@needs_llama_cpp
def test_killed_in_mid_stream_and_continued_by_another_family(testbed):
    words = tiny_gguf.words(2000)
    server, other = Mlx(testbed, {"answer": words}), LlamaCpp(testbed, {"answer": words}, n_ctx=32768)
    backend = testbed.backend({"d1": server.deployment(**NO_TOOLS), "d2": other.deployment("Qwen3-8B", name="c-d2", **NO_TOOLS)})
    service = testbed.service(backend=backend, sets=["llm.max_tokens=5000"]).wait_ready()
    service.wait_status(lambda s: len(s["available_models"]) == 2, "two models")
    service.ctl("select", "d1")
    answered(interrupted(service.ask("hello"), server.kill), "".join(words))
