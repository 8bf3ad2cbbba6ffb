# SPDX-License-Identifier: Apache-2.0
"""What clients that are not admins see of the state."""

import json

import pytest

from harness import fastcgi


@pytest.fixture(params=["full", "brief"])
def world(request, testbed):
    service, _ = testbed.one(sets=[f"http.public_status={request.param}"])
    return request.param, service


def seen(service, path, admin):
    _, body = fastcgi.ask(service.socket, "GET", path, TT_AGENT_ADMIN=admin)
    return json.loads(body)


@pytest.mark.parametrize("path", ["/", "/status", "/status/", "/agent/status"])
def test_addresses_are_shown_to_admins_only_if_the_status_is_brief(world, path):
    which, service = world
    whole, public = seen(service, path, "1"), seen(service, path, "")
    assert "127.0.0.1" in json.dumps(whole) or "localhost" in json.dumps(whole)
    if which == "full":
        assert public == whole
        return
    assert public == {"status": "ready", "model_name": "Llama-3.1-8B-Instruct",
                      "discovery_summary": {"total_llms": 1, "healthy": 1, "degraded": 0, "unhealthy": 0}}


def test_a_brief_status_says_that_it_is_stale(testbed):
    service, _ = testbed.one(sets=["http.public_status=brief"])
    service.daemon.kill()
    service.wait_status(lambda s: s.get("stale"), "it is stale")
    public = seen(service, "/status", "")
    assert public["status"] == "ready" and public["stale"] is True


def test_a_brief_status_of_a_service_that_waits(testbed):
    service = testbed.service(sets=["http.public_status=brief"])
    service.wait_status(lambda s: s["status"] == "initializing", "it waits")
    assert seen(service, "/status", "") == {"status": "initializing", "model_name": None, "discovery_summary": {
        "total_llms": 0, "healthy": 0, "degraded": 0, "unhealthy": 0}}
