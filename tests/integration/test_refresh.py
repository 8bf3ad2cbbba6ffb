# SPDX-License-Identifier: Apache-2.0
"""POST /refresh while the backend accepts and never answers: TT-Studio gives up after 10 s."""

import json
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
         "available_models": [{"model_name": MODEL, "model_type": "chat", "status": "healthy", "container_name": "c-d1", "deploy_id": "d1"}]}
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


# ---- answers of the backend that are wrong in part or as a whole ---------------------------------

ODD = {
    "NUL": "\\u0000", "half a pair": "\\ud800", "the other half": "x\\udc00y", "a wrong pair": "\\ud800\\ud800",
    "NUL in a word": "ab\\u0000cd",
}


def listed(llm, odd, where):
    """The text of a list of three, the second of which has `odd` there."""
    text = json.dumps({"d1": llm.deployment("First"), "bad": llm.deployment("Bad"), "d3": llm.deployment("Third")})
    old = '"bad"' if where == "deploy_id" else '"Bad"'
    return text.replace(old, old[:3] + odd + old[3:])


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("where", ["deploy_id", "model_name"])
def test_one_odd_name_loses_only_its_entry(testbed, odd, where):
    llm = testbed.llm()
    backend = testbed.backend({"d1": llm.deployment("First")})
    service = testbed.service(backend=backend).wait_ready()
    backend.script(body=listed(llm, ODD[odd], where))
    answer = service.http.post("/refresh").json()
    assert answer["status"] == "success" and [m["model_name"] for m in answer["available_models"]] == ["First", "Third"]
    service.daemon.wait_log("discovery_skipped")
    assert "half of a surrogate pair" in service.daemon.log()


@pytest.mark.parametrize("body", ["<html>busy</html>", "[1]", '{"d1": ', "", '{"error": "x"}'])
def test_an_unreadable_list_is_no_success(testbed, body):
    llm = testbed.llm()
    backend = testbed.backend({"d1": llm.deployment(MODEL)})
    service = testbed.service(backend=backend).wait_ready()
    backend.script(body=body)
    answer = service.http.post("/refresh").json()
    assert answer["status"] == "error" and "list of deployments" in answer["message"], answer
    assert answer["message"].endswith("What was known before stays in effect.")
    assert service.chat("[plain]").whole
    backend.deploy(d1=llm.deployment(MODEL))
    assert service.http.post("/refresh").json()["status"] == "success"
