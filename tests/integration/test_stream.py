# SPDX-License-Identifier: Apache-2.0
"""The stream of a chat turn: every way in which an LLM may cut, number or break its events."""

import json
import re

import httpx
import pytest

from harness.load import many_turns
from harness.tt_studio_reader import read_like_tt_studio

PLAIN = "Hello, world! Grüße 😀\nBye."
PIECES = ["Hello", ",", " world", "!", " Grüße", " 😀", "\nBye", "."]
SENTENCE = r"[A-Z][^\n]+\."


@pytest.fixture(scope="module")
def one(shared):
    return shared.one()


def inline(**knobs):
    return "[[" + json.dumps(knobs) + "]]"


@pytest.mark.parametrize("marker", ["[plain]", "[ptag]", "[null]", "[comment]", "[crlf]", "[coalesce]", "[split]"])
def test_every_form_of_stream_gives_the_whole_text(one, marker):
    turn = one[0].chat(marker)
    assert turn.whole and turn.text == PLAIN, turn.chunks


FORMS = {
    "cr": {"line_end": "cr"},
    "no role chunk": {"role": False},
    "no [DONE]": {"done": False},
    "no finish_reason": {"finish": ""},
    "no usage": {"usage": "none"},
    "usage at the end": {"usage": "last"},
    "usage in every event": {"usage": "each"},
    "huge line": {"huge": 3000000},
    "an event that is no JSON": {"bad_after": 2},
    "an event that is no object": {"bad_after": 2, "bad_event": "17"},
    "Content-Length": {"framing": "length"},
    "until the connection closes": {"framing": "close"},
    "another content type": {"content_type": "text/plain"},
    "all tokens at once": {"tokens_per_write": 100},
    "byte by byte": {"pieces": 1},
    "comments, CRLF, 3 bytes": {"comments": True, "line_end": "crlf", "pieces": 3},
}


@pytest.mark.parametrize("form", FORMS)
def test_unusual_streams_give_the_whole_text(one, form):
    turn = one[0].chat(inline(**FORMS[form]))
    assert turn.whole and turn.text == PLAIN, turn.chunks


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "thinking"])
def test_reasoning_is_shown_as_reasoning_whatever_its_field(one, field):
    turn = one[0].chat(inline(reasoning=["Let me ", "think."], reasoning_field=field))
    assert turn.text == f"<think>Let me think.</think>{PLAIN}"
    assert "</think>" in [c.strip() for c in turn.chunks], turn.chunks


def test_reasoning_in_the_content_is_shown_as_reasoning(one):
    turn = one[0].chat(inline(text=["<th", "ink>Let me", " think.</thi", "nk>", *PIECES]))
    assert turn.text == f"<think>Let me think.</think>{PLAIN}"


def test_tags_in_a_reasoning_field_do_not_end_the_reasoning(one):
    turn = one[0].chat(inline(reasoning=["<th", "ink>Let me</thi", "nk> think."]))
    assert turn.text == f"<think>Let me think.</think>{PLAIN}"


def test_reasoning_that_the_prompt_opened_is_not_remembered(one):
    service, llm = one
    turn = service.chat(inline(text=["Let me think.\n</th", "ink>\n\n", *PIECES]), "reasoning-unopened")
    assert turn.whole and turn.text == "Let me think.\n\n" + PLAIN
    service.chat("[plain] again", "reasoning-unopened")
    assert [m["content"] for m in llm.chats()[-1]["body"]["messages"] if m["role"] == "assistant"] == [PLAIN]


def test_reasoning_that_the_prompt_opened_is_no_answer(one):
    turn = one[0].chat(inline(text=["Let me think.</think>\n"]))
    assert re.fullmatch("Let me think.\n\n" + SENTENCE, turn.text), turn.text


BREAKS = {
    "error event": {"error_after": 3},
    "cut": {"cut_after": 3},
    "reset": {"reset_after": 3},
    "cut without chunked": {"cut_after": 3, "framing": "length"},
}


@pytest.mark.parametrize("fault", BREAKS)
def test_an_answer_that_breaks_off_says_so(one, fault):
    turn = one[0].chat(inline(**BREAKS[fault]))
    assert turn.whole, turn.chunks
    assert re.fullmatch("Hello, world\n\n" + SENTENCE, turn.text), turn.text


BEFORE = {
    "404": {"status": 404},
    "500": {"status": 500},
    "401": {"status": 401},
    "400": {"status": 400},
    "error event": {"error_after": 0},
    "cut": {"cut_after": 0},
    "reset": {"reset_after": 0},
    "no HTTP": {"raw": "gibberish\r\n\r\n"},
}


@pytest.mark.parametrize("fault", BEFORE)
def test_a_failure_before_the_first_word_is_reported_in_a_sentence(one, fault):
    turn = one[0].chat(inline(**BEFORE[fault]))
    assert turn.whole and turn.status == 200
    # One line; a refusal may end with the model's own words.
    assert re.fullmatch(r"[A-Z][^\n]+(\.|: scripted)", turn.text), turn.text
    assert turn.stats["ttft"] is None and turn.stats["tokens_decoded"] == 0


LENGTH_NOTE = "The answer ends here because it reached its limit."


def test_an_answer_that_reaches_its_limit_says_so_where_that_is_wanted(testbed):
    sets = ["llm.max_tokens=5", f"prompts.length_note={LENGTH_NOTE}"]
    service, llm = testbed.one({"token": "w ", "tokens": 8, "length_limit": True}, sets=sets)
    turn = service.chat("first", "a-thread-of-its-own")
    assert turn.whole and turn.text == "w w w w w \n\n" + LENGTH_NOTE
    # What reaches none has no note, and the note is not part of the answer.
    assert service.chat(inline(tokens=2), "a-thread-of-its-own").text == "w w "
    assert [m["content"] for m in llm.chats()[-1]["body"]["messages"] if m["role"] == "assistant"] == ["w w w w w "]


def test_an_answer_that_reaches_its_limit_has_no_note_by_default(one):
    assert one[0].chat(inline(finish="length")).text == PLAIN


def test_the_waiting_reply_can_be_the_sentence_alone(testbed):
    service = testbed.service(sets=["polling.waiting_reply=text"])
    answer = service.http.post("/poll_requests", json={"message": "hello", "thread_id": "7"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "Agent is still initializing, waiting for LLM to become available..."


def test_the_statistics_tell_the_servers_count_of_tokens(one):
    turn = one[0].chat(inline(tokens=50, tokens_per_write=10, delay_us=2000, first_delay_us=20000))
    assert turn.stats["tokens_decoded"] == 50
    assert 0.02 <= turn.stats["ttft"] <= turn.stats["total_time"]
    assert turn.stats["tpot"] > 0


def test_tokens_are_counted_where_the_server_sends_no_usage(one):
    assert one[0].chat(inline(tokens=50, usage="none")).stats["tokens_decoded"] == 50


def test_words_are_shown_when_they_come_and_not_later(one):
    turn = one[0].chat(inline(tokens=5, delay_us=50000))
    assert len(turn.chunks) >= 6, turn.chunks  # five words and the statistics
    assert turn.times[0] < 0.15 < turn.times[-1]


def test_the_stream_is_announced_as_one_that_is_not_buffered(one):
    turn = one[0].chat("[plain]")
    assert turn.headers["content-type"] == "text/plain; charset=utf-8"
    assert turn.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in turn.headers


def test_tt_studio_reads_text_and_statistics(one):
    texts, stats = read_like_tt_studio(one[0].url + "/poll_requests", inline(delay_us=3000), "reader")
    assert "".join(texts) == PLAIN
    assert set(stats) == {"tokens_decoded", "ttft", "tpot", "total_time"} and stats["tokens_decoded"] == 8


def test_a_threads_conversation_is_kept_and_no_other_is_seen(one):
    service = one[0]
    service.chat("[plain] my name is Ada", "memory-a")
    service.chat("[plain] my name is Bob", "memory-b")
    turn = service.chat(inline(echo="users") + " who am I?", "memory-a")
    assert "my name is Ada" in turn.text and "who am I?" in turn.text
    assert "Bob" not in turn.text


RECORDED = {
    "LF": {"usage": "each"},
    "CRLF": {"usage": "each", "line_end": "crlf"},
    "comments": {"comments": True},
}


def length(llm, knobs):
    """Bytes of the event stream."""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": inline(**knobs)}],
            "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    return len(httpx.post(llm.url + "/v1/chat/completions", json=body, trust_env=False).content)


@pytest.mark.parametrize("form", RECORDED)
def test_a_stream_cut_at_every_byte_gives_the_same_text(one, form):
    service, llm = one
    knobs = RECORDED[form]
    whole = length(llm, knobs)
    assert whole > 1500
    # One turn for each position, 0 (not cut) included; some go beyond the end.
    message = inline(split_at="@", **knobs).replace('"@"', "{n}")
    report = many_turns(service.host, 16, whole // 16 + 1, message, PLAIN)
    assert report["turns"] > whole and report["failed"] == 0, report


EARLY = {"content": '{"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}]}',
         "role": '{"choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": "null"}]}'}


@pytest.mark.parametrize("name", EARLY)
def test_a_finish_reason_that_comes_too_early_ends_nothing(one, name):
    """Proxies say so in any of their chunks; the words after it belong to the answer."""
    turn = one[0].chat(inline(tokens=5, token="word ", delay_us=700000, bad_after=1, bad_event=EARLY[name]))
    assert turn.whole and turn.text == "word " * 5
