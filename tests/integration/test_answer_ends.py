# SPDX-License-Identifier: Apache-2.0
"""How an answer ends decides whether it is whole: only the words that mean so are taken for it, and
whatever else ended it is told."""

import json

import pytest
from harness.http_client import broke_off
from harness.llm_script import PLAIN, inline
from harness.process import wait_until

HALF = ["Half of ", "an answer"]
NOTE = "The answer ends here because it reached its limit."
FILTERED = "The content filter of the language model's server stopped the answer. Please ask differently."
FILTERED_AFTER = "The answer ends here because the content filter of the language model's server stopped it."
EMPTY = "The language model gave an empty answer. Please ask again."

WHOLE = ["STOP", "end_turn", "eos", "COMPLETE", "stop_sequence", "eosFound", "FINISH_REASON_STOP", "tool-calls"]
LENGTH = ["length", "LENGTH", "MAX_TOKENS", "model_length", "max_output_tokens", "model_context_window_exceeded", "maxTokens"]
FILTER = ["content_filter", "content-filter", "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII", "refusal", "sensitive",
          "guardrail_intervened", "ERROR_TOXIC"]
BROKEN = ["insufficient_system_resource", "network_error", "cancelled", "MALFORMED_FUNCTION_CALL", "error", "timeout",
          "OTHER", "never heard of it"]


@pytest.fixture(scope="module")
def one(shared):
    return shared.one(sets=["llm.max_tokens=321", f"prompts.length_note={NOTE}"])


def raw(*events, content_type="text/event-stream"):
    """An answer whose events are these bytes or values."""
    body = "".join(f"data: {e if isinstance(e, str) else json.dumps(e)}\n\n" for e in events)
    return inline(raw=f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n{body}")


def chunk(finish=None, **delta):
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


@pytest.mark.parametrize("word", WHOLE)
def test_an_answer_is_whole_by_the_words_that_mean_so(one, word):
    turn = one[0].chat(inline(text=HALF, finish=word))
    assert turn.whole and turn.text == "".join(HALF)


@pytest.mark.parametrize("word", LENGTH)
def test_an_answer_cut_at_a_limit_says_so(one, word):
    turn = one[0].chat(inline(text=HALF, finish=word))
    assert turn.whole and turn.text == "".join(HALF) + "\n\n" + NOTE


@pytest.mark.parametrize("word", FILTER)
def test_a_content_filter_is_told(one, word):
    service, llm = one
    turn = service.chat(inline(text=HALF, finish=word))
    assert turn.whole and turn.text == "".join(HALF) + "\n\n" + FILTERED_AFTER
    turn = service.chat(inline(text=[], finish=word))
    assert turn.whole and turn.text == FILTERED
    assert "ejected" not in service.status()


def test_no_llm_is_asked_to_get_around_a_content_filter(testbed):
    service, a, b = testbed.two({"text": [], "finish": "content_filter"})
    assert service.chat("[plain]").text == FILTERED
    a.script(text=HALF, finish="SAFETY")
    assert service.chat("[plain]").text == "".join(HALF) + "\n\n" + FILTERED_AFTER
    assert len(a.chats()) == 2 and not b.chats()
    assert "ejected" not in service.status()


@pytest.mark.parametrize("word", BROKEN)
def test_any_other_word_breaks_the_answer_off(one, word):
    """Without another LLM it says so, and the word is in the log."""
    turn = one[0].chat(inline(text=HALF, finish=word))
    broke_off(turn, "".join(HALF))
    one[0].responder.wait_log(f'attempt_failed .*result=cut .*finish_reason .*{word}')


@pytest.mark.parametrize("finish", [7, True, ["stop"], {"reason": "stop"}, {}])
def test_a_finish_reason_that_is_no_word_breaks_it_off(one, finish):
    turn = one[0].chat(raw(chunk(content="Half of an answer"), chunk(finish), "[DONE]"))
    broke_off(turn, "Half of an answer")


@pytest.mark.parametrize("finish", [None, "", False])
def test_without_a_finish_reason_done_is_the_end(one, finish):
    turn = one[0].chat(raw(chunk(content="All of it."), chunk(finish), "[DONE]"))
    assert turn.whole and turn.text == "All of it."


def test_an_answer_that_is_not_streamed_is_read(one):
    whole = {"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": "All of it."},
                                                       "finish_reason": "stop"}], "usage": {"completion_tokens": 4}}
    for body in (json.dumps(whole), "\n" + json.dumps(whole, indent=1)):
        raw = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        turn = one[0].chat(inline(raw=raw))
        assert turn.whole and turn.text == "All of it." and turn.stats["tokens_decoded"] == 4


def test_a_native_finish_reason_is_not_the_servers(one):
    last = chunk("error")
    last["choices"][0]["native_finish_reason"] = "stop"
    broke_off(one[0].chat(raw(chunk(content="Half"), last, "[DONE]")), "Half")
    last = chunk("stop")
    last["choices"][0]["native_finish_reason"] = "SOMETHING_NEW"
    turn = one[0].chat(raw(chunk(content="Whole."), last, "[DONE]"))
    assert turn.whole and turn.text == "Whole."


@pytest.mark.parametrize("word", ["insufficient_system_resource", "MALFORMED_FUNCTION_CALL", "nobody_knows"])
def test_another_llm_goes_on_after_an_unknown_end(testbed, word):
    words = "".join(f"w{n} " for n in range(30))
    a = testbed.llm(token="w# ", numbered=True, tokens=12, finish=word)
    b = testbed.llm(token="w# ", numbered=True, tokens=30)
    backend = testbed.backend({"d1": a.deployment("Preferred"), "d2": {**b.deployment("Other"), "name": "c-d2"}})
    service = testbed.service(backend=backend, env={"AGENT_PRIORITY_MODELS": "Preferred"}).wait_ready()
    wait_until(lambda: all(m["context_length"] for m in service.ctl("models")["models"] if m["kind"] == "discovered"), "both")
    service.ctl("select", "d1")
    turn = service.chat("tell me")
    assert turn.whole and turn.text == words
    assert b.chats()[-1]["body"]["messages"][-1]["role"] == "assistant"


@pytest.mark.parametrize("word", ["network_error", "cancelled"])
def test_another_llm_answers_after_an_unknown_end_without_text(testbed, word):
    service, a, b = testbed.two({"text": [], "finish": word})
    turn = service.chat("[plain]")
    assert turn.whole and turn.text == PLAIN and len(b.chats()) == 1
    status = service.wait_status(lambda s: "ejected" in s, "it is ejected")
    assert word in status["ejected"][0]["reason"]


@pytest.mark.parametrize("finish", ["length", "MAX_TOKENS"])
@pytest.mark.parametrize("reasoning", [["Let me ", "think"], None])
def test_reasoning_that_used_up_the_limit_names_it(one, finish, reasoning):
    knobs = {"reasoning": reasoning} if reasoning else {}
    turn = one[0].chat(inline(text=[], finish=finish, **knobs))
    assert turn.whole and "321 tokens (llm.max_tokens)" in turn.text, turn.text
    assert turn.text.startswith("<think>Let me think</think>" if reasoning else "The language model used up")


@pytest.mark.parametrize("first", [
    {"text": []},
    {"text": ["\n", " "]},
    {"text": [], "finish": ""},
    {"text": [], "finish": "tool_calls"},
    {"raw": "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n"},
    {"raw": "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 14\r\n\r\ndata: [DONE]\n\n"},
])
def test_an_empty_answer_is_told_only_once_others_were_asked(testbed, first):
    service, a, b = testbed.two(first)
    turn = service.chat("hello")
    assert turn.whole and turn.text.strip() == PLAIN
    assert len(a.chats()) == 1 and len(b.chats()) == 1
    b.script(text=[])
    a.script(text=[])
    turn = service.chat("hello")
    assert turn.whole and turn.text == EMPTY
    assert len(b.chats()) == 2


def test_an_empty_answer_is_no_fault(testbed):
    service, _ = testbed.one({"text": []})
    assert service.chat("hello").text == EMPTY
    assert "ejected" not in service.status()
