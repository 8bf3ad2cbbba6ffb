# SPDX-License-Identifier: Apache-2.0
"""Tools that run here as POST /v1/responses tells of them: on the wire, stored, and as OpenAI's own Python client reads them."""

import json

import pytest

from harness.api_clients import client, responses_client
from harness.http_client import Exchange
from harness.llm_script import inline
from harness.mcp_server import McpServer, servers
from harness.openai_stream import post
from harness.responses_stream import PATH, check_response, events, reasoning_of, text_of
from harness.tool_mocks import CODE, SEARCH, call, calls, e2b, e2b_env, rounds, search, search_env

AGENT = "meta-llama/Llama-3.1-8B-Instruct:agent"


def request(text, **more):
    return {"model": AGENT, "input": text, **more}


def object_of(host, body):
    status, _, response = post(host, body, path=PATH)
    assert status == 200, response
    check_response(response)
    return response


class World:
    """Where the agent searches, runs code, and has the tools of an MCP server."""

    def __init__(self, testbed):
        self.testbed = testbed
        self.mcp, self.search, sandbox = testbed.client(McpServer("modern")), search(testbed), e2b(testbed)
        self.service, self.llm = testbed.one(sets=["http.api=true", servers({"name": "docs", "url": self.mcp.url, "timeout": 1})],
                                             env={**search_env(self.search), **e2b_env(sandbox)})
        self.service.wait_status(lambda s: "docs__echo" in s["tools"], "the tools of the MCP server are offered")


@pytest.fixture(scope="module")
def world(worlds):
    return worlds.get("tools", World)


USED = calls(call(SEARCH, "call_a", query="one"), call("docs__echo", "call_a", text="Grüße"), call("docs__fails", "call_b"), call(CODE, "call_c", code="2 + 2"))


def check_used(output):
    """What has become of USED."""
    web, echo, fails, code, message = output
    assert [i["type"] for i in output] == ["web_search_call", "mcp_call", "mcp_call", "code_interpreter_call", "message"]
    assert [i["status"] for i in output] == ["completed", "completed", "failed", "completed", "completed"]
    assert len({i["id"] for i in output}) == len(output)
    assert web["action"]["type"] == "search" and web["action"]["query"] == "one" and web["action"]["sources"]
    assert (echo["server_label"], echo["name"], json.loads(echo["arguments"])) == ("docs", "echo", {"text": "Grüße"})
    assert json.loads(echo["output"]) == {"text": "Grüße"} and echo.get("error") is None
    assert "no such row" in str(fails["error"]) and fails.get("output") is None
    assert code["code"] == "2 + 2" and code["outputs"][0]["logs"]
    assert message["content"][0]["text"] == "done"


def test_tools_that_run_here_are_items(world):
    host = world.service.host
    body = request(rounds(USED, text=["done"]))
    answer = events(host, body)
    assert answer.whole
    check_used(answer.items)
    for kind, how in ("web_search_call", "searching"), ("code_interpreter_call", "interpreting"):
        assert [t for t in answer.types if f".{kind}." in t] == [f"response.{kind}.{h}" for h in ("in_progress", how, "completed")]
    assert sorted(t for t in answer.types if "mcp_call." in t) == [f"response.mcp_call.{h}" for h in ("completed", "failed", "in_progress", "in_progress")]
    assert answer.types.count("response.mcp_call_arguments.done") == 2 and answer.types.count("response.code_interpreter_call_code.done") == 1
    plain = object_of(host, body)
    check_used(plain["output"])
    for response in answer.end, plain:
        stored = Exchange(host, "GET", f"{PATH}/{response['id']}")
        stored.head()
        assert json.loads(stored.read())["output"] == response["output"]
        stored.close()
    # A client that sends the whole of it back is answered, and the LLM gets what was said.
    again = object_of(host, request([{"role": "user", "content": "x"}, *plain["output"], {"role": "user", "content": inline(text=["yes"])}]))
    assert text_of(again) == "yes"
    assert [m["role"] for m in world.llm.chats()[-1]["body"]["messages"]][-3:] == ["user", "assistant", "user"]


def test_a_tool_that_tells_what_it_does_and_one_that_hangs(world):
    answer = events(world.service.host, request(rounds(calls(call("docs__reports", "a"), call("docs__hangs", "b")), text=["done"])))
    assert answer.whole and "half" in reasoning_of(answer.end)
    of = {i["name"]: i for i in answer.items if i["type"] == "mcp_call"}
    assert of["reports"]["status"] == "completed" and of["hangs"]["status"] == "failed" and "did not answer in time" in str(of["hangs"]["error"])


@pytest.mark.parametrize("name", [client("openai-2"), client("openai-3")])
def test_tools_that_run_here_as_the_client_reads_them(world, name):
    url = world.service.url + "/v1"
    openai = world.testbed.client(responses_client(name))
    plain, streamed, helped = openai.do(url, *((way, request(rounds(USED, text=["done"]))) for way in ("create", "stream", "helper")))
    for seen in plain, streamed, helped, openai.do(url, ("retrieve", {"response_id": plain["id"]})):
        check_used(seen["output"])
    assert {"ResponseWebSearchCallSearchingEvent", "ResponseMcpCallArgumentsDoneEvent", "ResponseMcpCallInProgressEvent", "ResponseMcpCallCompletedEvent",
            "ResponseMcpCallFailedEvent", "ResponseCodeInterpreterCallInterpretingEvent"} <= set(streamed["classes"])
    assert {"ResponseFunctionWebSearch", "McpCall", "ResponseCodeInterpreterToolCall"} <= set(plain["classes"])
