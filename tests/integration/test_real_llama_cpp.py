# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's own server as the LLM."""

import threading

import pytest
from harness import tiny_gguf
from harness.http_client import broke_off, interrupted
from harness.model_servers import LlamaCpp, needs_llama_cpp
from harness.process import wait_until
from harness.tool_mocks import SEARCH, search, search_env

pytestmark = needs_llama_cpp

WORDS = tiny_gguf.words(300)
TEXT = "".join(WORDS)
NO_TOOLS = {"tool_calling_enabled": False}
THREAD = "a-thread-of-its-own"


def counting(testbed, count=300, **params):
    """An LLM that says w0 w1 w2 ..."""
    return LlamaCpp(testbed, {"answer": tiny_gguf.words(count)}, **params)


def discovered(testbed, server, deployment=None, **more):
    backend = testbed.backend({"d1": server.deployment(**(deployment or NO_TOOLS))})
    return testbed.service(backend=backend, **more).wait_ready()


def answered(turn, text=TEXT):
    assert turn.whole, turn.chunks
    assert turn.text == text
    return turn


# --- how it is found ---


def test_discovered(testbed):
    service = discovered(testbed, counting(testbed))
    turn = answered(service.chat("hello"))
    assert turn.stats["tokens_decoded"] == len(WORDS) + 1  # its last token ends the answer
    assert 0 < turn.stats["ttft"] <= turn.stats["total_time"]


@pytest.mark.parametrize("address", ["{host}", "http://{host}/v1", "http://{host}/v1/chat/completions"])
def test_container(testbed, address):
    server = counting(testbed)
    service = testbed.service(env={"LLM_CONTAINER_NAME": address.format(host=server.host)})
    answered(service.wait_ready().chat("hello"))


def test_local_host(testbed):
    host, port = counting(testbed).host.rsplit(":", 1)
    service = testbed.service(env={"LOCAL_LLM_HOST": host, "LOCAL_LLM_PORT": port})
    answered(service.wait_ready().chat("hello"))


def test_an_endpoint_for_completions(testbed):
    server = counting(testbed)
    service = discovered(testbed, server, {**NO_TOOLS, "internal_url": f"{server.host}/v1/completions"})
    turn = service.chat("so w5")
    assert turn.whole and turn.text == "".join(WORDS[6:])


def test_its_key_as_a_cloud_llm(testbed):
    server = counting(testbed, api_keys=["a-key-of-its-own"])
    service = testbed.service(env={"USE_CLOUD_LLM": "true", "CLOUD_CHAT_UI_URL": f"{server.url}/v1/chat/completions",
                                   "CLOUD_CHAT_UI_AUTH_TOKEN": "a-key-of-its-own"})
    answered(service.wait_ready().chat("hello"))


def test_a_key_that_it_does_not_accept(testbed):
    """Its /health needs none: only a turn shows it."""
    service = discovered(testbed, counting(testbed, api_keys=["a-key-of-its-own"]))
    broke_off(service.chat("hello"))
    service.daemon.wait_log("HTTP 401: the token is not accepted")


def test_one_that_still_loads_its_model(testbed):
    """Its /health answers 503 until then."""
    backend = testbed.backend()
    service = testbed.service(backend=backend, sets=["polling.interval=1", "health.interval=1"])
    server = LlamaCpp(testbed, {"answer": WORDS, "padding": 5_000_000}, wait=False)
    backend.deploy(d1=server.deployment(**NO_TOOLS))
    service.ctl("refresh", ok=False)
    service.daemon.wait_log("the model is loading")
    answered(service.wait_ready().chat("hello"))


# --- what it says ---


def test_broken_utf8(testbed):
    """Its noise is bytes that are no characters. Turn itself refuses what is not UTF-8."""
    service = discovered(testbed, LlamaCpp(testbed), sets=["llm.max_tokens=200"])
    for _ in range(10):
        turn = service.chat("hello", THREAD)
        assert turn.whole and turn.stats["tokens_decoded"] > 0


def test_a_call_of_a_tool(testbed):
    searching = search(testbed, all={"results": [{"title": "Pandas", "url": "http://pandas/", "content": "red"}]})
    server = LlamaCpp(testbed, {"answer": tiny_gguf.call(SEARCH, "query", "red ", "pandas"), "result": ["Some", " are", " red", "."]})
    service = discovered(testbed, server, {"tool_calling_enabled": True}, env=search_env(searching))
    turn = service.chat("Which pandas are red?", THREAD)
    assert turn.whole and turn.answer == "Some are red.", turn.chunks
    assert "Searching: red pandas\nSource: [Pandas](http://pandas/)\n" in turn.text
    assert searching.queries() == [("tavily", "red pandas")]
    turn = service.chat("Are you sure?", THREAD)  # the call and its result are part of the thread now
    assert turn.whole and turn.answer == "Some are red.", turn.chunks


def test_tools_are_offered_and_none_is_called(testbed):
    service = discovered(testbed, counting(testbed), {"tool_calling_enabled": True})
    turn = service.chat("hello")
    assert turn.whole and turn.text.split() == TEXT.split()


def test_tools_are_offered_to_one_that_takes_none(testbed):
    """It answers HTTP 500 `tools param requires --jinja flag`: it is asked again without them, and that is remembered."""
    server = counting(testbed, use_jinja=False, chat_template="chatml")  # one that it knows without jinja
    service = discovered(testbed, server, {"tool_calling_enabled": True})
    assert service.chat("hello").stats["tokens_decoded"] > 0
    wait_until(lambda: service.ctl("models")["models"][0]["tools"] is False, "what it refused is remembered")
    assert service.ctl("models")["models"][0]["status"] == "healthy"
    assert service.chat("hello").stats["tokens_decoded"] > 0
    assert service.responder.log().count("requires --jinja flag") == 1


def test_reasoning(testbed):
    server = LlamaCpp(testbed, {"answer": ["<think>", "\nLet", " me", " see.", "\n</think>", "\n\n", "Some", " are", " red."]})
    turn = discovered(testbed, server).chat("Which pandas are red?")
    assert turn.whole and turn.answer.strip() == "Some are red.", turn.chunks
    assert turn.text.startswith("<think>") and "Let me see." in turn.text


# --- its context window ---


def test_a_thread_that_outgrows_its_context_window(testbed):
    """It refuses the prompt; the oldest turns are left out."""
    service = discovered(testbed, counting(testbed, 5, n_ctx=256), sets=["prompts.plain="])
    for n in range(20):
        answered(service.chat(f"question {n} ".ljust(60, "."), THREAD), "w0 w1 w2 w3 w4")


def test_a_message_that_is_longer_than_its_context_window(testbed):
    service = discovered(testbed, counting(testbed, 5, n_ctx=256), sets=["prompts.plain="])
    turn = service.chat("no word of it " * 100, THREAD)
    assert turn.whole and turn.text == "The message is too long for the language model's context window. Please shorten it."
    answered(service.chat("hello", THREAD), "w0 w1 w2 w3 w4")


# --- many turns, and its end ---


def test_more_turns_than_slots(testbed):
    service = discovered(testbed, counting(testbed, n_parallel=1))
    turns = []
    threads = [threading.Thread(target=lambda: turns.append(service.chat("hello"))) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(turns) == len(threads)
    for turn in turns:
        answered(turn)


LONG = 2000


@pytest.mark.parametrize("others", [0, 1])
def test_killed_in_mid_stream(testbed, others):
    """What was said stays, and it is said that the answer ends there, or another one continues it."""
    servers = [counting(testbed, LONG, n_ctx=16384) for _ in range(1 + others)]
    backend = testbed.backend({f"d{n}": s.deployment(f"Model-{n}", name=f"c-{n}", **NO_TOOLS) for n, s in enumerate(servers)})
    service = testbed.service(backend=backend, env={"AGENT_PRIORITY_MODELS": "Model-0"}, sets=["llm.max_tokens=5000"]).wait_ready()
    service.wait_status(lambda s: len(s["available_models"]) == len(servers), "all of them")
    service.ctl("select", "d0")
    turn = interrupted(service.ask("hello"), servers[0].kill)
    if others:
        answered(turn, "".join(tiny_gguf.words(LONG)))
        service.responder.wait_log("attempt_failed")
        return
    said = tiny_gguf.begun(turn.text)
    assert said
    broke_off(turn, said)


def test_started_again_on_another_port(testbed):
    server = counting(testbed)
    backend = testbed.backend({"d1": server.deployment(**NO_TOOLS)})
    service = testbed.service(backend=backend, sets=["discovery.interval=1", "polling.interval=1", "health.interval=1"]).wait_ready()
    answered(service.chat("hello", THREAD))
    server.kill()
    broke_off(service.chat("hello", THREAD))
    again = LlamaCpp(testbed, server.model)
    backend.deploy(d1=again.deployment(**NO_TOOLS))
    service.wait_status(lambda s: s["current_llm"] and s["current_llm"]["server_url"].startswith(again.url), "its new address")
    wait_until(lambda: service.chat("hello", THREAD).text == TEXT, "an answer")
