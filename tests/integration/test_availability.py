# SPDX-License-Identifier: Apache-2.0
"""No LLM yet, one that hangs, or another one in the middle of everything: each turn ends."""

import select
import statistics
import threading
import time

from harness.http_client import Turn, broke_off
from harness.llm_script import COUNT, PLAIN, inline, said, words
from harness.process import PATIENCE, wait_until

QUICK = {"AGENT_HEALTH_CHECK_INTERVAL": "0.2", "AGENT_HEALTH_CHECK_TIMEOUT": "0.3", "AGENT_DISCOVERY_INTERVAL": "0.3"}
NEVER = 60_000_000  # microseconds: longer than any deadline here


def test_a_turn_may_wait_for_the_first_llm(testbed):
    """Case 30: Wanted: to wait for the first model to recover, and not to fail (litellm#3646)."""
    llm, backend = testbed.llm(), testbed.backend()
    service = testbed.service(backend=backend, sets=["polling.hold=60", "limits.waiting=10"])
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


def test_every_turn_ends_although_models_are_switched(testbed):
    """Case 32: A request during a switch of models hung for good (mostlygeek/llama-swap#946)."""
    service, a, b = testbed.two(sets=["limits.turn_time=3"])
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
    broke_off(service.chat(inline(first_delay_us=60000000)))  # nothing is heard of either of them
    assert time.monotonic() - began < 4.5 * PATIENCE


def test_one_hung_model_does_not_slow_down_others(testbed):
    """Case 25: One hung model blocked the requests to all (vllm production-stack#749)."""
    a, b = testbed.llm(), testbed.llm()
    backend = testbed.backend({"d1": a.deployment(), "d2": b.deployment("Qwen3-8B", name="c-d2")})
    service = testbed.service(backend=backend, env=QUICK, sets=["health.completion_interval=0.3"]).wait_ready()
    current = lambda id: service.wait_status(lambda s: s["current_llm"]["llm_info"]["deploy_id"] == id, f"{id} is current")

    def usual_time():
        """Of a turn that d2 answers."""
        count, times = len(b.chats()), []
        for _ in range(40):
            turn = service.chat("[plain]")
            assert turn.whole and turn.text == PLAIN
            times.append(turn.times[-1])
        assert sum(r["body"].get("stream", False) for r in b.chats()[count:]) == 40
        return statistics.median(times)

    service.http.post("/select_model", params={"deploy_id": "d2"})
    before = usual_time()
    service.http.post("/select_model", params={"deploy_id": "d1"})
    current("d1")
    a.script(health_delay_us=NEVER, header_delay_us=NEVER, models_delay_us=NEVER)
    a.forget()
    hung = [service.ask("[plain]") for _ in range(20)]
    wait_until(lambda: sum(r["body"].get("stream", False) for r in a.chats()) == 20, "20 turns at the hung LLM")
    current("d2")
    service.wait_status(lambda s: s["available_models"][0]["status"] == "unhealthy", "d1 unhealthy")
    assert usual_time() < 2 * before + 0.02 * PATIENCE
    assert select.select([e.socket for e in hung], [], [], 0)[0] == [], "they hang all the while"
    for exchange in hung:
        exchange.reset()
    wait_until(lambda: a.stats()["active"] <= 2, "the hung LLM is left alone but for its checks")
