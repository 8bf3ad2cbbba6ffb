# SPDX-License-Identifier: Apache-2.0
"""Threads that grow beyond the LLM's context window: what of them it is still sent."""

import json

import pytest
from harness.process import wait_until
from harness.tool_mocks import search, search_env

THREAD = "a-thread-of-its-own"
TOO_LONG = "The message is too long for the language model's context window. Please shorten it."
NO_NUMBERS = json.dumps({"error": {"message": "the request exceeds the available context size, try increasing it"}})
ANSWER_TOKENS = 100


def world(testbed, window, **script):
    """An LLM that refuses prompts of more bytes than `window`; the service takes three for a token."""
    script = {"text": ["yes"], "window": window + ANSWER_TOKENS, "max_model_len": 0, **script}
    sets = ["prompts.plain=", "prompts.tools=", f"llm.max_tokens={ANSWER_TOKENS}"]
    return testbed.one(script, {"tool_calling_enabled": False}, sets=sets)


def message(name, size):
    return name.ljust(size, ".")


def users(request):
    """The names of the user's messages that the LLM was sent."""
    return [m["content"].rstrip(".") for m in request["body"]["messages"] if m["role"] == "user"]


def talk(service, count, size):
    for n in range(count):
        assert service.chat(message(f"m{n}", size), THREAD).answer == "yes"


def test_a_prompt_that_is_refused_as_too_long_is_sent_without_the_oldest_turn(testbed):
    service, llm = world(testbed, 1600)
    talk(service, 3, 500)
    llm.forget()
    turn = service.chat(message("now", 500), THREAD)
    assert turn.whole and turn.text == "yes"
    assert [users(r) for r in llm.chats()] == [["m0", "m1", "m2", "now"], ["m1", "m2", "now"]]


def test_more_turns_go_where_the_servers_numbers_ask_for_it(testbed):
    service, llm = world(testbed, 1600)
    talk(service, 4, 300)
    llm.forget()
    turn = service.chat(message("now", 1200), THREAD)
    assert turn.whole and turn.text == "yes"
    assert [users(r) for r in llm.chats()] == [["m0", "m1", "m2", "m3", "now"], ["m3", "now"]]


def test_a_second_refusal_is_reported_and_the_thread_goes_on(testbed):
    service, llm = world(testbed, 1600, body=NO_NUMBERS)
    talk(service, 4, 300)
    llm.forget()
    turn = service.chat(message("now", 1200), THREAD)
    assert turn.whole and turn.text == TOO_LONG
    assert [users(r) for r in llm.chats()] == [["m0", "m1", "m2", "m3", "now"], ["m1", "m2", "m3", "now"]]
    turn = service.chat(message("less", 300), THREAD)
    assert turn.whole and turn.text == "yes"


@pytest.mark.parametrize("body", [None, NO_NUMBERS])
def test_a_message_that_is_too_long_by_itself_is_reported_at_once(testbed, body):
    service, llm = world(testbed, 1600, **({"body": body} if body else {}))
    turn = service.chat(message("now", 1700))
    assert turn.whole and turn.text == TOO_LONG
    assert len(llm.chats()) == 1


def test_the_oldest_turns_leave_whole_when_the_models_window_is_full(testbed):
    """The window is that of /v1/models; a turn is a question, a call, its result and the answer."""
    searching = search(testbed, all={"results": [{"title": "t", "url": "http://h/", "content": "c" * 300}]})
    service, llm = testbed.one({"max_model_len": 2000}, env=search_env(searching), sets=["prompts.tools=", "llm.max_tokens=200"])
    wait_until(lambda: service.ctl("models")["models"][0]["context_length"] == 2000, "its window")
    service.ctl("select", "d1")  # its answer follows a publication of all this
    names = [f"m{n}" for n in range(12)]
    for n, name in enumerate(names):
        assert service.chat(message(name, 300) + "[search]", THREAD).whole
        messages = llm.chats()[-1]["body"]["messages"]
        sent = [m["content"].split(".")[0] for m in messages if m["role"] == "user"]
        assert sent == names[n + 1 - len(sent): n + 1]
        assert [m["role"] for m in messages] == ["user", "assistant", "tool", "assistant"] * (len(sent) - 1) + [
            "user", "assistant", "tool"]
        assert all(m["tool_call_id"] == before["tool_calls"][0]["id"]
                   for before, m in zip(messages, messages[1:]) if m["role"] == "tool")
        assert len(json.dumps(messages)) < (2000 - 200) * 4  # a token is no more than that, on average
    assert 3 <= len(sent) < len(names)


def test_a_larger_window_is_sent_what_a_smaller_one_could_not_hold(testbed):
    """The next LLM has the window that it has, whoever failed before it."""
    small, large = testbed.llm(text=["yes"], max_model_len=1000), testbed.llm(text=["yes"])
    backend = testbed.backend({"d1": small.deployment("Preferred"), "d2": {**large.deployment("Other"), "name": "c-d2"}})
    sets = ["prompts.plain=", "prompts.tools=", "llm.max_tokens=200"]
    service = testbed.service(backend=backend, env={"AGENT_PRIORITY_MODELS": "Preferred"}, sets=sets).wait_ready()
    wait_until(lambda: all(m["context_length"] for m in service.ctl("models")["models"] if m["kind"] == "discovered"), "windows")
    service.ctl("select", "d1")  # its answer follows a publication of all this
    talk(service, 5, 500)
    small.script(status=500)
    assert service.chat(message("now", 500), THREAD).answer == "yes"
    assert users(small.chats()[-1]) == ["m2", "m3", "m4", "now"]
    assert users(large.chats()[-1]) == ["m0", "m1", "m2", "m3", "m4", "now"]


@pytest.mark.parametrize("listed", [2048, 1500, 300])
def test_a_window_no_larger_than_the_longest_answer_is_known_from_the_list_of_models(testbed, listed):
    """The first request asks for an answer of half the window, and is not refused."""
    service, llm = testbed.one({"text": ["yes"], "window": listed, "max_model_len": listed}, {"tool_calling_enabled": False},
                               sets=["prompts.plain="])
    wait_until(lambda: service.ctl("models")["models"][0]["context_length"] == listed, "its window")
    llm.forget()
    assert service.chat("hello").text == "yes"
    assert [r["body"]["max_tokens"] for r in llm.chats()] == [listed // 2]
    assert service.ctl("models")["models"][0]["quirks"] == []


def test_a_window_larger_than_the_longest_answer_leaves_it_as_it_is(testbed):
    service, llm = testbed.one({"text": ["yes"], "max_model_len": 2049}, {"tool_calling_enabled": False})
    wait_until(lambda: service.ctl("models")["models"][0]["context_length"] == 2049, "its window")
    llm.forget()
    assert service.chat("hello").text == "yes"
    assert llm.chats()[-1]["body"]["max_tokens"] == 2048
