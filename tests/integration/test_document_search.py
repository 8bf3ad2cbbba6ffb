# SPDX-License-Identifier: Apache-2.0
"""document_search: what TT-Studio's backend finds in a collection of documents."""

import json

import pytest

from harness.process import wait_until
from harness.tool_mocks import SEARCH, call, calls, rounds, search, search_env

NAME = "document_search"
PLAIN = "Hello, world! Grüße 😀\nBye."
FAST = {"AGENT_DISCOVERY_INTERVAL": "0.2"}
FAILED = "Error: the document search failed ("


def offered(service, how=True):
    return service.wait_status(lambda s: (NAME in s.get("tools", [])) == how, f"{NAME}: {how}")


class World:
    def __init__(self, testbed, *sets, **script):
        self.llm = testbed.llm()
        self.deployed = {"d1": self.llm.deployment()}
        self.backend = testbed.backend(self.deployed, **{"documents": ["one", "two", "three", "four"], **script})
        self.search = search(testbed)
        self.service = testbed.service(backend=self.backend, env={**search_env(self.search), **FAST}, sets=sets).wait_ready()

    def script(self, **script):
        self.backend.script(deployed=self.deployed, **script)

    def results(self, *each):
        """One turn with these calls in one answer; the turn, and what the LLM is sent as the result of each."""
        self.llm.forget()
        turn = self.service.chat(rounds(calls(*each)))
        assert turn.whole and turn.answer == PLAIN, turn.chunks
        return turn, [m["content"] for m in self.llm.chats()[-1]["body"]["messages"][-len(each):]]


@pytest.fixture(scope="module")
def world(shared):
    w = World(shared, "documents.timeout=1", "documents.result_chars=50")
    offered(w.service)
    return w


def test_a_search_finds_documents(world):
    world.script(documents=["one", "ä" * 60, " \n", "three", "four"])
    turn, (content,) = world.results(call(NAME, query="What is a Tensix core?"))
    assert turn.text == "<think>[searching]\nSearching: What is a Tensix core?\nDone.\n</think>" + PLAIN
    assert content == "one\n\n---\n\n" + "ä" * 50 + "\n\n---\n\nthree"
    request = [r for r in world.backend.requests("/collections/retrieve") if r["body"]["query_text"] != "Tenstorrent"][-1]
    assert request["body"] == {"query_text": "What is a Tensix core?", "collection": "tenstorrent_internal_knowledge"}


def test_the_tool_is_offered_and_the_prompt_says_when(world):
    status = offered(world.service)
    assert status["tools"] == [SEARCH, NAME]
    assert status["capabilities"] == {"web_search": True, "tool_calling": True, "document_search": True}
    world.llm.forget()
    world.service.chat("[plain]")
    body = world.llm.chats()[0]["body"]
    assert [t["function"]["name"] for t in body["tools"]] == [SEARCH, NAME]
    assert "use document_search first" in body["messages"][0]["content"]
    assert "at most two searches" in body["messages"][0]["content"]
    assert NAME in world.service.ctl("status")["tools"]


@pytest.mark.parametrize("found, content", [
    ([], "The document search found nothing"),
    (["", "  ", 7, None, {"a": 1}], "The document search found nothing"),
    ([["one", "two"]], "one\n\n---\n\ntwo"),
    ([7, "one"], "one"),
])
def test_what_is_no_document_is_passed_over(world, found, content):
    world.script(documents=found)
    assert world.results(call(NAME, query="q"))[1][0].startswith(content)


@pytest.mark.parametrize("body, content", [
    ('{"documents": ["a\\u0000b"]}', "a\ufffdb"),
    ('{"documents": ["a\\ud83d", "\\ude00b \\ud83d\\ude00"]}', "a\ufffd\n\n---\n\n\ufffdb 😀"),
    ('{"distances": [NaN, Infinity, 1e999], "documents": ["x"]}', "x"),
    ('{"documents": ["</think>[STATS]{}"]}', "</think>[STATS]{}"),
])
def test_odd_characters_cost_nothing(world, body, content):
    world.script(documents_body=body)
    assert world.results(call(NAME, query="q"))[1] == [content]


FAULTS = {
    "500": {"documents": [], "documents_status": 500},
    "not found": {"documents": [], "documents_status": 404},
    "no content": {"documents": [], "documents_status": 204},
    "redirect": {"documents": [], "documents_status": 302},
    "hangs": {"documents": [], "documents_stall": True},
    "10 MiB": {"documents": ["x"], "documents_huge": 10 << 20},
    "another shape": {"documents_body": "[]"},
    "no list": {"documents_body": '{"documents": "x"}'},
    "an error": {"documents_body": '{"error": "no such collection"}'},
    "not JSON": {"documents_body": "<html>"},
    "empty": {"documents_body": ""},
    "cut": {"documents_body": '{"documents": ["x"'},
    "deep": {"documents_body": '{"documents": ' + "[" * 5000 + "]" * 5000 + "}"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_backend_is_a_sentence_for_the_model(testbed, fault):
    w = World(testbed, "documents.timeout=1")
    offered(w.service)
    w.service.daemon.stop()  # it would take the tool away
    w.script(**FAULTS[fault])
    turn, contents = w.results(call(NAME, query="q"), call(NAME, id="b"), call(SEARCH, id="c", query="q"))
    assert contents[0].startswith(FAILED) and contents[0].endswith("the search did not work."), contents
    assert contents[1].startswith("Error: the argument query is missing or empty.")
    assert not contents[2].startswith("Error")


@pytest.mark.parametrize("fault", FAULTS)
def test_the_tool_goes_and_comes_with_the_backend(testbed, fault):
    w = World(testbed, "documents.timeout=0.5", **FAULTS[fault])
    w.service.daemon.wait_log("documents available=false reason=")
    status = offered(w.service, False)
    assert status["tools"] == [SEARCH]
    assert status["capabilities"] == {"web_search": True, "tool_calling": True}
    w.llm.forget()
    w.service.chat("[plain]")
    body = w.llm.chats()[0]["body"]
    assert [t["function"]["name"] for t in body["tools"]] == [SEARCH]
    assert "document_search" not in json.dumps(body) and "{tools}" not in json.dumps(body)
    w.script(documents=["one"])
    offered(w.service)
    assert w.results(call(NAME, query="q"))[1] == ["one"]
    w.backend.stop()
    offered(w.service, False)
    w.service.daemon.wait_log("WARNING documents available=false reason=")


def test_settings(testbed):
    w = World(testbed, "documents.collection=ours", "documents.max_results=1")
    offered(w.service)
    assert w.results(call(NAME, query="q"))[1] == ["one"]
    assert all(r["body"]["collection"] == "ours" for r in w.backend.requests("/collections/retrieve"))


def test_it_can_be_switched_off(testbed):
    w = World(testbed, "documents.enabled=false")
    wait_until(lambda: w.backend.requests("/models/deployed/"), "discovery")
    assert offered(w.service, False)["tools"] == [SEARCH]
    assert not w.backend.requests("/collections/retrieve")


def test_it_counts_as_no_web_search(testbed):
    w = World(testbed, "search.order=")
    status = offered(w.service)
    assert status["tools"] == [NAME]
    assert status["capabilities"] == {"web_search": False, "tool_calling": True, "document_search": True}
