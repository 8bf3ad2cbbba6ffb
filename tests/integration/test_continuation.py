# SPDX-License-Identifier: Apache-2.0
"""An answer that breaks off is continued by another LLM, from where its text stopped."""

import pytest
from harness.process import wait_until

TOKENS = 40
WORDS = "".join(f"w{n} " for n in range(TOKENS))
BROKE_OFF = "broke off"


def two(testbed, first, second, **more):
    """A service whose preferred LLM misbehaves as `first` says; (service, first, second)."""
    script = {"token": "w# ", "numbered": True, "tokens": TOKENS}
    a, b = testbed.llm(**{**script, **first}), testbed.llm(**{**script, **second})
    backend = testbed.backend({"d1": a.deployment("Preferred"), "d2": {**b.deployment("Other"), "name": "c-d2"}})
    service = testbed.service(backend=backend, env={"AGENT_PRIORITY_MODELS": "Preferred"}, **more).wait_ready()
    known = lambda: all(m["context_length"] for m in service.ctl("models")["models"] if m["kind"] == "discovered")
    wait_until(known, "what both LLMs tell of themselves", 20)
    service.ctl("select", "d1")  # its answer follows a publication of all this
    return service, a, b


@pytest.mark.parametrize("fault", ["cut_after", "reset_after", "error_after"])
@pytest.mark.parametrize("after", [1, 2, 17, TOKENS - 1])
def test_no_word_is_lost_or_doubled(testbed, fault, after):
    service, _, other = two(testbed, {fault: after}, {})
    turn = service.chat("tell me")
    assert turn.whole
    assert turn.text == WORDS
    body = other.chats()[-1]["body"]
    assert body["continue_final_message"] is True and body["add_generation_prompt"] is False
    last = body["messages"][-1]
    assert last["role"] == "assistant" and last["content"] and WORDS.startswith(last["content"])
    if fault != "reset_after":  # a reset discards what was on its way
        assert last["content"] == "".join(f"w{n} " for n in range(after)).rstrip()


def test_the_whole_answer_is_remembered_as_one(testbed):
    service, _, other = two(testbed, {"cut_after": 5}, {})
    assert service.chat("first", "a-thread-of-its-own").text == WORDS
    service.chat("second", "a-thread-of-its-own")
    remembered = other.chats()[-1]["body"]["messages"]
    assert [m["content"] for m in remembered if m["role"] != "system"][:3] == ["first", WORDS, "second"]


def test_an_llm_that_cannot_go_on_is_not_asked_to(testbed):
    """It would begin its answer again, and the user would read words twice."""
    service, _, other = two(testbed, {"cut_after": 5}, {"continues": False})
    turn = service.chat("tell me")
    assert turn.whole
    assert turn.text.startswith("w0 w1 w2 w3 w4") and BROKE_OFF in turn.text
    assert not other.chats()


def test_it_can_be_switched_off(testbed):
    service, _, other = two(testbed, {"cut_after": 5}, {}, sets=["llm.continue=false"])
    turn = service.chat("tell me")
    assert turn.whole and BROKE_OFF in turn.text
    assert not other.chats()


def test_when_the_second_breaks_off_too_it_is_said(testbed):
    service, _, _ = two(testbed, {"cut_after": 5}, {"cut_after": 3})
    turn = service.chat("tell me")
    assert turn.whole
    assert turn.text.startswith("w0 w1 w2 w3 w4") and BROKE_OFF in turn.text
    assert turn.text.count("w0 ") == 1


def test_the_started_answer_takes_room_of_the_context_window(testbed):
    """The oldest turns leave for it: a refusal would end the answer. The mock counts bytes, the service
    three of them for a token."""
    words = [f"w{n}".ljust(89, ".") + " " for n in range(10)]
    asked = lambda name: name.ljust(500, ".")
    sets = ["prompts.plain=", "prompts.tools=", "llm.max_tokens=200"]
    knobs = {"max_model_len": 1000, "tokens": 0, "numbered": False}
    service, first, other = two(testbed, {**knobs, "text": ["yes"]}, {**knobs, "text": words, "window": 2600}, sets=sets)
    for n in range(3):
        assert service.chat(asked(f"m{n}"), "a-thread-of-its-own").text == "yes"
    first.script(**knobs, text=words, cut_after=9)
    turn = service.chat(asked("now"), "a-thread-of-its-own")
    assert turn.whole and turn.text == "".join(words)
    users = lambda request: [m["content"].rstrip(".") for m in request["body"]["messages"] if m["role"] == "user"]
    assert users(first.chats()[-1]) == ["m0", "m1", "m2", "now"]
    assert users(other.chats()[-1]) == ["m2", "now"]


@pytest.mark.parametrize("finish", ["abort", "error"])
def test_an_answer_that_the_server_gave_up_goes_on(testbed, finish):
    service, _, other = two(testbed, {"tokens": 3, "finish": finish}, {})
    assert service.chat("tell me").text == WORDS
    assert other.chats()[-1]["body"]["messages"][-1]["content"] == "w0 w1 w2"
