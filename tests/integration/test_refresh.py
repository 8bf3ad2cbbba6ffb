# SPDX-License-Identifier: Apache-2.0
"""POST /refresh while the backend accepts and never answers: TT-Studio gives up after 10 s."""

import time

import pytest

from harness.process import PATIENCE

MODEL = "Llama-3.1-8B-Instruct"


def known(testbed):
    """A service with one LLM, whose backend stalls from now on."""
    llm = testbed.llm()
    backend = testbed.backend({"d1": llm.deployment(MODEL)})
    service = testbed.service(backend=backend).wait_ready()
    backend.script(stall=True)
    backend.forget()
    return service, backend


def unknown(testbed):
    """A service that never saw an LLM, because its backend stalls from the start."""
    backend = testbed.backend(stall=True)
    return testbed.service(backend=backend), backend


FOUND = {"status": "success", "message": "LLM refreshed successfully", "old_model": MODEL, "new_model": MODEL,
         "available_models": [{"model_name": MODEL, "model_type": "chat", "status": "healthy", "container_name": "c-d1"}]}
NOTHING = {"status": "error", "message": "No LLMs available and no fallback configured"}


@pytest.mark.parametrize("world, want", [(known, FOUND), (unknown, NOTHING)], ids=["known", "unknown"])
def test_a_refresh_is_answered_in_time_although_the_backend_stalls(testbed, world, want):
    service, backend = world(testbed)
    began = time.monotonic()
    answer = service.http.post("/refresh")
    took = time.monotonic() - began
    assert answer.status_code == 200 and answer.json() == want
    assert took < 8 * PATIENCE, took
    assert backend.requests("/models/deployed/")
    assert service.http.get("/status").status_code == 200
