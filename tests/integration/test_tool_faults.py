# SPDX-License-Identifier: Apache-2.0
"""Tools that are slow, fail or are stopped: the stream stays alive, the history stays valid."""

import threading
import uuid

import pytest

from harness.http_client import Turn
from harness.llm_script import PLAIN
from harness.process import PATIENCE, wait_until
from harness.tool_mocks import CODE, SEARCH, call, calls, e2b, e2b_env, rounds, search, search_env


class Tools:
    def __init__(self, testbed):
        self.search, self.e2b = search(testbed), e2b(testbed)
        self.service, self.llm = testbed.one(env={**search_env(self.search), **e2b_env(self.e2b)}, sets=["code.timeout=5"])

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


def test_two_searches_end_in_one_clean_answer(tools):
    """Case 02: A question that needs two searches broke the answer (tt-studio#179)."""
    for marker, first in (("[search2]", "one"), ("[tworounds]", "round 0")):
        turn = tools.service.chat(marker)
        assert turn.whole and turn.answer == PLAIN, turn.text
        assert turn.text.count("<think>") == turn.text.count("</think>") == 1
        assert f"Searching: {first}\n" in turn.text and turn.text.count("Searching: ") == 2
    assert len(tools.search.queries()) == 4


def test_tool_calls_are_not_shown_as_text(tools):
    """Case 11: Tool calls leaked as text while streaming (waybarrios/vllm-mlx#107)."""
    arguments = '{"query": "leaked"}'
    for text in (f'<|python_tag|>{{"name": "{SEARCH}", "parameters": {arguments}}}',
                 f'<tool_call>\n{{"name": "{SEARCH}", "arguments": {arguments}}}\n</tool_call>'):
        turn = tools.service.chat(rounds({"text": list(text)}))
        assert turn.whole and turn.answer == PLAIN and SEARCH not in turn.text, turn.text
        assert tools.search.queries()[-1] == ("tavily", "leaked")


def test_a_stop_during_a_tool_call_leaves_valid_history(tools):
    """Case 36: Stopping during a tool call corrupted the history (open-webui#24940)."""
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


def test_a_sandbox_that_vanished_is_made_again(tools):
    """Case 37: 1 to 3% of sandboxes vanished early (e2b-dev/E2B#1381)."""
    for gone, want in ((1, "ran"), (5, "Error: the code was not run to its end")):
        tools.e2b.script(vanish=gone)
        turn = tools.service.chat(rounds(calls(call(CODE, code="print(1)"))))
        assert turn.whole and turn.answer == PLAIN
        assert want in tools.llm.chats()[-1]["body"]["messages"][-1]["content"]


def test_a_tool_that_runs_long_keeps_the_stream_alive(long_tool):
    """Case 12: Nothing was sent while a tool ran, so that a proxy cut the stream (librefang#3690)."""
    turn = long_tool()
    assert turn.whole and turn.answer == PLAIN
    gaps = [b - a for a, b in zip([0] + turn.times, turn.times)]
    assert max(gaps) < 10.7 * PATIENCE and turn.times[-1] > 11, turn.times
