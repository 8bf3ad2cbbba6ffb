# SPDX-License-Identifier: Apache-2.0
"""Streams that are split anywhere, cut, stalled or malformed: no character is lost or shown twice,
and an answer that broke off says so."""

import json
import time

import pytest

from harness.http_client import Turn, broke_off
from harness.llm_script import COUNT, PLAIN, inline, said, words
from harness.load import many_turns
from harness.process import PATIENCE, wait_until


@pytest.fixture(scope="module")
def one(shared):
    return shared.one(workers=2, sets=["llm.silence_timeout=0.5"])


def test_no_characters_are_missing(one):
    """Case 01: Characters were missing in the agent's answers (tenstorrent/tt-studio#175)."""
    pieces = ["a", " ", "  b", "\n", "\t", "ß", "中", "文", "😀", "e\u0301", "\\", "\"", "{", "}", "<", ">", "[", "]", "`", "0", "\n\n", "."]
    for knobs in ({}, {"tokens_per_write": 5}, {"pieces": 1}, {"pieces": 11}, {"usage": "none"}):
        turn = one[0].chat(inline(text=pieces, **knobs))
        assert turn.whole and turn.text == "".join(pieces), knobs
    report = many_turns(one[0].host, 20, 10, words(50), said(50))
    assert report["whole"] == 200, report


@pytest.mark.parametrize("line_end", ["lf", "crlf"])
def test_events_and_characters_may_be_split_anywhere(one, line_end):
    """Case 03: An event, or a UTF-8 character, that two reads shared was lost (spiceai#12588)."""
    text = ["ü", "😀", "a"]
    length = 1200
    message = inline(text=text, split_at="@", line_end=line_end, role=False, usage="none").replace('"@"', "{n}")
    report = many_turns(one[0].host, 16, length // 16, message, "".join(text))
    assert report["turns"] == length and report["failed"] == 0, report


def test_comments_are_passed_over(one):
    """Case 04: `: ping` comments crashed the parser (Portkey-AI/gateway#1035)."""
    for knobs in ({}, {"line_end": "crlf"}, {"pieces": 1}, {"line_end": "cr", "pieces": 3}):
        turn = one[0].chat(inline(comments=True, **knobs))
        assert turn.whole and turn.text == PLAIN, knobs


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_an_upstream_cut_is_reported(one, framing):
    """Case 05: An answer that was cut looked like a complete one (Portkey-AI/gateway#1797)."""
    turn = one[0].chat(words(cut_after=5, framing=framing, usage="none"))
    broke_off(turn, said(5))
    assert turn.stats["tokens_decoded"] == 5 and turn.stats["total_time"] >= turn.stats["ttft"]


FAULTS_FIRST = {
    "cut": {"cut_after": 0},
    "stalled": {"stall_after": 0},
    "malformed": {"raw": "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ngibberish\r\n\r\n"},
}


@pytest.mark.parametrize("fault", FAULTS_FIRST)
def test_a_bad_stream_moves_on_before_its_first_word(testbed, fault):
    """Case 06: Streams that were cut, stalled or malformed got no fallback (BerriAI/litellm#40404)."""
    service, a, b = testbed.two(FAULTS_FIRST[fault], sets=["llm.silence_timeout=0.4", "health.completion_interval=0"])
    turn = service.chat("[plain]")
    assert turn.whole and turn.text == PLAIN, turn.text
    assert len(a.chats()) == 1 and len(b.chats()) == 1


@pytest.mark.parametrize("fault", ["cut_after", "reset_after", "stall_after", "error_after"])
def test_a_bad_stream_is_reported_after_its_first_word(one, fault):
    """Case 06: The same, once words were shown and no other LLM is there."""
    turn = one[0].chat(words(**{fault: 3}))
    shown = max(n for n in range(4) if turn.text.startswith(said(n)))
    assert shown == 3 or fault == "reset_after", turn.text  # a reset overtakes words that were not read
    broke_off(turn, said(shown))


def test_an_error_event_moves_on_before_the_first_word(testbed):
    """Case 07: An error event after the stream's first event got no fallback (maximhq/bifrost#5395)."""
    service, a, b = testbed.two({"error_after": 0, "role": True})
    turn = service.chat("[plain]")
    assert turn.whole and turn.text == PLAIN, turn.text
    assert len(a.chats()) == 1 and len(b.chats()) == 1


@pytest.mark.parametrize("fault", ["cut_after", "reset_after", "error_after"])
def test_no_word_twice(testbed, fault):
    """Case 08: A retry in the middle of a stream repeated its text (apache/shenyu#6647)."""
    service, a, b = testbed.two({fault: 5})
    for _ in range(5):
        turn = service.chat(words())
        if turn.text != said(COUNT):  # else another LLM has gone on with it, or was asked first
            broke_off(turn, said(5))


@pytest.mark.parametrize("fault", ["cut_after", "error_after"])
@pytest.mark.parametrize("second, shown", [({"reasoning": ["So, ", "hm."]}, "\n[interrupted, starting again]\nSo, hm."),
                                           ({}, "")])
def test_reasoning_of_two_models_is_distinguished(testbed, fault, second, shown):
    """Case 08: It is shown as one, and says where the second model's reasoning begins; that one never sees the first's."""
    service, a, b = testbed.two({"reasoning": ["Let me ", "think ab"], fault: 2})
    b.script(**second)
    turn = service.chat("[plain]")
    assert turn.whole and turn.text == f"<think>Let me think ab{shown}</think>{PLAIN}", turn.text
    assert "</think>" in turn.chunks and "think ab" not in json.dumps(b.chats()[-1]["body"])


def test_silence_between_words_has_its_own_limit(one):
    """Case 09: With no limit between tokens a stall held a request for 15 minutes (tensorzero#6328)."""
    began = time.monotonic()
    broke_off(one[0].chat(words(stall_after=4)), said(4))
    assert 0.4 < time.monotonic() - began < 2 * PATIENCE
    # Slow is not silent, however long it takes in all.
    turn = one[0].chat(words(8, delay_us=150000))
    assert turn.whole and turn.text == said(8)


@pytest.fixture(scope="module")
def stalling(shared):
    """A first token may take long; between two there is little time."""
    return shared.one(workers=1, sets=[f"llm.silence_timeout={2 * PATIENCE}", "llm.stall_timeout=0.4", "health.completion_interval=0"])


def test_the_first_word_may_take_longer_than_the_next(stalling):
    """Case 09."""
    began = time.monotonic()
    turn = stalling[0].chat(words(8, first_delay_us=900000))
    assert turn.whole and turn.text == said(8) and time.monotonic() - began > 0.9
    began = time.monotonic()
    broke_off(stalling[0].chat(words(stall_after=4)), said(4))
    assert 0.3 < time.monotonic() - began < 1.6 * PATIENCE
    broke_off(stalling[0].chat(inline(reasoning=["Let me "], stall_after=1)), "<think>Let me </think>")


def test_comments_are_a_sign_of_life_only_before_the_first_word(stalling):
    """Case 09."""
    turn = stalling[0].chat(words(stall_after=4, pings=120))  # for 2.4 s before, and again in the stall
    broke_off(turn, said(4))
    assert turn.times[0] > 2.3 and turn.times[-1] - turn.times[0] < 1.6 * PATIENCE, turn.times


def test_a_slow_reader_does_not_stall_its_llm(stalling):
    """Case 09: While it is held back for the client, the LLM's silence is ours."""
    service, llm = stalling
    slow = service.ask(inline(tokens=20000, token="x" * 999 + " ", tokens_per_write=20), receive_buffer=4096)
    slow.head()
    for _ in range(2):
        broke_off(service.chat(words(stall_after=4)), said(4))  # so long at least it reads nothing
    wait_until(lambda: llm.stats()["active"] == 1, "only its stream is left")
    turn = Turn(slow)
    assert turn.whole and len(turn.text) == 20000 * 1000


def test_streams_carry_no_content_length(one):
    """Case 10: A leftover Content-Length truncated the stream (envoyproxy/ai-gateway#2391)."""
    for framing in ("chunked", "length", "close"):
        turn = one[0].chat(inline(framing=framing))
        assert "content-length" not in turn.headers and turn.headers["transfer-encoding"] == "chunked"
        assert turn.whole and turn.text == PLAIN
