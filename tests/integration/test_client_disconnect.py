# SPDX-License-Identifier: Apache-2.0
"""A client that goes away takes its request to the LLM with it, at once."""

import json
import os
import statistics
import threading
import time

import pytest

from harness.http_client import Exchange, Turn
from harness.llm_script import inline, said, words
from harness.process import PATIENCE, wait_until

SLOW = inline(tokens=100, delay_us=100000)
SILENT = inline(first_delay_us=60000000)
MUTE = inline(header_delay_us=60000000)


@pytest.fixture(scope="module")
def one(shared):
    return shared.one(workers=2)


def leave(service, llm, message, host=None, reset=False, words=0):
    """Milliseconds from the client's departure to the end of the LLM's connection."""
    before, seen = llm.stats()["cancelled"], len(llm.chats())
    exchange = service.ask(message, host=host)
    wait_until(lambda: len(llm.chats()) > seen, "the LLM is asked")
    if words:
        chunks = exchange.chunks()
        for _ in range(words):
            next(chunks)
    left_ns = time.monotonic_ns()
    exchange.reset() if reset else exchange.close()
    wait_until(lambda: llm.stats()["cancelled"] > before, "the LLM's connection is closed", 5)
    return (llm.stats()["closed"][-1]["at_ns"] - left_ns) / 1e6


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_in_the_middle_of_the_answer(one, reset):
    """Case 13: the client left in the middle of a stream, the upstream went on (litellm#30244)."""
    times = [leave(*one, SLOW, reset=reset, words=2) for _ in range(9)]
    assert statistics.median(times) < 5 * PATIENCE, times


def test_before_the_first_word(one):
    """Case 14: the same before the first token (litellm PR 31499)."""
    times = [leave(*one, SILENT) for _ in range(9)]
    assert statistics.median(times) < 5 * PATIENCE, times


def test_before_the_llm_answered_at_all(one):
    times = [leave(*one, MUTE) for _ in range(9)]
    assert statistics.median(times) < 5 * PATIENCE, times


def test_with_the_request(one):
    """So many at a time that a worker reads requests whose clients have left already."""
    service, llm = one

    def leave_at_once():
        for _ in range(25):
            service.ask(MUTE).close()

    threads = [threading.Thread(target=leave_at_once) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert service.chat("hello").whole
    wait_until(lambda: llm.stats()["active"] == 0, "the LLM works for nobody", 10)


def test_behind_lighttpd(one):
    lighttpd = one[0].start_lighttpd()
    times = [leave(*one, SLOW, host=lighttpd.host, reset=True, words=2) for _ in range(5)]
    assert statistics.median(times) < 5 * PATIENCE, times
    # One that only closes may still want to read: lighttpd looks at the next word.
    times = [leave(*one, SLOW, host=lighttpd.host, words=2) for _ in range(5)]
    assert statistics.median(times) < 150 * PATIENCE, times


def test_behind_apache(one):
    """It has to write twice before it notices, whichever way the client leaves."""
    host = one[0].host_of("apache")
    for reset in False, True:
        times = [leave(*one, SLOW, host=host, reset=reset, words=2) for _ in range(5)]
        assert statistics.median(times) < 250 * PATIENCE, times


def descriptors(service):
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in service.worker_pids()]


def test_nothing_is_left_after_many_departures(one):
    service, llm = one
    leave(service, llm, SLOW, words=1)
    service.chat("[plain]")
    before = sum(descriptors(service))
    exchanges = [service.ask(SLOW) for _ in range(100)]
    for e in exchanges:
        next(e.chunks())
    for i, e in enumerate(exchanges):
        e.reset() if i % 2 else e.close()
    wait_until(lambda: llm.stats()["active"] == 0, "all streams ended")
    wait_until(lambda: sum(descriptors(service)) <= before + 8, "descriptors are back", 20)
    assert service.chat("[plain]").whole


def test_others_do_not_notice(one):
    service, _ = one
    stay = service.ask(inline(tokens=40, delay_us=20000))
    for _ in range(20):
        gone = service.ask(SLOW)
        next(gone.chunks())
        gone.reset()
    turn = Turn(stay)
    assert turn.whole and turn.text == "word " * 40


def test_what_was_said_until_then_is_in_the_history(testbed):
    service, llm = testbed.one(workers=1)
    exchange = service.ask(SLOW, "left")
    chunks = exchange.chunks()
    for _ in range(3):
        next(chunks)
    cancelled = llm.stats()["cancelled"]
    exchange.close()
    wait_until(lambda: llm.stats()["cancelled"] > cancelled, "cancelled")
    turn = service.chat(inline(echo="all") + " go on", "left")
    assert "assistant: word word" in turn.text, turn.text


def test_a_request_without_a_stream(testbed):
    """Case 15: The client left a request that does not stream, the upstream went on (litellm#37140)."""
    service, llm = testbed.one()
    llm.script(header_delay_us=60000000)
    times = []
    for _ in range(5):
        before, seen = llm.stats()["cancelled"], len(llm.chats())
        exchange = Exchange(service.host, "GET", "/test_llm")
        wait_until(lambda: len(llm.chats()) > seen, "the LLM is asked")
        left_ns = time.monotonic_ns()
        exchange.close()
        wait_until(lambda: llm.stats()["cancelled"] > before, "the LLM's connection is closed", 5)
        times.append((llm.stats()["closed"][-1]["at_ns"] - left_ns) / 1e6)
    assert statistics.median(times) < 5 * PATIENCE, times
    llm.script()
    assert service.http.get("/test_llm").json()["status"] == "success"


def test_an_answer_is_kept_when_the_user_leaves(testbed):
    """Case 35: The answer was lost when the user left (LibreChat#13335)."""
    service, llm = testbed.one()
    exchange = service.ask(words(100, delay_us=30000), "left-early")
    chunks = exchange.chunks()
    for _ in range(4):
        next(chunks)
    exchange.close()
    wait_until(lambda: llm.stats()["cancelled"] > 0, "cancelled")
    kept = lambda: service.ctl("threads", "show", "left-early", ok=False)
    wait_until(lambda: kept().returncode == 0, "the turn is kept")
    message = json.loads(kept().stdout)["turns"][0]["messages"][-1]
    assert message["content"].startswith(said(3)) and message["interrupted"] is True
    service.chat(inline(echo="last") + " go on", "left-early")
    assert "word2" in json.dumps(llm.chats()[-1]["body"]["messages"])
    assert "interrupted" not in json.dumps(llm.chats()[-1]["body"])  # a note to ourselves: servers may refuse it
