# SPDX-License-Identifier: Apache-2.0
"""Why no LLM is seen: what can be wrong with TT-Studio's backend, and what all views say of it."""

from .doctor import doctor, run
from .process import wait_until

# name: (the backend's script, or its URL; words; what doctor calls it)
SCRIPTED = {
    "500": ({"status": 500}, "is HTTP 500", "backend_error"),
    "401": ({"status": 401}, "is HTTP 401", "backend_unauthorized"),
    "bad JSON": ({"body": "<html>"}, "GET /models/deployed/", "backend_malformed"),
    "a list": ({"body": "[]"}, "has the wrong form", "backend_malformed"),
    "cut": ({"body": "{" + 100 * " " + "}", "cut": 5}, "97 bytes", "backend_error"),  # in the words of any libcurl
    "timeout": ({"stall": True}, "within 500 ms", "backend_timeout"),
    "empty": ({"deployed": {}}, "0 models found", "backend_empty"),  # the last: it answers
}
UNREACHABLE = {
    "down": ("http://127.0.0.1:{port}", "onnection refused", "backend_down"),
    "DNS": ("http://no-such-host.invalid:8000", "no-such-host.invalid", "backend_unknown_host"),
}
FAULTS = [*SCRIPTED, *UNREACHABLE]
FOLLOWS = {"no_llm", "llm_unhealthy"}  # also the local host, which the tests configure


def make(testbed, fault):
    """(service, its backend or None, words, finding): the fault is there, and known."""
    if fault in SCRIPTED:
        knobs, words, finding = SCRIPTED[fault]
        backend = testbed.backend(**knobs)
        service = testbed.service(backend=backend, sets=["discovery.timeout=0.5"])
    else:
        url, words, finding = UNREACHABLE[fault]
        backend = None
        service = testbed.service(env={"AGENT_BACKEND_URL": url.format(port=testbed.closed_port())})
    return service, backend, words, finding


def known(service, fault):
    """discovery in GET /status, as soon as it is so."""
    state = "answers" if fault == "empty" else "failing"
    return service.wait_status(lambda s: s.get("discovery", [{}])[0].get("state") == state, f"discovery is {state}")["discovery"][0]


def views(service):
    """{view: what it says}, but for the page."""
    said = {word: done.stdout + done.stderr for word in ("status", "models", "refresh") for done in [run(service, word)]}
    return {**said, "doctor": doctor(service)}
