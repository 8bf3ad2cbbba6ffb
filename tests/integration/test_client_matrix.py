# SPDX-License-Identifier: Apache-2.0
"""Unmodified clients of the OpenAI API by what may happen to them: a row for each client, a column for each scenario.
No client takes a broken answer for a whole one, and none tries for ever. A table is printed at the end of the run."""

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.api_clients import CLIENTS, Cutter, client, is_installed, seen_in_this_run
from harness.llm_script import COUNT, inline, said, words
from harness.process import PATIENCE, WRAP, wait_until
from harness.tool_mocks import call, calls, rounds

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
WEATHER = {"type": "function", "function": {"name": "weather", "description": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
LONG = {"tokens": 300, "token": "w# ", "numbered": True, "delay_us": 10000}
WHOLE = said(300).replace("word", "w")


class World:
    """The service, which wants keys, and another one whose answers nobody continues."""

    def __init__(self, testbed, long):
        self.llm = testbed.llm("--record", "2000")
        sets = ["http.api=true", "access.require=api", f"access.keys_file={testbed.directory}/keys.jsonl", "llm.stall_timeout=0.5",
                "llm.silence_timeout=1"]
        start = lambda *more: testbed.service(backend=testbed.backend({"d1": self.llm.deployment()}), sets=[*sets, *more], workers=2)
        self.service, self.stubborn = start(), start("llm.continue=false")
        self.key = self.service.ctl("keys", "create", "client")["key"]
        for service in self.service, self.stubborn:
            service.wait_ready().secrets.append(self.key)
            wait_until(lambda: service.http.get("/v1/models", headers={"Authorization": f"Bearer {self.key}"}).status_code == 200, "the key is known")
            wait_until(lambda: any(m["context_length"] for m in service.ctl("models")["models"]), "what the LLM tells of itself", 20)
        self.cutter = Cutter(testbed, self.service.host)
        self.clients = {name: c.start() for name, c in CLIENTS.items() if all(map(is_installed, c.environments)) and (long or not c.long)}
        for c in self.clients.values():
            testbed.client(c)
        self.results = {}

    def ask(self, message, name, **more):
        """A request whose message says whose it is."""
        return {"model": MODEL, "messages": [{"role": "user", "content": f"{message} (of {name})"}], **more}

    def chats(self, name):
        """What the LLM got of the client's requests of that scenario."""
        return [r for r in self.llm.chats() if any(f"(of {name})" in str(m.get("content")) for m in r["body"]["messages"])]

    def of(self, scenario, name):
        """What the client saw, as a list; all of them are at it at the same time, when the first is wanted."""
        if scenario not in self.results:
            # Once: it may start a web server.
            url = SCENARIOS[scenario].get("url", lambda world: world.service.url)(self) + "/v1"
            with ThreadPoolExecutor(len(self.clients) + 1) as pool:
                begun = {n: pool.submit(self._do, c, url, SCENARIOS[scenario], f"{scenario}-{n}") for n, c in self.clients.items()}
                if "meanwhile" in SCENARIOS[scenario]:
                    SCENARIOS[scenario]["meanwhile"](self, scenario)
            self.results[scenario] = {n: f.exception() or f.result() for n, f in begun.items()}
        seen = self.results[scenario][name]
        if isinstance(seen, BaseException):
            raise seen
        return seen

    def _do(self, c, url, scenario, name):
        orders = [(way, self.ask(scenario["says"], name, **scenario.get("more", {}))) for way in scenario.get("ways", c.ways) if way in (*c.ways, "tools", "leave")]
        seen = c.do(url, *orders, **{"key": self.key, **scenario.get("with", {})})
        return seen if isinstance(seen, list) else [seen]


@pytest.fixture(scope="module")
def world(worlds, pytestconfig):
    return worlds.get("clients", lambda t: World(t, pytestconfig.getoption("--long")))


# ---- what must be seen; each returns a word for the table ----


def answered(world, seen, name):
    assert all(s.get("text") == said(COUNT) and s["finish"] == "stop" for s in seen), seen
    return "answer"


def ran_tools(world, seen, name):
    assert seen[0].get("text") == "It rains." and seen[0]["ran"] == [["weather", {"city": "Zürich"}], ["weather", {"city": "Bern"}]], seen
    results = [m for m in world.chats(name)[-1]["body"]["messages"] if m["role"] == "tool"]
    assert [m["tool_call_id"] for m in results] == ["call_a", "call_b"], results
    return "called"


def refused(status, words_, most):
    def judge(world, seen, name):
        for s in seen:
            assert s.get("error") and s.get("status", status) in (status, None), s
            assert words_ in s["message"], s
        assert len(world.chats(name)) <= most * len(seen), "it tries no more than that"
        return f"error {status}"

    return judge


def gone(world, seen, name):
    assert seen == [{}]
    chat, = world.chats(name)
    wait_until(lambda: any(d["request"] == chat["id"] for d in world.llm.stats()["closed"]), "the LLM's connection is closed")
    return "cancelled"


def never_broken(world, seen, name):
    assert all(s.get("error") for s in seen), seen
    assert len(world.chats(name)) <= 6 * len(seen), "nobody tries again and again"
    return "error"


def goes_on(world, seen, name):
    """But for the one answer that the worker may have been writing."""
    if "error" not in seen[0]:
        assert seen[0]["text"] == WHOLE and seen[0]["finish"] == "stop", seen
    broken = [n for n, s in world.results["worker dies, LLM continues"].items() if isinstance(s, BaseException) or "error" in s[0]]
    assert len(broken) <= 2, broken
    return "error" if "error" in seen[0] else "whole"


# ---- what happens meanwhile ----


def kill(service_of):
    def workers(world, scenario):
        """As soon as all are being answered."""
        service = service_of(world)
        wait_until(lambda: world.llm.stats()["active"] >= len(world.clients), "the LLM is asked", 60)
        threading.Event().wait(0.3 * PATIENCE)
        service.responder.expected_exit.add(-signal.SIGKILL)
        for pid in service.worker_pids():
            os.kill(pid, signal.SIGKILL)

    return workers


def dies(server):
    return {"says": inline(**{**LONG, "tokens": 6000}), "ways": ("stream",), "judge": never_broken, "url": lambda w: f"http://{w.stubborn.host_of(server)}",
            "meanwhile": kill(lambda w: w.stubborn), "keeper": True, "long": server != "nginx"}


BROKEN = {"tokens": 20, "token": "w# ", "numbered": True, "delay_us": 5000}
SCENARIOS = {
    "plain": {"says": words(), "ways": ("create",), "judge": answered},
    "streamed": {"says": words(), "ways": ("stream", "helper"), "judge": answered},
    "tools": {"says": rounds(calls(call("weather", "call_a", city="Zürich"), call("weather", "call_b", city="Bern")), text=["It ", "rains."]),
              "more": {"tools": [WEATHER]}, "ways": ("tools",), "judge": ran_tools},
    "401": {"says": words(), "with": {"key": "wrong"}, "judge": refused(401, "key", 0)},
    "404": {"says": words(), "more": {"model": "nix"}, "judge": refused(404, "nix", 0)},
    "429": {"says": inline(status=429, retry_after=1), "judge": refused(429, "", 2)},
    "too long": {"says": inline(window=3), "judge": refused(400, "maximum context length is", 3)},
    "leaves": {"says": inline(tokens=1000, delay_us=20000), "ways": ("leave",), "judge": gone},
    "LLM dies": {"says": inline(**BROKEN, cut_after=3), "with": {"retries": 1}, "judge": never_broken},
    "LLM ends early": {"says": inline(**{**BROKEN, "tokens": 3, "finish": "", "done": False}), "judge": never_broken},
    "LLM stalls": {"says": inline(**BROKEN, stall_after=3), "ways": ("stream", "helper"), "judge": never_broken},
    "cut on the way": {"says": inline(**BROKEN), "ways": ("stream", "helper"), "judge": never_broken, "url": lambda w: w.cutter.url},
    "worker dies, LLM continues": {"says": inline(**LONG), "ways": ("stream",), "judge": goes_on, "meanwhile": kill(lambda w: w.service), "keeper": True},
    "worker dies": dies("nginx"),
    "worker dies (lighttpd)": dies("lighttpd"),
    "worker dies (Apache)": dies("apache"),
}


def scenario(name):
    s = SCENARIOS[name]
    return pytest.param(name, marks=[*([pytest.mark.long] if s.get("long") else []),
                                     *([pytest.mark.skipif(bool(WRAP), reason="valgrind cannot follow a keeper")] if s.get("keeper") else [])])


@pytest.mark.parametrize("scenario", map(scenario, SCENARIOS))
@pytest.mark.parametrize("name", map(client, CLIENTS))
def test_client(world, scenario, name):
    """Each scenario with each client."""
    word = SCENARIOS[scenario]["judge"](world, world.of(scenario, name), f"{scenario}-{name}")
    seen_in_this_run.setdefault(name, {})[scenario] = word
