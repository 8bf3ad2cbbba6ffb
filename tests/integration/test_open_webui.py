# SPDX-License-Identifier: Apache-2.0
"""Open WebUI, unmodified, over /v1: what its chats have in them after an answer, and after one that broke off."""

import os
import signal

import pytest

from harness.api_clients import is_installed
from harness.llm_script import COUNT, inline, said, words
from harness.open_webui import MODEL, NAME, OpenWebUi
from harness.process import WRAP, wait_until
from harness.tool_mocks import call, calls, rounds

TOOL = '''
class Tools:
    def weather(self, city: str) -> str:
        """
        The weather of a city.
        :param city: the city
        """
        return f"Rain in {city}"
'''

pytestmark = [pytest.mark.long, pytest.mark.skipif(not is_installed(NAME), reason=f"not installed by tests/run (see build/{NAME}.log)")]


class World:
    """The service, which wants keys and does not continue answers, and a page at it."""

    def __init__(self, testbed):
        self.llm = testbed.llm("--record", "2000")
        sets = ["http.api=true", "access.require=api", f"access.keys_file={testbed.directory}/keys.jsonl", "llm.stall_timeout=1", "llm.silence_timeout=2",
                "llm.continue=false"]
        self.service = testbed.service(backend=testbed.backend({"d1": self.llm.deployment()}), sets=sets, workers=2).wait_ready()
        self.key = self.service.ctl("keys", "create", "client")["key"]
        self.service.secrets.append(self.key)
        self.page = OpenWebUi(testbed, self.service.url, self.key)
        wait_until(lambda: MODEL in self.page.models(), "the page has the model", 30)

    def requests(self, mark):
        return [c["body"] for c in self.llm.chats() if any(mark in str(m["content"]) for m in c["body"]["messages"])]


@pytest.fixture(scope="module")
def world(worlds):
    return worlds.get("page", World)


def test_an_answer(world):
    answer = world.page.answer(world.page.ask(words() + " (streamed)"))
    assert answer["content"].strip() == said(COUNT).strip() and not answer.get("error"), answer
    body, = world.requests("(streamed)")
    assert body["stream"] is True


def test_an_answer_of_its_own_api(world):
    """What it serves to other programs, in one piece."""
    answer = world.page.http.post("/api/chat/completions", json={"model": MODEL, "messages": [{"role": "user", "content": words() + " (plain)"}]})
    choice, = answer.json()["choices"]
    assert choice["message"]["content"] == said(COUNT) and choice["finish_reason"] == "stop"


def test_a_tool(world):
    made = world.page.http.post("/api/v1/tools/create", json={"id": "sky", "name": "sky", "content": TOOL, "meta": {"description": "sky"}})
    assert made.status_code == 200, made.text
    asked = rounds(calls(call("weather", city="Zürich")), text=["It ", "rains."], fragment=3) + " (tool)"
    answer = world.page.answer(world.page.ask(asked, tool_ids=["sky"], params={"function_calling": "native"}))
    assert "It rains." in answer["content"] and not answer.get("error"), answer
    first, second = world.requests("(tool)")
    assert "weather" in [t["function"]["name"] for t in first["tools"]]
    assert [m["role"] for m in second["messages"][len(first["messages"]):]] == ["assistant", "tool"]
    assert "Rain in Zürich" in second["messages"][-1]["content"]


def test_both_names_of_the_model_are_listed(world):
    assert {MODEL, f"{MODEL}:agent"} <= set(world.page.models())


@pytest.mark.parametrize("fault", [{"cut_after": 3}, {"tokens": 3, "finish": "", "done": False}, {"stall_after": 3}, {"error_after": 3}])
def test_what_broke_off_has_an_error(world, fault):
    mark = f"(broken {next(iter(fault))})"
    answer = world.page.answer(world.page.ask(inline(**{"tokens": 20, "token": "w# ", "numbered": True, **fault}) + f" {mark}"))
    assert "broke off" in str(answer["error"]), answer
    assert len(world.requests(mark)) == 1, "it tries once"


def test_what_is_refused_has_an_error(world):
    answer = world.page.answer(world.page.ask(inline(window=3) + " (long)"))
    assert "maximum context length" in str(answer["error"]), answer
    assert len(world.requests("(long)")) == 1


@pytest.mark.skipif(bool(WRAP), reason="valgrind cannot follow a keeper")
def test_a_worker_that_dies(world):
    chat = world.page.ask(inline(tokens=1000, token="w# ", numbered=True, delay_us=10000) + " (dies)")
    wait_until(lambda: world.requests("(dies)") and world.llm.stats()["active"], "the LLM is asked", 30)
    world.service.responder.expected_exit.add(-signal.SIGKILL)
    for pid in world.service.worker_pids():
        os.kill(pid, signal.SIGKILL)
    answer = world.page.answer(chat)
    assert "broke off" in str(answer["error"]), answer
    assert len(world.requests("(dies)")) == 1


def test_a_wrong_key(testbed):
    llm = testbed.llm()
    service = testbed.service(backend=testbed.backend({"d1": llm.deployment()}),
                              sets=["http.api=true", "access.require=api", f"access.keys_file={testbed.directory}/keys.jsonl"]).wait_ready()
    page = OpenWebUi(testbed, service.url, "wrong")
    assert MODEL not in page.models() and not llm.chats()
