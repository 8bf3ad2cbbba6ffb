# SPDX-License-Identifier: Apache-2.0
"""A slow disk, client or name server blocks no event loop."""

import sqlite3
import time

from harness.channel import Channel
from harness.http_client import Turn
from harness.llm_script import inline, said, words
from harness.process import PATIENCE, wait_until
from harness.silent_dns import SilentNames
from harness.tool_mocks import SEARCH, call, calls, rounds


def answers_at_once(service):
    began = time.monotonic()
    for _ in range(20):
        assert service.http.get("/status").status_code == 200
    assert time.monotonic() - began < 1 * PATIENCE


def flows(turn, count):
    """The turn is whole, and nothing held it up."""
    assert turn.whole and turn.text == said(count)
    gaps = [b - a for a, b in zip(turn.times, turn.times[1:])]
    assert max(gaps) < 0.4 * PATIENCE, gaps


def test_a_slow_disk_or_client_stalls_nobody(testbed):
    """Case 19: One blocking call stalled the loop and, with it, the health checks (litellm#16716)."""
    service, llm = testbed.one(workers=1)
    assert service.chat("[plain]").whole
    disk = sqlite3.connect(service.directory / "threads.db", timeout=10, isolation_level=None)
    disk.execute("BEGIN EXCLUSIVE")  # whoever writes now, waits
    slow = [service.ask(inline(tokens=20000, token="x" * 500, tokens_per_write=20), receive_buffer=4096) for _ in range(5)]
    for exchange in slow:
        exchange.head()
    try:
        asked = [service.ask(words(10, delay_us=10000)) for _ in range(3)]
        answers_at_once(service)
        turns = [Turn(exchange) for exchange in asked]
    finally:
        disk.execute("ROLLBACK")
        disk.close()
    for turn in turns:
        flows(turn, 10)
    for exchange in slow:
        exchange.reset()


def test_a_silent_name_server_stalls_nobody(testbed):
    """Case 19: The same, where the call looks up a name: an LLM's in the daemon, a tool's in the responder."""
    names, llm = SilentNames(testbed), testbed.llm()
    other = {**llm.deployment("Qwen3-8B"), "internal_url": "llm.silent.test:7000/v1/chat/completions",
             "health_url": "llm.silent.test:7000/health"}
    service = testbed.service(backend=testbed.backend({"d1": llm.deployment(), "d2": other}), before=names.before,
                            env={"TAVILY_BASE_URL": "http://tool.silent.test:7000", "AGENT_HEALTH_CHECK_INTERVAL": "0.2",
                                 "AGENT_HEALTH_CHECK_TIMEOUT": "0.3"}).wait_ready()
    wait_until(lambda: "llm.silent.test" in names.asked(), "the daemon looks up the LLM")
    searching = [service.ask(rounds(calls(call(SEARCH, query="x")))) for _ in range(3)]
    wait_until(lambda: "tool.silent.test" in names.asked(), "the responder looks up the tool")
    asked = [service.ask(words(40, delay_us=10000)) for _ in range(3)]
    answers_at_once(service)
    channel, slowest, checked = testbed.client(Channel(service.run)), 0, len(llm.requests("/health"))
    for _ in range(30):
        began = time.monotonic()
        assert channel.call("ping")["pid"]
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 0.25 * PATIENCE
    searching.pop().reset()  # nor does one that gives up
    for exchange in asked:
        flows(Turn(exchange), 40)
    llm.wait_request("/health", checked + 2)
    for exchange in searching:
        exchange.reset()
