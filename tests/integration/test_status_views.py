# SPDX-License-Identifier: Apache-2.0
"""All status pages and commands say the same."""

import json
import os
import signal
from collections import Counter

from harness import fastcgi
from harness.channel import Channel
from harness.process import wait_until

QUICK = {"AGENT_HEALTH_CHECK_INTERVAL": "0.2", "AGENT_HEALTH_CHECK_TIMEOUT": "0.3", "AGENT_DISCOVERY_INTERVAL": "0.3",
         "AGENT_MAX_FAILURES": "2"}


class Facts:
    """What a page says: each model's health, which is current, how many are in which health."""

    def __init__(self, document, models, current, counts):
        self.generation, self.stale = document["generation"], document.get("stale", False)
        self.health = {m["deploy_id"]: m["status"] for m in models if m["deploy_id"]}
        self.reported = (self.health, current, {k: counts[k] for k in ("healthy", "degraded", "unhealthy")})


def of_root(d):
    summary = d["discovery_summary"]
    return Facts(d, summary["llms"], d["health_monitoring"]["current_llm"], summary)


def of_status(d):
    assert d["discovery_summary"]["llms"] == [{k: m[k] for k in ("deploy_id", "model_name", "status", "internal_url")}
                                              for m in d["available_models"]]
    return Facts(d, d["available_models"], d["current_llm"]["llm_info"]["model_name"], d["discovery_summary"])


def of_models(d):
    found = [m for m in d["models"] if m["deploy_id"]]
    return Facts(d, found, next(m["model_name"] for m in found if m["current"]), Counter(m["status"] for m in found))


def page(path):
    # A connection of its own: any worker may take it.
    return lambda service: json.loads(fastcgi.ask(service.socket, "GET", path)[1])


def command(name):
    def ask(service):
        with Channel(service.run) as channel:
            return channel.call(name)
    return ask


def tool(name):
    return lambda service: json.loads(service.ctl(name, ok=False).stdout)


VIEWS = {
    "GET /": (page("/"), of_root),
    "GET /status": (page("/status"), of_status),
    "the command status": (command("status"), of_status),
    "the command models": (command("models"), of_models),
    "tt-agentctl status": (tool("status"), of_status),
    "tt-agentctl models": (tool("models"), of_models),
}
PAGES = ["GET /", "GET /status"]
TOOLS = ["tt-agentctl status", "tt-agentctl models"]
QUICK_VIEWS = [name for name in VIEWS if name not in TOOLS]


class Views:
    def __init__(self, service):
        self.service, self.seen = service, {}

    def look(self, name):
        """What the view says, which no other view may contradict at that generation."""
        ask, judge = VIEWS[name]
        facts = judge(ask(self.service))
        first, reported = self.seen.setdefault(facts.generation, (name, facts.reported))
        assert facts.reported == reported, f"generation {facts.generation}: {name} and {first} disagree"
        return facts

    def wait(self, condition, what, names=VIEWS):
        """Until each of them meets it, all of them at one generation."""
        def met():
            facts = [self.look(name) for name in names]
            return all(condition(f) for f in facts) and len({f.generation for f in facts}) == 1
        wait_until(met, what, 20)

    def follow(self, health, current):
        """Until all say so: at first those that answer quickly, which see each publication."""
        says = lambda f: (f.health, f.reported[1]) == (health, current)
        for names in (QUICK_VIEWS, VIEWS):
            self.wait(says, f"{health}, current is {current}", names)
        return says


def test_all_pages_say_the_same_of_a_model_that_died(testbed):
    """Case 23: status pages disagreed after a model died (tt-studio#1013)."""
    a, b, c = testbed.llm(), testbed.llm(), testbed.llm()
    backend = testbed.backend({"d1": a.deployment("First"), "d2": b.deployment("Second", name="c-d2"),
                             "d3": c.deployment("Third", name="c-d3")})
    service = testbed.service(backend=backend, env=QUICK, workers=2).wait_ready()
    views = Views(service)
    views.follow({"d1": "healthy", "d2": "healthy", "d3": "healthy"}, "First")
    c.stop()  # nothing waits for what is said of it: it is published a little later
    views.follow({"d1": "healthy", "d2": "healthy", "d3": "unhealthy"}, "First")
    a.stop()
    died = views.follow({"d1": "unhealthy", "d2": "healthy", "d3": "unhealthy"}, "Second")
    for pid in service.worker_pids():  # the other one answers alone
        os.kill(pid, signal.SIGSTOP)
        try:
            views.wait(died, "a worker says so", PAGES)
        finally:
            os.kill(pid, signal.SIGCONT)
    service.daemon.kill()
    views.wait(lambda f: died(f) and f.stale, "they go on saying so without the daemon", [*PAGES, *TOOLS])
    assert len(views.seen) > 3
