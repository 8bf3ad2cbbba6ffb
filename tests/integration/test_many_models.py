# SPDX-License-Identifier: Apache-2.0
"""1,000 deployed models are found and probed together, not one after the other."""

import time

import pytest

from harness.process import PATIENCE

ANSWER_S = 0.4


def test_a_refresh_over_1000_models_takes_at_most_three_times_one_answer(testbed):
    backend = testbed.backend()
    backend.script(many=1000, many_delay_us=int(ANSWER_S * 1e6))
    service = testbed.service(backend=backend).wait_ready(60)
    service.wait_status(lambda s: s["discovery_summary"]["healthy"] == 1000, "1,000 healthy models", 60)
    begin = time.monotonic()
    answer = service.http.post("/refresh").json()
    took = time.monotonic() - begin
    assert answer["status"] == "success" and len(answer["available_models"]) == 1000
    assert {m["status"] for m in answer["available_models"]} == {"healthy"}
    assert took < 3 * ANSWER_S * PATIENCE, f"{took:.2f} s"


def test_turns_go_on_meanwhile(testbed):
    llm, backend = testbed.llm(), testbed.backend()
    backend.script(many=1000, many_delay_us=200000)
    service = testbed.service(backend=backend, env={"LLM_CONTAINER_NAME": llm.host, "AGENT_DISCOVERY_INTERVAL": "0.3",
                                                  "AGENT_HEALTH_CHECK_INTERVAL": "0.3"}).wait_ready(60)
    slowest = 0
    for _ in range(50):
        begin = time.monotonic()
        assert service.chat("[plain]").whole
        slowest = max(slowest, time.monotonic() - begin)
    assert slowest < 1 * PATIENCE


@pytest.mark.parametrize("count", [5000, pytest.param(20000, marks=pytest.mark.long)])
def test_a_refresh_over_very_many_models_is_answered(testbed, count):
    """The first of them meets the probes of all, and the daemon answers other commands meanwhile."""
    backend = testbed.backend()
    backend.script(many=count)
    service = testbed.service(backend=backend, start=False)
    service.start_daemon().wait_log("discovery found")
    for _ in range(3):
        answer = service.ctl("refresh")
        assert answer["status"] == "success" and len(answer["available_models"]) == count
        assert service.ctl("ping")
    assert {m["status"] for m in answer["available_models"]} <= {"healthy", "degraded"}


def test_a_refresh_does_not_wait_for_models_that_do_not_answer(testbed):
    llm, backend = testbed.llm(), testbed.backend()
    backend.script(many=2000, many_delay_us=60000000)
    service = testbed.service(backend=backend, env={"LLM_CONTAINER_NAME": llm.host}).wait_ready(60)
    answer = service.ctl("refresh")
    assert answer["status"] == "success" and len(answer["available_models"]) == 2000
    assert service.chat("[plain]").whole
