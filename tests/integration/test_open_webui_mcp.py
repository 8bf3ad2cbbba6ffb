# SPDX-License-Identifier: Apache-2.0
"""Open WebUI, unmodified, as a client of /mcp: its models use our tools, as the key of the connection may."""

import socket

import pytest

from harness.api_clients import is_installed
from harness.open_webui import MODEL, NAME, OpenWebUi
from harness.process import wait_until
from harness.tool_mocks import call, calls, e2b, e2b_env, rounds, search, search_env

pytestmark = [pytest.mark.long, pytest.mark.skipif(not is_installed(NAME), reason=f"not installed by tests/run (see build/{NAME}.log)")]


class World:
    """A service that wants keys, whose models the page has, and whose tools, once for each key."""

    def __init__(self, testbed):
        self.search, self.sandbox = search(testbed), e2b(testbed)
        self.llm = testbed.llm("--record", "2000")
        self.service = testbed.service(
            backend=testbed.backend({"d1": self.llm.deployment()}), env={**search_env(self.search), **e2b_env(self.sandbox)},
            sets=["http.api=true", "http.mcp=true", "access.require=all", f"access.keys_file={testbed.directory}/keys.jsonl"]).wait_ready()
        self.keys = {name: self.service.ctl("keys", "create", name, *fields)["key"]
                     for name, fields in {"all": (), "searches": ("tools=web_search",), "none": ("tools=",)}.items()}
        self.service.secrets += self.keys.values()
        self.page = OpenWebUi(testbed, self.service.url, self.keys["all"])
        wait_until(lambda: MODEL in self.page.models(), "the page has the model", 30)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            self.away = f"http://127.0.0.1:{closed.getsockname()[1]}/mcp"
        self.url = f"{self.service.url}/mcp"
        self.page.use_mcp(*((name, self.url, key) for name, key in self.keys.items()), ("wrong", self.url, "wrong"), ("away", self.away, ""))

    def chat(self, mark, *tools, connections, text="done"):
        """What the page has of an answer for which the model calls these; what the LLM was offered, and what it was told of each."""
        content = rounds(*([calls(*tools)] if tools else []), text=[text]) + f" ({mark})"
        answer = self.page.answer(self.page.ask(content, tool_ids=[f"server:mcp:{c}" for c in connections], params={"function_calling": "native"}))
        bodies = [c["body"] for c in self.llm.chats() if any(f"({mark})" in str(m["content"]) for m in c["body"]["messages"])]
        offered = {t["function"]["name"] for t in bodies[0].get("tools", [])}
        return answer, {n for n in offered if n.startswith(tuple(f"{c}_" for c in connections))}, [
            m["content"] for m in bodies[-1]["messages"] if m["role"] == "tool"]


@pytest.fixture(scope="module")
def world(worlds):
    return worlds.get("page", World)


@pytest.mark.parametrize("key, tools", [("all", {"web_search", "code_interpreter", "chat", "llm_status"}), ("searches", {"web_search"}), ("none", set())])
def test_the_admin_sees_the_tools_that_the_key_may_use(world, key, tools):
    told = world.page.verify_mcp("tt", world.url, world.keys[key])
    assert told.status_code == 200 and told.json()["status"] is True, told.text
    assert {s["name"] for s in told.json()["specs"]} == tools
    assert all(s["description"] and s["parameters"]["type"] == "object" for s in told.json()["specs"])


@pytest.mark.parametrize("name", ["wrong", "away"])
def test_the_admin_is_told_that_it_cannot_be_used(world, name):
    told = world.page.verify_mcp(name, world.away if name == "away" else world.url, "wrong")
    assert told.status_code == 400 and "Failed" in told.json()["detail"]


def test_the_model_searches_and_runs_code(world):
    answer, offered, told = world.chat("uses", call("all_web_search", "call_a", query="rain"), call("all_code_interpreter", "call_b", code="2 + 2"),
                                       connections=["all"])
    assert "done" in answer["content"] and not answer.get("error"), answer
    assert offered == {f"all_{t}" for t in ("web_search", "code_interpreter", "chat", "llm_status")}
    assert world.search.queries() == [("tavily", "rain")] and "Error" not in told[0] and "http" in told[0]
    assert world.sandbox.codes() == ["2 + 2"] and len(told) == 2 and "Error" not in told[1]


def test_what_the_key_may_not_use_is_not_run(world):
    before = world.sandbox.codes()
    answer, offered, (told,) = world.chat("may not", call("searches_code_interpreter", code="3 + 3"), connections=["searches"])
    assert "done" in answer["content"] and offered == {"searches_web_search"}
    assert "not found" in told and world.sandbox.codes() == before


def test_a_tool_that_fails_is_told_to_the_model(world):
    answer, _, (told,) = world.chat("fails", call("all_chat", message="x", model="nix"), connections=["all"])
    assert "done" in answer["content"] and not answer.get("error")
    assert "nix" in told


@pytest.mark.parametrize("name", ["wrong", "away"])
def test_a_chat_goes_on_without_a_server_that_cannot_be_used(world, name):
    answer, offered, told = world.chat(name, call("all_web_search", query=name), connections=[name, "all"])
    assert "done" in answer["content"] and not answer.get("error"), answer
    assert not [n for n in offered if n.startswith(name)] and "all_web_search" in offered and "Error" not in told[0]
    assert ("tavily", name) in world.search.queries()
