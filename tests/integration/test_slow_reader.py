# SPDX-License-Identifier: Apache-2.0
"""A client that reads slowly holds back its own LLM request, and nothing else."""

import json
import time
from pathlib import Path

import pytest

from harness.http_client import Turn
from harness.process import PATIENCE

TOKEN = "x" * 999 + " "
COUNT = 20000
LONG = "[[" + json.dumps({"tokens": COUNT, "token": TOKEN, "tokens_per_write": 20}) + "]]"


@pytest.fixture(scope="module")
def one(shared):
    return shared.one(workers=1)


def resident_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])


def test_the_llm_is_held_back_and_memory_stays_bounded(one):
    service, llm = one
    for _ in range(20):
        service.chat("[plain]")
    worker = service.worker_pids()[0]
    before = resident_kib(worker)
    slow = service.ask(LONG, receive_buffer=4096)
    slow.head()
    times = []
    for _ in range(100):
        begin = time.monotonic()
        assert service.chat("[plain]").whole
        times.append(time.monotonic() - begin)
    # Unhindered it would have been over long ago: 20 MB.
    assert llm.stats()["active"] == 1
    assert resident_kib(worker) - before < 8192 * PATIENCE
    assert sorted(times)[50] < 0.1 * PATIENCE
    turn = Turn(slow)
    assert turn.whole and len(turn.text) == COUNT * len(TOKEN)


def test_many_slow_readers_and_a_quick_one(one):
    service, llm = one
    slow = [service.ask(LONG, receive_buffer=4096) for _ in range(10)]
    for e in slow:
        e.head()
    times = []
    for _ in range(50):
        begin = time.monotonic()
        assert service.chat("[plain]").whole
        times.append(time.monotonic() - begin)
    assert sorted(times)[25] < 0.1 * PATIENCE
    for e in slow:
        e.close()


@pytest.mark.parametrize("server", ["lighttpd", "apache"])
def test_a_slow_reader_behind_other_servers(one, server):
    service, llm = one
    slow = service.ask(LONG, host=service.host_of(server), receive_buffer=4096)
    slow.head()
    for _ in range(20):
        assert service.chat("[plain]").whole
    turn = Turn(slow)
    assert turn.whole and len(turn.text) == COUNT * len(TOKEN)
