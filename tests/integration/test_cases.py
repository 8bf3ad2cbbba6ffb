# SPDX-License-Identifier: Apache-2.0
"""Failures that users of services like this one reported, each with the thread where it is
public, and what holds here instead: 37 of them, test_case_01 to test_case_37. Those that
need a load stand in test_cases_load.py, that of the status pages in test_cases_views.py,
those that concern the health of LLMs in test_health.py; the tools' are tested in depth in
test_tools.py and test_code.py."""

import json
import re
import threading
import time
import uuid
from pathlib import Path

import pytest

from stage import fastcgi
from stage.load import many_turns
from stage.process import PATIENCE, wait_until
from stage.script import COUNT, PLAIN, inline, said, words
from stage.tools import CODE, SEARCH, call, calls, e2b, e2b_env, rounds, search, search_env
from stage.wire import Exchange, Turn

SENTENCE = re.compile(r"[A-Z][^\n]+\.")


def told(turn, before=""):
    """The answer is `before` and a sentence that it broke off, and does not look complete."""
    assert turn.whole, turn.chunks
    assert turn.text.startswith(before), turn.text
    assert SENTENCE.fullmatch(turn.text[len(before):].lstrip("\n")), turn.text


def two(stage, first=None, **more):
    """(service, LLM 1, LLM 2): the first is asked first, and behaves as told."""
    a, b = stage.llm(), stage.llm()
    backend = stage.backend({"d1": a.deployment(), "d2": b.deployment("Qwen3-8B", name="c-d2")})
    service = stage.service(backend=backend, **more).wait_ready()
    service.wait_status(lambda s: len(s["available_models"]) == 2, "two models")
    service.wait_status(lambda s: s["current_llm"]["llm_info"]["deploy_id"] == "d1", "d1 is current")
    a.script(**(first or {}))
    return service, a, b


@pytest.fixture(scope="module")
def one(shared):
    return shared.one(workers=2, sets=["llm.silence_timeout=0.5"])


class Tools:
    def __init__(self, stage):
        self.search, self.e2b = search(stage), e2b(stage)
        self.service, self.llm = stage.one(env={**search_env(self.search), **e2b_env(self.e2b)}, sets=["code.timeout=5"])

    def fresh(self):
        for mock in (self.search, self.e2b):
            mock.script()
        for mock in (self.search, self.e2b, self.llm):
            mock.forget()
        return self

    def roles(self, ask=-1):
        return [m["role"] for m in self.llm.chats()[ask]["body"]["messages"]]


@pytest.fixture(scope="module")
def made(shared):
    return Tools(shared)


@pytest.fixture
def tools(made):
    return made.fresh()


@pytest.fixture(scope="module", autouse=True)
def long_tool(shared):
    """A turn whose search takes 11 s, begun before all else: the turn, once it is wanted."""
    slow = search(shared, tavily={"delay_us": 11000000})
    service, _ = shared.one(env=search_env(slow))
    exchange, turns = service.ask(rounds(calls(call(SEARCH, query="x")))), []
    reader = threading.Thread(target=lambda: turns.append(Turn(exchange)))
    reader.start()

    def get():
        reader.join()
        return turns[0]
    yield get
    reader.join()


def test_each_of_the_37_has_a_test():
    texts = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    found = re.findall(r"^def test_case_(\d\d)_(?!case_)", texts, re.M)
    assert sorted(set(found)) == [f"{n:02}" for n in range(1, 38)]


# --- the stream ---------------------------------------------------------------------------


def test_case_01_no_characters_are_missing(one):
    """Characters were missing in the agent's answers (tenstorrent/tt-studio#175)."""
    pieces = ["a", " ", "  b", "\n", "\t", "ß", "中", "文", "😀", "e\u0301", "\\", "\"", "{", "}", "<", ">", "[", "]", "`", "0", "\n\n", "."]
    for knobs in ({}, {"tokens_per_write": 5}, {"pieces": 1}, {"pieces": 11}, {"usage": "none"}):
        turn = one[0].chat(inline(text=pieces, **knobs))
        assert turn.whole and turn.text == "".join(pieces), knobs
    report = many_turns(one[0].host, 20, 10, words(50), said(50))
    assert report["whole"] == 200, report


def test_case_02_two_searches_end_in_one_clean_answer(tools):
    """A question that needs two searches broke the answer (tt-studio#179)."""
    for marker, first in (("[search2]", "one"), ("[tworounds]", "round 0")):
        turn = tools.service.chat(marker)
        assert turn.whole and turn.answer == PLAIN, turn.text
        assert turn.text.count("<think>") == turn.text.count("</think>") == 1
        assert f"Searching: {first}\n" in turn.text and turn.text.count("Searching: ") == 2
    assert len(tools.search.queries()) == 4


@pytest.mark.parametrize("line_end", ["lf", "crlf"])
def test_case_03_events_and_characters_may_be_split_anywhere(one, line_end):
    """An event, or a UTF-8 character, that two reads shared was lost (spiceai#12588)."""
    text = ["ü", "😀", "a"]
    length = 1200
    message = inline(text=text, split_at="@", line_end=line_end, role=False, usage="none").replace('"@"', "{n}")
    report = many_turns(one[0].host, 16, length // 16, message, "".join(text))
    assert report["turns"] == length and report["failed"] == 0, report


def test_case_04_comments_are_passed_over(one):
    """`: ping` comments crashed the parser (Portkey-AI/gateway#1035)."""
    for knobs in ({}, {"line_end": "crlf"}, {"pieces": 1}, {"line_end": "cr", "pieces": 3}):
        turn = one[0].chat(inline(comments=True, **knobs))
        assert turn.whole and turn.text == PLAIN, knobs


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_case_05_an_upstream_cut_is_told(one, framing):
    """An answer that was cut looked like a complete one (Portkey-AI/gateway#1797)."""
    turn = one[0].chat(words(cut_after=5, framing=framing, usage="none"))
    told(turn, said(5))
    assert turn.stats["tokens_decoded"] == 5 and turn.stats["total_time"] >= turn.stats["ttft"]


FAULTS_FIRST = {
    "cut": {"cut_after": 0},
    "stalled": {"stall_after": 0},
    "malformed": {"raw": "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ngibberish\r\n\r\n"},
}


@pytest.mark.parametrize("fault", FAULTS_FIRST)
def test_case_06_a_bad_stream_moves_on_before_its_first_word(stage, fault):
    """Streams that were cut, stalled or malformed got no fallback (BerriAI/litellm#40404)."""
    service, a, b = two(stage, FAULTS_FIRST[fault], sets=["llm.silence_timeout=0.4", "health.completion_interval=0"])
    turn = service.chat("[plain]")
    assert turn.whole and turn.text == PLAIN, turn.text
    assert len(a.chats()) == 1 and len(b.chats()) == 1


@pytest.mark.parametrize("fault", ["cut_after", "reset_after", "stall_after", "error_after"])
def test_case_06_a_bad_stream_is_told_after_its_first_word(one, fault):
    """The same, once words were shown and no other LLM is there."""
    turn = one[0].chat(words(**{fault: 3}))
    shown = max(n for n in range(4) if turn.text.startswith(said(n)))
    assert shown == 3 or fault == "reset_after", turn.text  # a reset overtakes words that were not read
    told(turn, said(shown))


def test_case_07_an_error_event_moves_on_before_the_first_word(stage):
    """An error event behind the stream's first event got no fallback (maximhq/bifrost#5395)."""
    service, a, b = two(stage, {"error_after": 0, "role": True})
    turn = service.chat("[plain]")
    assert turn.whole and turn.text == PLAIN, turn.text
    assert len(a.chats()) == 1 and len(b.chats()) == 1


@pytest.mark.parametrize("fault", ["cut_after", "reset_after", "error_after"])
def test_case_08_no_word_twice(stage, fault):
    """A retry in the middle of a stream repeated its text (apache/shenyu#6647)."""
    service, a, b = two(stage, {fault: 5})
    for _ in range(5):
        turn = service.chat(words())
        if turn.text != said(COUNT):  # else another LLM has gone on with it, or was asked first
            told(turn, said(5))


@pytest.mark.parametrize("fault", ["cut_after", "error_after"])
@pytest.mark.parametrize("second, shown", [({"reasoning": ["So, ", "hm."]}, "\n[interrupted, starting again]\nSo, hm."),
                                           ({}, "")])
def test_case_08_reasoning_of_two_models_is_told_apart(stage, fault, second, shown):
    """The panel is one, and says where the second model's reasoning begins; that one never sees the first's."""
    service, a, b = two(stage, {"reasoning": ["Let me ", "think ab"], fault: 2})
    b.script(**second)
    turn = service.chat("[plain]")
    assert turn.whole and turn.text == f"<think>Let me think ab{shown}</think>{PLAIN}", turn.text
    assert "</think>" in turn.chunks and "think ab" not in json.dumps(b.chats()[-1]["body"])


def test_case_09_silence_between_words_has_its_own_limit(one):
    """With no limit between tokens a stall held a request for 15 minutes (tensorzero#6328)."""
    began = time.monotonic()
    told(one[0].chat(words(stall_after=4)), said(4))
    assert 0.4 < time.monotonic() - began < 2 * PATIENCE
    # Slow is not silent, however long it takes in all.
    turn = one[0].chat(words(8, delay_us=150000))
    assert turn.whole and turn.text == said(8)


@pytest.fixture(scope="module")
def stalling(shared):
    """A first token may take long; between two there is little time."""
    return shared.one(workers=1, sets=["llm.silence_timeout=2", "llm.stall_timeout=0.4", "health.completion_interval=0"])


def test_case_09_the_first_word_may_take_longer_than_the_next(stalling):
    began = time.monotonic()
    turn = stalling[0].chat(words(8, first_delay_us=900000))
    assert turn.whole and turn.text == said(8) and time.monotonic() - began > 0.9
    began = time.monotonic()
    told(stalling[0].chat(words(stall_after=4)), said(4))
    assert 0.3 < time.monotonic() - began < 1.6 * PATIENCE
    told(stalling[0].chat(inline(reasoning=["Let me "], stall_after=1)), "<think>Let me </think>")


def test_case_09_comments_are_a_sign_of_life_only_before_the_first_word(stalling):
    turn = stalling[0].chat(words(stall_after=4, pings=120))  # for 2.4 s before, and again in the stall
    told(turn, said(4))
    assert turn.times[0] > 2.3 and turn.times[-1] - turn.times[0] < 1.6 * PATIENCE, turn.times


def test_case_09_a_slow_reader_does_not_stall_its_llm(stalling):
    """While it is held back for the client, the LLM's silence is ours."""
    service, llm = stalling
    slow = service.ask(inline(tokens=20000, token="x" * 999 + " ", tokens_per_write=20), receive_buffer=4096)
    slow.head()
    for _ in range(2):
        told(service.chat(words(stall_after=4)), said(4))  # so long at least it reads nothing
    wait_until(lambda: llm.stats()["active"] == 1, "only its stream is left")
    turn = Turn(slow)
    assert turn.whole and len(turn.text) == 20000 * 1000


def test_case_10_streams_carry_no_content_length(one):
    """A leftover Content-Length truncated the stream (envoyproxy/ai-gateway#2391)."""
    for framing in ("chunked", "length", "close"):
        turn = one[0].chat(inline(framing=framing))
        assert "content-length" not in turn.headers and turn.headers["transfer-encoding"] == "chunked"
        assert turn.whole and turn.text == PLAIN


def test_case_11_tool_calls_do_not_leak_as_text(tools):
    """Tool calls leaked as text while streaming (waybarrios/vllm-mlx#107)."""
    arguments = '{"query": "leaked"}'
    for text in (f'<|python_tag|>{{"name": "{SEARCH}", "parameters": {arguments}}}',
                 f'<tool_call>\n{{"name": "{SEARCH}", "arguments": {arguments}}}\n</tool_call>'):
        turn = tools.service.chat(rounds({"text": list(text)}))
        assert turn.whole and turn.answer == PLAIN and SEARCH not in turn.text, turn.text
        assert tools.search.queries()[-1] == ("tavily", "leaked")


# --- clients that leave ---------------------------------------------------------------------


def leave(service, llm, message, words=0):
    """Milliseconds from the client's departure to the end of the LLM's connection."""
    before, seen = llm.stats()["cancelled"], len(llm.chats())
    exchange = service.ask(message)
    wait_until(lambda: len(llm.chats()) > seen, "the LLM is asked")
    chunks = exchange.chunks() if words else iter(())
    for _ in range(words):
        next(chunks)
    left_ns = time.monotonic_ns()
    exchange.close()
    wait_until(lambda: llm.stats()["cancelled"] > before, "the LLM's connection is closed", 5)
    return (llm.stats()["closed"][-1]["at_ns"] - left_ns) / 1e6


def quickest(times):
    """On a busy machine one of a few must have been undisturbed."""
    assert sorted(times)[len(times) // 2] < 5 * PATIENCE, times


def test_case_13_a_client_that_leaves_in_mid_stream_frees_the_llm(one):
    """The client left in the middle of a stream, the upstream went on (litellm#30244)."""
    one[1].forget()
    quickest([leave(*one, words(100, delay_us=50000), words=2) for _ in range(5)])


def test_case_14_a_client_that_leaves_before_the_first_word_frees_the_llm(stage):
    """The same before the first token (litellm PR 31499)."""
    service, llm = stage.one()
    quickest([leave(service, llm, inline(first_delay_us=60000000)) for _ in range(5)])
    quickest([leave(service, llm, inline(header_delay_us=60000000)) for _ in range(5)])


def test_case_15_a_client_that_leaves_a_request_without_a_stream_frees_the_llm(stage):
    """The client left a request that does not stream, the upstream went on (litellm#37140)."""
    service, llm = stage.one()
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
    quickest(times)
    llm.script()
    assert service.http.get("/test_llm").json()["status"] == "success"


# --- no LLM, or another one ---------------------------------------------------------------------


def test_case_30_a_turn_may_wait_for_the_first_llm(stage):
    """Wanted: to wait for the first model to recover, and not to fail (litellm#3646)."""
    llm, backend = stage.llm(), stage.backend()
    service = stage.service(backend=backend, sets=["polling.hold=60", "limits.waiting=10"])
    active = lambda: service.ctl("status")["counters"]["active_turns"]
    waiting = [service.ask("[plain]") for _ in range(10)]
    wait_until(lambda: active() == 10, "ten turns wait")
    # The queue is bounded, whoever leaves it makes room, and a wait has an end.
    assert service.chat("[plain]").body.startswith('data: {"status": "waiting"')
    waiting.pop().close()
    wait_until(lambda: active() == 9, "one has left")
    waiting.append(service.ask("[plain]"))
    wait_until(lambda: active() == 10, "another one waits")
    assert service.status()["status"] == "initializing"
    # Polling would look again in three minutes: what is found by hand wakes all of them at once.
    backend.deploy(d1=llm.deployment())
    service.ctl("refresh")
    ready = time.monotonic()
    turns = [Turn(w) for w in waiting]
    assert all(t.whole and t.text == PLAIN for t in turns), [t.text for t in turns]
    assert time.monotonic() - ready < 2 * PATIENCE


def test_case_32_every_turn_ends_although_models_are_switched(stage):
    """A request during a switch of models hung for good (mostlygeek/llama-swap#946)."""
    service, a, b = two(stage, sets=["limits.turn_time=3"])
    turns, stop = [], threading.Event()

    def talk():
        while not stop.is_set():
            turns.append(service.chat(words(delay_us=5000)))

    talkers = [threading.Thread(target=talk) for _ in range(8)]
    for t in talkers:
        t.start()
    for id in ["d2", "d1"] * 5:
        assert service.http.post("/select_model", params={"deploy_id": id}).json()["status"] == "success"
    stop.set()
    for t in talkers:
        t.join()
    assert all(t.whole and t.text == said(COUNT) for t in turns), [t.text for t in turns if t.text != said(COUNT)]
    began = time.monotonic()
    told(service.chat(inline(first_delay_us=60000000)))  # nothing is heard of either of them
    assert time.monotonic() - began < 4.5 * PATIENCE


# --- memory ----------------------------------------------------------------------------------------


def test_case_34_threads_of_different_users_are_apart(stage):
    """Memory whose key is the thread alone leaks between users."""
    service, llm = stage.one({"echo": "users"})
    message = lambda text: json.dumps({"message": text, "thread_id": "the-same-thread"}).encode()
    ask = lambda user, text: fastcgi.ask(service.socket, "POST", "/poll_requests", message(text), REMOTE_USER=user)[1].decode()
    ask("ada", "I am Ada")
    ask("bob", "I am Bob")
    answer = ask("ada", "who?")
    assert "I am Ada" in answer and "Bob" not in answer
    answer = ask("bob", "who?")
    assert "I am Bob" in answer and "Ada" not in answer
    answer = ask("", "who?")
    assert "Ada" not in answer and "Bob" not in answer


def test_case_35_an_answer_is_kept_when_the_user_leaves(stage):
    """The answer was lost when the user left (LibreChat#13335)."""
    service, llm = stage.one()
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


def test_case_36_a_stop_during_a_tool_call_leaves_valid_history(tools):
    """Stopping during a tool call corrupted the history (open-webui#24940)."""
    tools.search.script(tavily={"stall": True})
    thread = uuid.uuid4().hex
    exchange = tools.service.ask(rounds({"text": ["let me see "], **calls(call(SEARCH, query="x"))}), thread)
    tools.search.wait_request("/search")
    exchange.reset()
    wait_until(lambda: tools.search.stats()["active"] == 0, "the search is given up")
    tools.service.chat("[plain]", thread)
    messages = tools.llm.chats()[-1]["body"]["messages"]
    open_calls = set()
    for m in messages:
        assert m["role"] == "tool" or not open_calls, messages
        open_calls |= {c["id"] for c in m.get("tool_calls", [])}
        open_calls -= {m.get("tool_call_id")}
    assert not open_calls and messages[-1]["role"] == "user"


def test_case_37_a_sandbox_that_vanished_is_made_again(tools):
    """1 to 3% of sandboxes vanished early (e2b-dev/E2B#1381)."""
    for gone, want in ((1, "ran"), (5, "Error: the code was not run to its end")):
        tools.e2b.script(vanish=gone)
        turn = tools.service.chat(rounds(calls(call(CODE, code="print(1)"))))
        assert turn.whole and turn.answer == PLAIN
        assert want in tools.llm.chats()[-1]["body"]["messages"][-1]["content"]


# --- what takes long -----------------------------------------------------------------------------------


def test_case_12_a_tool_that_runs_long_keeps_the_stream_alive(long_tool):
    """Nothing was sent while a tool ran, so that a proxy cut the stream (librefang#3690)."""
    turn = long_tool()
    assert turn.whole and turn.answer == PLAIN
    gaps = [b - a for a, b in zip([0] + turn.times, turn.times)]
    assert max(gaps) < 10.7 * PATIENCE and turn.times[-1] > 11, turn.times
