# SPDX-License-Identifier: Apache-2.0
"""A prompt that does not fit the context window, in the words of all kinds of servers and at any status: the oldest
turns go, then the middle of what this turn's tools brought, and it is never held against the LLM."""

import json
import re

import pytest
from harness.process import wait_until
from harness.tool_mocks import search, search_env

THREAD = "a-thread-of-its-own"
TOO_LONG = "The message is too long for the language model's context window. Please shorten it."
ANSWER_TOKENS = 100
WINDOW = 1600


def error(message, **more):
    return {"error": {"message": message, **more}}


BODIES = {
    "code alone": error("Please shorten it.", code="context_length_exceeded"),
    "type alone": error("no", type="exceed_context_size_error", code=400),
    "Groq": error("Please reduce the length of the messages or completion.", code="context_length_exceeded"),
    "SGLang": error("The input (12345 tokens) is longer than the model's context length (8192 tokens)."),
    "SGLang, newer": error("Input length (700001 tokens) exceeds the maximum allowed length (536826 tokens)."),
    "llama.cpp": error("request (1700 tokens) exceeds the available context size (1600 tokens), try increasing it", code=400),
    "LM Studio": {"error": "Trying to keep the first 4656 tokens when context the overflows. However, the model is loaded with "
                           "context length of only 4096 tokens, which is not enough."},
    "Ollama": {"error": "prompt too long; exceeded max context length by 12 tokens"},
    "Gemini": [error("The input token count (1700) exceeds the maximum number of tokens allowed (1600).", code=400)],
    "Anthropic": {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}},
    "Bedrock": {"message": "Input is too long for requested model."},
    "DashScope": error("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 1600]"),
    "LiteLLM": error('litellm.BadRequestError: OpenAIException - {"error":{"message":"x","code":"context_length_exceeded"}}'),
    "OpenRouter": error("Provider returned error", code=400,
                        metadata={"raw": json.dumps(error("This endpoint's maximum context length is 1600 tokens."))}),
}


def world(testbed, **script):
    """An LLM that refuses prompts of more bytes than WINDOW; the service takes three for a token."""
    script = {"text": ["yes"], "window": WINDOW + ANSWER_TOKENS, "max_model_len": 0, **script}
    sets = ["prompts.plain=", "prompts.tools=", f"llm.max_tokens={ANSWER_TOKENS}", "llm.context=0"]
    return testbed.one(script, {"tool_calling_enabled": False}, sets=sets)


@pytest.fixture(scope="module")
def small(shared):
    return world(shared)


def message(name, size):
    return name.ljust(size, ".")


def users(request):
    """The names of the user's messages that the LLM was sent."""
    return [m["content"].rstrip(".") for m in request["body"]["messages"] if m["role"] == "user"]


def the_oldest_turn_goes(service, llm, thread):
    for n in range(3):
        assert service.chat(message(f"m{n}", 500), thread).answer == "yes"
    llm.forget()
    turn = service.chat(message("now", 500), thread)
    assert turn.whole and turn.text == "yes"
    asked = [users(r) for r in llm.chats()]
    assert asked[0] == ["m0", "m1", "m2", "now"] and len(asked) == 2 and asked[1][-1] == "now" and "m0" not in asked[1]
    assert "ejected" not in service.status() and not re.search("WARNING ejected ", service.daemon.log())


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("status", [400, 413, 500])
def test_the_oldest_turn_goes_whatever_the_words_and_the_status(small, kind, status):
    service, llm = small
    llm.script(text=["yes"], window=WINDOW + ANSWER_TOKENS, max_model_len=0, body=json.dumps(BODIES[kind]), window_status=status)
    the_oldest_turn_goes(service, llm, f"{kind} {status}")


@pytest.mark.parametrize("kind", BODIES)
def test_the_oldest_turn_goes_after_an_error_in_the_stream(small, kind):
    service, llm = small
    llm.script(text=["yes"], window=WINDOW + ANSWER_TOKENS, max_model_len=0, error_event=BODIES[kind], window_status=200)
    the_oldest_turn_goes(service, llm, f"{kind} in the stream")


def test_a_limit_of_tokens_a_minute_is_no_overflow(small):
    service, llm = small
    body = json.dumps(error("Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 12328, please "
                            "reduce your message size and try again.", code="rate_limit_exceeded"))
    llm.script(text=["yes"], window=WINDOW + ANSWER_TOKENS, max_model_len=0, body=body, window_status=413)
    for n in range(3):
        assert service.chat(message(f"m{n}", 500), "tpm").answer == "yes"
    llm.forget()
    assert service.chat(message("now", 500), "tpm").text == "The language model is busy right now. Please try again in a moment."
    assert len(llm.chats()) == 1


# --- tools ---

def searching(testbed, window, size, results, **script):
    found = [{"title": f"t{n}", "url": f"http://h/{n}", "content": "a" * (size // 2) + "z" * (size // 2)} for n in range(results)]
    mock = search(testbed, all={"results": found})
    sets = ["prompts.plain=", "prompts.tools=", f"llm.max_tokens={ANSWER_TOKENS}", "llm.context=0"]
    script = {"window": window + ANSWER_TOKENS, "max_model_len": 0, **script}
    return testbed.one(script, env=search_env(mock), sets=sets)


def tool_results(request):
    return [m["content"] for m in request["body"]["messages"] if m["role"] == "tool"]


@pytest.mark.parametrize("body", [None, error("prompt is too long"), error("The input (2400 tokens) is longer than the model's "
                                                                          "context length (1700 tokens).")])
def test_results_that_overflow_are_cut_and_say_so(testbed, body):
    service, llm = searching(testbed, 1600, 700, 4, **({"body": json.dumps(body)} if body else {}))
    turn = service.chat("[search]")
    assert turn.whole and "Hello, world!" in turn.text, turn.text
    sent = [tool_results(r) for r in llm.chats()]
    whole, cut = sent[1][0], sent[-1][0]
    assert len(whole) > 2000 and len(cut) < 1600
    assert re.search(r"\n\[\.\.\. \d+ bytes of this result are left out here, because it does not fit the context window \.\.\.\]\n", cut)
    head, tail = cut.split("\n[... ")[0], cut.split(" ...]\n")[1]
    assert whole.startswith(head) and whole.endswith(tail) and len(head) > len(tail) > 0
    assert "ejected" not in service.status()


def test_several_results_share_what_there_is(testbed):
    service, llm = searching(testbed, 1600, 700, 4)
    turn = service.chat("[search2]")
    assert turn.whole and "Hello, world!" in turn.text, turn.text
    cut = tool_results(llm.chats()[-1])
    assert len(cut) == 2 and abs(len(cut[0]) - len(cut[1])) < 50 and sum(map(len, cut)) < 1600


def test_old_turns_go_before_results_are_cut(testbed):
    """Where the results fit without them, they stay whole."""
    service, llm = searching(testbed, 1600, 700, 1, text=["yes"])
    for n in range(2):
        assert service.chat(message(f"m{n}", 500), THREAD).answer == "yes"
    llm.forget()
    assert service.chat("[search]", THREAD).whole
    last = llm.chats()[-1]
    assert users(last) == ["m1", "[search]"] or users(last) == ["[search]"]
    assert "left out" not in tool_results(last)[0]


def test_what_no_cut_makes_fit_is_told(testbed):
    service, llm = searching(testbed, 200, 700, 4)
    turn = service.chat("[search]")
    assert turn.whole and turn.text.endswith(TOO_LONG), turn.text
    assert len(llm.chats()) <= 5


def test_another_llm_may_have_a_larger_window(testbed):
    small = testbed.llm(text=["small"], window=700, max_model_len=0)
    large = testbed.llm(text=["large"], max_model_len=0)
    backend = testbed.backend({"d1": small.deployment("Preferred"), "d2": {**large.deployment("Other"), "name": "c-d2"}})
    sets = ["prompts.plain=", "prompts.tools=", f"llm.max_tokens={ANSWER_TOKENS}"]
    service = testbed.service(backend=backend, env={"AGENT_PRIORITY_MODELS": "Preferred"}, sets=sets).wait_ready()
    wait_until(lambda: len(service.status()["available_models"]) == 2, "both")
    service.ctl("select", "d1")
    assert service.chat(message("short", 300)).text == "small"
    assert service.chat(message("long", 900)).text == "large"
    assert service.chat(message("short", 300)).text == "small"
