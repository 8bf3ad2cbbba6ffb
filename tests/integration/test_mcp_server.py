# SPDX-License-Identifier: Apache-2.0
"""POST /mcp: our tools and language models for clients of the Model Context Protocol, of both eras."""

import json
import os
import signal
import threading

import jsonschema
import pytest

from harness.http_client import Exchange
from harness.issuer import claims, token
from harness.llm_script import COUNT, inline, said, words
from harness.mcp_clients import HERE, McpClient
from harness.mcp_messages import ACCEPT, KEYS, LEGACY, MODERN, Answer, begin, call, meta, post, raw, request
from harness.process import WRAP, wait_until
from harness.tool_mocks import CODE, SEARCH, call as tool_call, calls, e2b, e2b_env, rounds, search, search_env

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
AGENT = MODEL + ":agent"
SETS = ["http.mcp=true", "http.cors_origins=https://chat.example.org", "http.body_limit=200000", "llm.stall_timeout=1",
        "llm.silence_timeout=2"]
ERAS = [MODERN, *LEGACY]
TOOLS = ["web_search", "document_search", "code_interpreter", "chat", "llm_status"]


class World:
    def __init__(self, testbed, *sets, **more):
        self.llm, self.search, self.sandbox = testbed.llm(), search(testbed), e2b(testbed)
        backend = testbed.backend({"d1": self.llm.deployment()}, documents=["one", "two"])
        self.service = testbed.service(backend=backend, env={**search_env(self.search), **e2b_env(self.sandbox)},
                                       sets=[*SETS, *sets], **more).wait_ready()
        self.service.wait_status(lambda s: "document_search" in s.get("tools", []), "all tools")
        self.host = self.service.host


@pytest.fixture(scope="module")
def world(worlds):
    return worlds.get("all", World)


# --- the wire ---


@pytest.mark.parametrize("prefix", ["", "/agent"])
@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_each_era_is_served_on_one_path(world, server, prefix):
    host, path = world.service.host_of(server), prefix + "/mcp"
    found = post(host, "server/discover", path=path)
    assert found.status == 200 and found.kind == "application/json" and "mcp-session-id" not in found.headers
    assert found.result["supportedVersions"] == ERAS and found.result["capabilities"] == {"tools": {}}
    assert found.result["resultType"] == "complete" and found.result["ttlMs"] > 0 and found.result["cacheScope"] == "public"
    assert found.result["_meta"][KEYS + "serverInfo"]["name"] == "tt-agent"
    begun = post(host, "initialize", {"protocolVersion": LEGACY[0], "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
                 path=path, version=None)
    assert begun.result["protocolVersion"] == LEGACY[0] and begun.result["capabilities"] == {"tools": {}}
    assert begun.result["serverInfo"]["version"] and "mcp-session-id" not in begun.headers and "resultType" not in begun.result
    for version in ERAS:
        listed = post(host, "tools/list", path=path, version=version)
        assert [t["name"] for t in listed.result["tools"]] == TOOLS
        assert call(host, "llm_status", path=path, version=version).result["isError"] is False
    streamed = call(host, "chat", {"message": words(), "model": MODEL}, path=path, token="t")
    assert streamed.kind == "text/event-stream" and streamed.text == "".join(streamed.progress) == said(COUNT)


@pytest.mark.parametrize("wanted, told", [(v, v) for v in LEGACY] + [(v, LEGACY[0]) for v in (MODERN, "2024-11-05", "v9", "")])
def test_initialize_agrees_on_a_version(world, wanted, told):
    assert post(world.host, "initialize", {"protocolVersion": wanted}, version=None).result["protocolVersion"] == told


def sent(method="tools/list", params=None, headers=None, **more):
    body, fields = request(method, params, **more)
    return body, {**fields, **(headers or {})}


HEADERS = {
    "a plain list": (sent(), 200, None),
    "names in other letters": ((sent()[0], {k.upper(): v for k, v in sent()[1].items()}), 200, None),
    "a name in base64": (sent("tools/call", {"name": "llm_status"}, {"Mcp-Name": "=?base64?bGxtX3N0YXR1cw==?="}), 200, None),
    "a session, which is ignored": (sent(headers={"Mcp-Session-Id": "x", "Last-Event-ID": "5"}), 200, None),
    "an unknown parameter's header": (sent(headers={"Mcp-Param-X": "x"}), 200, None),
    "no method": (sent(headers={"Mcp-Method": None}), 400, -32020),
    "another method": (sent(headers={"Mcp-Method": "tools/call"}), 400, -32020),
    "the method in capitals": (sent(headers={"Mcp-Method": "TOOLS/LIST"}), 400, -32020),
    "no name": (sent("tools/call", {"name": "llm_status"}, {"Mcp-Name": None}), 400, -32020),
    "another name": (sent("tools/call", {"name": "llm_status"}, {"Mcp-Name": "chat"}), 400, -32020),
    "a name in bad base64": (sent("tools/call", {"name": "llm_status"}, {"Mcp-Name": "=?base64?bGxtX3N0YXR1cw?="}), 400, -32020),
    "no version": (sent(headers={"MCP-Protocol-Version": None}), 400, -32020),
    "another version": (sent(headers={"MCP-Protocol-Version": LEGACY[0]}), 400, -32020),
    "a version that nobody knows": (sent(params={"_meta": meta("v9")}, version="v9", headers={"Mcp-Method": "tools/list"}), 400, -32022),
    "a version that is too old": (sent(version="2024-11-05"), 400, -32022),
    "no meta": (sent(version="2026-07-28x", headers={"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}), 400, -32602),
    "no JSON accepted": (sent(headers={"Accept": "text/event-stream"}), 200, None),
    "no stream accepted": (sent(headers={"Accept": "application/json"}), 200, None),
    "anything accepted": (sent(headers={"Accept": None}), 200, None),
    "neither accepted": (sent(headers={"Accept": "text/html"}), 406, 406),
    "no JSON sent": (sent(headers={"Content-Type": "text/plain"}), 400, -32600),
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers(world, case):
    (body, headers), status, code = HEADERS[case]
    answer = raw(world.host, body, headers)
    assert answer.status == status, answer.body
    if code is None:
        assert answer.result and answer.answer["id"] == 1
    else:
        assert answer.error["code"] == code and answer.kind == "application/json"
    if code == -32022:
        assert answer.error["data"] == {"supported": ERAS, "requested": headers["MCP-Protocol-Version"]}


BODIES = {
    "nothing": (b"", 400, -32700),
    "half a message": (b'{"jsonrpc":"2.0","id":1', 400, -32700),
    "no UTF-8": (b'{"jsonrpc":"2.0","id":"\xff"}', 400, -32700),
    "a form": (b"a=b", 400, -32700),
    "deep": (b"[" * 5000 + b"]" * 5000, 400, -32700),
    "too many values": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":[' + b"1," * 60000 + b"1]}}", 400, -32700),
    "a batch": (json.dumps([{"jsonrpc": "2.0", "id": 1, "method": "ping"}]).encode(), 400, -32600),
    "an empty batch": (b"[]", 400, -32600),
    "a number": (b"5", 400, -32600),
    "null": (b"null", 400, -32600),
    "no version": (b'{"id":1,"method":"ping"}', 400, -32600),
    "another version": (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', 400, -32600),
    "no method": (b'{"jsonrpc":"2.0","id":1}', 400, -32600),
    "null as id": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', 400, -32600),
    "a list as id": (b'{"jsonrpc":"2.0","id":[],"method":"ping"}', 400, -32600),
    "params by position": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', 400, -32602),
    "too long": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"' + b"x" * 300000 + b'"}}', 413, 413),
}


@pytest.mark.parametrize("version", ERAS)
@pytest.mark.parametrize("case", BODIES)
def test_bodies_that_are_no_message(world, case, version):
    body, status, code = BODIES[case]
    answer = raw(world.host, body, {"Accept": ACCEPT, "MCP-Protocol-Version": version, "Mcp-Method": "ping"})
    assert answer.status == status and answer.error["code"] == code, answer.body
    assert answer.answer.get("id", 1) == 1 and ("id" in answer.answer) == (b'"id":1' in body and code in (-32600, -32602) and body[:1] == b"{")


@pytest.mark.parametrize("version", ERAS)
def test_methods(world, version):
    host = world.host
    for method in ("prompts/list", "resources/read", "logging/setLevel", "subscriptions/listen", "x", "notifications/initialized"):
        answer = post(host, method, version=version)
        assert answer.status == (404 if version == MODERN else 200) and answer.error["code"] == -32601
    if version == MODERN:
        for method in ("initialize", "ping"):
            assert post(host, method).status == 404
    else:
        assert post(host, "ping", version=version).result == {}
        assert post(host, "server/discover", version=version).error["code"] == -32601
        assert post(host, "initialize", {}, version=version).error["code"] == -32602
    for params in ({}, {"name": 5}, {"name": "nix"}, {"name": "chat\0"}, {"name": "chat", "arguments": []}, {"name": SEARCH}):
        answer = post(host, "tools/call", params, version=version, headers={"Mcp-Name": "chat\0"} if "\0" in str(params) else None)
        assert answer.error["code"] in (-32602, -32020) and answer.status == (400 if version == MODERN else 200), params
    assert post(host, "tools/list", {"cursor": "x"}, version=version).error["code"] == -32602


@pytest.mark.parametrize("version", ERAS)
def test_notifications_and_other_methods_of_http(world, version):
    headers = {"Accept": ACCEPT, "MCP-Protocol-Version": version}
    for method in ("notifications/initialized", "notifications/cancelled"):
        answer = raw(world.host, {"jsonrpc": "2.0", "method": method, "params": {"requestId": 1}}, headers)
        assert answer.status == 202 and answer.body == ""
    response = raw(world.host, {"jsonrpc": "2.0", "id": 1, "result": {}}, headers)
    assert response.status == (400 if version == MODERN else 202)
    for method in ("GET", "DELETE", "PUT"):
        answer = raw(world.host, b"", {**headers, "Mcp-Session-Id": "x"}, method)
        assert answer.status == 405 and answer.headers["allow"] == "POST, OPTIONS"


@pytest.mark.parametrize("id", ["", "a", "1", "\"\\\u00fc\U0001f600", 0, -1, 9007199254740993, 9223372036854775807])
@pytest.mark.parametrize("version", [MODERN, LEGACY[0]])
def test_ids_come_back(world, version, id):
    answer = post(world.host, "tools/list", version=version, id=id)
    assert answer.answer["id"] == id and type(answer.answer["id"]) is type(id)


@pytest.mark.parametrize("id", ["123456789012345678901234567890", "18446744073709551616", "1.0", "1e3", "-0.5"])
def test_numbers_as_ids_come_back_digit_for_digit(world, id):
    body, headers = request("tools/list")
    text = json.dumps({**body, "id": "ID"}).replace('"ID"', id)
    assert raw(world.host, text.encode(), headers).body.startswith(f'{{"jsonrpc":"2.0","id":{id},"result":')


def test_a_long_request_is_read(world):
    answer = call(world.host, "chat", {"message": "x" * 150000 + inline(text=["yes"]), "model": MODEL})
    assert answer.text == "yes" and len(world.llm.chats()[-1]["body"]["messages"][0]["content"]) > 150000


def test_it_is_off_unless_it_is_switched_on(testbed):
    service, _ = testbed.one(sets=["http.api=true"])
    answer = post(service.host, "tools/list")
    assert answer.status == 404 and "http.mcp" in answer.error["message"] and "id" not in answer.answer


# --- who ---


def test_pages_of_other_sites(world):
    host = world.host
    for headers in ({"Origin": "https://evil.example.org"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = post(host, "tools/list", headers=headers)
        assert answer.status == 403 and answer.error["code"] == 403 and "id" not in answer.answer
    own = {"Origin": "https://chat.example.org"}
    allowed = post(host, "tools/list", headers=own)
    assert allowed.status == 200 and allowed.headers["access-control-allow-origin"] == own["Origin"]
    assert post(host, "tools/list", headers={"Origin": f"http://{host}"}).status == 200
    asked = raw(host, b"", {**own, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "mcp-method, mcp-name"},
                "OPTIONS")
    assert asked.status == 204 and asked.headers["access-control-allow-headers"] == "mcp-method, mcp-name"


def test_hosts_that_are_not_served(testbed):
    service, _ = testbed.one(sets=[*SETS, "http.hosts=127.0.0.1"])
    assert post(service.host, "tools/list").status == 200
    assert post(service.host, "tools/list", headers={"Host": "evil.example.org", "Origin": "http://evil.example.org"}).status == 421


@pytest.fixture
def keyed(testbed):
    found = search(testbed)
    sets = [*SETS, "access.require=api", f"access.keys_file={testbed.directory}/keys.jsonl", f"usage.file={testbed.directory}/usage.db"]
    service, llm = testbed.one(env=search_env(found), sets=sets)
    return service, llm


def usage(service, by):
    """None: nothing is written yet."""
    done = service.ctl("usage", "--by", by, ok=False)
    return json.loads(done.stdout)["usage"] if done.returncode == 0 else None


def key(service, name, *fields):
    """Headers with a key that the worker knows."""
    made = service.ctl("keys", "create", name, *fields)["key"]
    service.secrets.append(made)
    headers = {"Authorization": f"Bearer {made}"}
    wait_until(lambda: post(service.host, "tools/list", headers=headers).status == 200, "the key is known", 10)
    return headers


def test_keys(keyed):
    service, llm = keyed
    host = service.host
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        for version in (MODERN, LEGACY[0]):
            answer = post(host, "tools/list", version=version, headers=headers)
            assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer" and answer.error["code"] == 401
    everything = key(service, "ann")
    names = [t["name"] for t in post(host, "tools/list", headers=everything).result["tools"]]
    assert names == ["web_search", "chat", "llm_status"]
    for fields, offered in (("tools=web_search",), ["web_search"]), ((f"tools={SEARCH},chat",), ["web_search", "chat"]), (("tools=",), []):
        some = key(service, f"key-{len(offered)}", *fields)
        listed = post(host, "tools/list", headers=some).result
        assert [t["name"] for t in listed["tools"]] == offered and listed["cacheScope"] == "private"
        for name in set(names) - set(offered):
            answer = call(host, name, {"message": "x", "query": "x"}, headers=some)
            assert answer.status == 403 and name in answer.error["message"] and answer.answer["id"] == 1
    assert not llm.chats()
    other = key(service, "bob", "models=other*")
    assert call(host, "chat", {"message": "x", "model": MODEL}, headers=other).status == 403
    assert call(host, "chat", {"message": "x"}, headers=other).result["isError"]
    assert call(host, "llm_status", headers=other).result["structuredContent"]["models"] == []


def test_a_client_without_a_token_is_told_whose_it_needs(testbed):
    """RFC 9728: the document is beside /mcp, for everybody."""
    url, secret = "https://chat.example.org/agent/mcp", "an-issuers-secret-of-more-than-32-bytes"
    service, _ = testbed.one(env={"AGENT_ACCESS_JWT_SECRET": secret}, sets=[
        *SETS, "http.api=true", "access.require=all", "access.jwt_issuer=https://idp.example", f"access.jwt_audience={url}", f"http.mcp_url={url}"])
    place = "/.well-known/oauth-protected-resource"
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = post(service.host, "tools/list", headers=headers)
        assert answer.status == 401 and answer.headers["www-authenticate"] == f'Bearer resource_metadata="https://chat.example.org/agent{place}"'
    for path in (place, place + "/mcp", "/agent" + place):
        answer = service.http.get(path, headers={"Origin": "https://inspector.example"})
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "*"
        assert answer.json() == {"resource": url, "authorization_servers": ["https://idp.example"], "bearer_methods_supported": ["header"]}
    assert service.http.get("/v1/models").headers["www-authenticate"] == "Bearer"
    assert post(service.host, "tools/list", headers={"Authorization": f"Bearer {token(claims(aud=url), secret=secret.encode())}"}).status == 200
    assert post(service.host, "tools/list", headers={"Authorization": f"Bearer {token(claims(), secret=secret.encode())}"}).status == 401


def test_without_an_issuer_nothing_is_said_of_tokens(keyed):
    service, _ = keyed
    answer = service.http.get("/.well-known/oauth-protected-resource")
    assert answer.status_code == 404 and "http.mcp_url" in answer.json()["detail"]


def test_limits_and_usage(keyed):
    service, _ = keyed
    limited = key(service, "ann", "requests=2")
    assert call(service.host, "web_search", {"query": "a"}, headers=limited, version=LEGACY[0]).result["isError"] is False
    second = call(service.host, "chat", {"message": words(), "model": MODEL}, headers=limited)
    assert second.text == said(COUNT) and second.headers["x-ratelimit-remaining-requests"] == "0"
    for tool in ("web_search", "chat"):
        for version in (MODERN, LEGACY[0]):
            answer = call(service.host, tool, {"message": "x", "query": "x"}, headers=limited, version=version)
            assert answer.status == 429 and int(answer.headers["retry-after"]) > 0
            assert answer.error["code"] == 429 and answer.answer["id"] == 1
    assert call(service.host, "llm_status", headers=limited).status == 200, "it costs nothing"
    rows = wait_until(lambda: len(r := usage(service, "model") or ()) == 2 and r, "both are noted", 10)
    assert {r["model"]: (r["attempts"], r["failed"], r["completion_tokens"]) for r in rows} == {
        "Llama-3.1-8B-Instruct": (1, 0, COUNT), "tool:web_search": (1, 0, 0)}


def test_only_so_many_at_once(testbed):
    found = search(testbed, tavily={"delay_us": 60000000})
    service, llm = testbed.one(env=search_env(found), sets=[*SETS, "limits.turns=1", "search.timeout=60"])
    running = begin(service.host, "tools/call", {"name": "web_search", "arguments": {"query": "x"}})
    wait_until(lambda: found.stats()["active"] == 1, "it is searched for", 10)
    assert call(service.host, "web_search", {"query": "x"}).status == 429
    refused = call(service.host, "chat", {"message": "x"})
    assert refused.result["isError"] and "try again" in refused.text and not llm.chats()
    running.close()
    wait_until(lambda: call(service.host, "chat", {"message": "x"}).text, "there is room again", 10)


# --- tools ---


@pytest.mark.parametrize("version", [MODERN, LEGACY[0]])
def test_what_tools_say_is_as_they_are_described(world, version):
    listed = post(world.host, "tools/list", version=version).result
    assert ("ttlMs" in listed) == (version == MODERN)
    assert listed == post(world.host, "tools/list", version=version).result, "always in the same order"
    given = {"web_search": {"query": "tea"}, "document_search": {"query": "tea"}, "code_interpreter": {"code": "print(1)"},
             "chat": {"message": "[search]"}, "llm_status": {}}
    for tool in listed["tools"]:
        assert tool["description"] and tool["title"] and set(tool["annotations"]) == {
            "title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
        jsonschema.Draft202012Validator.check_schema(tool["inputSchema"])
        jsonschema.Draft202012Validator(tool["inputSchema"]).validate(given[tool["name"]])
        result = call(world.host, tool["name"], given[tool["name"]], version=version).result
        assert result["isError"] is False and result["content"][0]["type"] == "text" and result["content"][0]["text"], result
        if "outputSchema" in tool:
            jsonschema.Draft202012Validator.check_schema(tool["outputSchema"])
            jsonschema.Draft202012Validator(tool["outputSchema"]).validate(result["structuredContent"])
        assert ("outputSchema" in tool) == ("structuredContent" in result)


def test_searches_and_code(world):
    found = call(world.host, "web_search", {"query": "green tea"})
    assert world.search.queries()[-1] == ("tavily", "green tea")
    assert found.result["structuredContent"]["text"] == found.text and found.result["structuredContent"]["sources"][0]["url"].startswith("http")
    assert "one" in call(world.host, "document_search", {"query": "x"}).text
    assert not call(world.host, "code_interpreter", {"code": "print(40 + 2)"}).result["isError"]
    assert world.sandbox.codes()[-1] == "print(40 + 2)"
    wait_until(lambda: any(c.startswith("DELETE") for c in world.sandbox.calls()), "its sandbox is released", 10)


@pytest.mark.parametrize("tool, arguments", [("web_search", {}), ("web_search", {"query": 5}), ("document_search", {"query": " "}),
                                             ("code_interpreter", {"code": ""}), ("chat", {}), ("chat", {"message": " \n"}),
                                             ("chat", {"message": "x", "model": 5}), ("chat", {"message": "x", "thread": "t" * 513}),
                                             ("chat", {"message": "x", "max_tokens": 0}), ("chat", {"message": "x", "system": []}),
                                             ("chat", {"message": "a\0b"}), ("chat", {"message": "x", "model": "nix"})])
def test_wrong_arguments_are_errors_of_the_tool(world, tool, arguments):
    for version in (MODERN, LEGACY[0]):
        answer = call(world.host, tool, arguments, version=version)
        assert answer.status == 200 and answer.result["isError"] and len(answer.text) > 20
        assert "structuredContent" not in answer.result


def test_a_tool_that_fails_says_so(testbed):
    service, _ = testbed.one(env=search_env(search(testbed, tavily={"status": 500})), sets=SETS)
    answer = call(service.host, "web_search", {"query": "x"})
    assert answer.result["isError"] and "the web search failed" in answer.text


def test_a_tool_that_takes_too_long_is_ended(testbed):
    service, _ = testbed.one(env=search_env(search(testbed, tavily={"stall": True})), sets=[*SETS, "limits.tool_time=1", "search.timeout=60"])
    answer = call(service.host, "web_search", {"query": "x"})
    assert answer.result["isError"] and "took too long" in answer.text


def test_a_client_that_leaves_cancels_its_tool(testbed):
    found = search(testbed, tavily={"delay_us": 60000000})
    service, _ = testbed.one(env=search_env(found), sets=[*SETS, f"usage.file={testbed.directory}/usage.db"])
    running = begin(service.host, "tools/call", {"name": "web_search", "arguments": {"query": "x"}}, token=1)
    running.head()
    assert running.headers["content-type"] == "text/event-stream" and running.headers["x-request-id"]
    wait_until(lambda: found.stats()["active"] == 1, "it is searched for", 10)
    running.close()
    wait_until(lambda: found.stats()["active"] == 0, "the search is cancelled", 10)
    rows = wait_until(lambda: usage(service, "outcome"), "it is noted", 10)
    assert [(r["outcome"], r["attempts"]) for r in rows] == [("cancelled", 1)]


def test_what_runs(world):
    told = call(world.host, "llm_status").result
    state = told["structuredContent"]
    assert state["status"] == "ready" and state["stale"] is False and state["tools"] == TOOLS
    model, = state["models"]
    assert (model["id"], model["agent"], model["status"], model["usable"], model["current"]) == (MODEL, AGENT, "healthy", True, True)
    assert MODEL in told["content"][0]["text"] and "healthy" in told["content"][0]["text"]
    assert "127.0.0.1" not in json.dumps(told), "no addresses"


def test_what_runs_where_nothing_does(testbed):
    service = testbed.service(sets=SETS)
    assert call(service.host, "llm_status").result["structuredContent"]["status"] == "waiting"
    answer = call(service.host, "chat", {"message": "x"})
    assert answer.result["isError"] and "No language model" in answer.text


@pytest.mark.long
def test_what_runs_where_nobody_watches(testbed):
    service = testbed.service(sets=SETS)
    service.daemon.stop()
    wait_until(lambda: call(service.host, "llm_status").result["structuredContent"]["stale"], "nobody watches", 20)


# --- chat ---


@pytest.mark.parametrize("version", [MODERN, LEGACY[0]])
def test_an_answer_is_told_whole(world, version):
    plain = call(world.host, "chat", {"message": words(), "model": MODEL}, version=version)
    assert plain.kind == "application/json" and plain.result["content"] == [{"type": "text", "text": said(COUNT)}]
    assert plain.result["structuredContent"] == {"text": said(COUNT), "finish_reason": "stop", "sources": [],
                                                 "usage": {"prompt_tokens": 12, "completion_tokens": COUNT}}
    told = call(world.host, "chat", {"message": words(delay_us=30000), "model": MODEL}, version=version, token="t-1")
    assert told.kind == "text/event-stream" and told.headers["cache-control"] == "no-store"
    assert told.text == "".join(told.progress) == said(COUNT) and len(told.progress) > 1
    assert all(m["params"]["progressToken"] == "t-1" for m in told.messages[:-1])
    only_json = call(world.host, "chat", {"message": words(), "model": MODEL}, version=version, token=1, headers={"Accept": "application/json"})
    assert only_json.kind == "application/json" and only_json.text == said(COUNT)
    only_events = call(world.host, "chat", {"message": words(), "model": MODEL}, version=version, headers={"Accept": "text/event-stream"})
    assert only_events.kind == "text/event-stream" and only_events.text == said(COUNT)


def test_the_model_alone_or_the_agent(world):
    call(world.host, "chat", {"message": "hello", "model": MODEL, "system": "be brief", "max_tokens": 7})
    sent = world.llm.chats()[-1]["body"]
    assert sent["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    assert sent["max_tokens"] == 7 and "tools" not in sent
    for model in ({"model": AGENT}, {}, {"model": None}, {"model": ""}):
        call(world.host, "chat", {"message": "hello", "system": "be brief", **model})
        sent = world.llm.chats()[-1]["body"]
        assert [m["role"] for m in sent["messages"]] == ["system", "user"] and sent["messages"][0]["content"].endswith("\n\nbe brief")
        assert {t["function"]["name"] for t in sent["tools"]} == {SEARCH, "document_search", CODE}


def test_the_agent_tells_what_its_tools_do(world):
    answer = call(world.host, "chat", {"message": rounds(calls(tool_call(SEARCH, query="green tea")), text=["It ", "is."])}, token=5)
    assert answer.text == "It is." and answer.progress[0] == "Searching: green tea" and "".join(answer.progress[1:]) == "It is."
    assert answer.result["structuredContent"]["sources"][0]["url"].startswith("http")


def test_reasoning_is_no_part_of_the_answer(world):
    answer = call(world.host, "chat", {"message": inline(reasoning=["I ", "think"], text=["yes"]), "model": MODEL}, token=5)
    assert answer.text == "yes" and answer.progress == ["Thinking", "yes"]


def test_a_thread_goes_on(world):
    for n, name in enumerate(("mcp-thread-1", "mcp-thread-1", "mcp-thread-2", "", None)):
        call(world.host, "chat", {"message": f"number {n}", "thread": name})
        sent = [m["content"] for m in world.llm.chats()[-1]["body"]["messages"] if m["role"] == "user"]
        assert sent == (["number 0", "number 1"] if n == 1 else [f"number {n}"])


def test_an_answer_that_is_cut_at_the_limit_says_so(world):
    answer = call(world.host, "chat", {"message": inline(text=["a", "b"], finish="length"), "model": MODEL})
    assert answer.result["structuredContent"]["finish_reason"] == "length" and answer.result["content"][0]["text"] == "ab"
    assert "limit of tokens" in answer.result["content"][1]["text"]


@pytest.mark.parametrize("token", [None, "t"])
@pytest.mark.parametrize("fault", [{"cut_after": 3}, {"reset_after": 3}, {"error_after": 3}, {"stall_after": 3}, {"status": 500},
                                   {"status": 400}, {"status": 429}, {"window": 3}, {"finish": "content_filter"},
                                   {"tokens": 3, "finish": "", "done": False}])
def test_no_broken_answer_looks_whole(world, fault, token):
    knobs = inline(**{"tokens": 20, "token": "w ", "delay_us": 5000, **fault})
    answer = call(world.host, "chat", {"message": knobs, "model": MODEL}, token=token)
    assert answer.status == 200 and answer.result["isError"], answer.body
    assert answer.text[0].isupper() and "structuredContent" not in answer.result
    if "after" in str(fault) or "tokens" in fault:
        assert "The answer up to there:\nw w w" in answer.text


def test_another_llm_continues(testbed):
    service, first, second = testbed.two(sets=SETS, first={"cut_after": 5})
    answer = call(service.host, "chat", {"message": words()}, token=1)
    assert answer.text == "".join(answer.progress) and answer.text.startswith(said(5)) and not answer.result["isError"]


def test_a_client_that_leaves_cancels_its_chat(world):
    before = world.llm.stats()["cancelled"]
    running = begin(world.host, "tools/call", {"name": "chat", "arguments": {"message": inline(tokens=1000, delay_us=20000)}}, token=1)
    running.head()
    running.close()
    wait_until(lambda: world.llm.stats()["cancelled"] > before, "the LLM's connection is closed", 10)


@pytest.mark.long
def test_a_silent_llm_is_waited_for_with_comments(testbed):
    service, _ = testbed.one(sets=["http.mcp=true"])
    answer = call(service.host, "chat", {"message": inline(text=["yes"], first_delay_us=11000000), "model": MODEL})
    assert answer.kind == "text/event-stream" and answer.comments == 1 and answer.text == "yes"


def test_a_service_that_is_stopped_says_so(testbed):
    service, _ = testbed.one(env=search_env(search(testbed, tavily={"delay_us": 60000000})), sets=SETS, options=["--drain", "1"])
    running = [begin(service.host, "tools/call", {"name": "web_search", "arguments": {"query": "x"}}, token=1),
               begin(service.host, "tools/call", {"name": "chat", "arguments": {"message": inline(tokens=1000, delay_us=50000)}}, token=2)]
    for r in running:
        r.head()
    service.responder.popen.send_signal(signal.SIGTERM)
    for answer in [Answer(r) for r in running]:
        assert answer.result["isError"] and "stopped or restarted" in answer.text


# --- the Python SDK's client ---


@pytest.fixture(scope="module")
def sdk():
    if not HERE:
        pytest.skip("not installed by tests/run (see build/mcp.log)")
    client = McpClient()
    yield client
    client.close()


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
@pytest.mark.parametrize("mode, version", [("auto", MODERN), ("legacy", LEGACY[0])])
def test_the_sdk_uses_the_tools(world, sdk, mode, version, server):
    url = f"http://{world.service.host_of(server)}/agent/mcp"
    about, listed, found, state, told, wrong, unknown = sdk.do(
        url, ["about"], ["tools"], ["call", "web_search", {"query": "tea"}], ["call", "llm_status", {}],
        ["call", "chat", {"message": words(delay_us=30000), "model": MODEL}], ["call", "chat", {}], ["call", "nix", {}], mode=mode)
    assert about["version"] == version and about["name"] == "tt-agent" and listed["tools"] == TOOLS
    assert not found["failed"] and found["structured"]["sources"] and state["structured"]["status"] == "ready"
    assert told["text"] == "".join(told["progress"]) == told["structured"]["text"] == said(COUNT) and len(told["progress"]) > 1
    assert wrong["failed"] and unknown == {"error": "MCPError", "code": -32602, "message": "Unknown tool: nix"}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_no_broken_answer_looks_whole_to_the_sdk(world, sdk, mode):
    faults = [{"cut_after": 3}, {"error_after": 3}, {"stall_after": 3}, {"status": 500}, {"finish": "", "done": False}]
    each = [["call", "chat", {"message": inline(**{"tokens": 9, "token": "w ", **fault}), "model": MODEL}] for fault in faults]
    for told in sdk.do(world.service.url + "/mcp", *each, mode=mode):
        assert told["failed"] and told["structured"] is None, told


def test_the_sdk_gives_up_and_the_chat_ends(world, sdk):
    before = world.llm.stats()["cancelled"]
    slow = ["call", "chat", {"message": inline(tokens=1000, delay_us=20000), "model": MODEL}, 1]
    assert "timed out" in sdk.do(world.service.url + "/mcp", slow)[0]["message"]
    wait_until(lambda: world.llm.stats()["cancelled"] > before, "the LLM's connection is closed", 10)


@pytest.mark.skipif(bool(WRAP), reason="valgrind cannot follow a keeper")
def test_the_sdk_sees_that_a_worker_died(testbed, sdk):
    sandbox = e2b(testbed, delay_us=60000000)
    service, _ = testbed.one(env=e2b_env(sandbox), sets=SETS)
    killed = threading.Thread(target=lambda: (wait_until(lambda: sandbox.stats()["active"], "it runs", 10),
                                              os.kill(service.worker_pids()[0], signal.SIGKILL)))
    killed.start()
    told, = sdk.do(service.url + "/mcp", ["call", "code_interpreter", {"code": "x"}])
    killed.join()
    assert told.get("error") == "MCPError", told


def test_the_sdk_with_and_without_a_key(keyed, sdk):
    service, _ = keyed
    assert "error" in sdk.do(service.url + "/mcp", ["tools"])[0]
    some = key(service, "ann", "tools=web_search")
    assert sdk.do(service.url + "/mcp", ["tools"], headers=some) == [{"tools": ["web_search"]}]


# --- workers that die ---


@pytest.mark.skipif(bool(WRAP), reason="valgrind cannot follow a keeper")
@pytest.mark.parametrize("server", ["nginx", *(pytest.param(s, marks=pytest.mark.long) for s in ("lighttpd", "apache"))])
def test_a_worker_that_dies(testbed, server):
    """Another one does again what may be done twice; of what may not the client sees no answer, which is an error."""
    found, sandbox = search(testbed), e2b(testbed, delay_us=60000000)
    service, llm = testbed.one(env={**search_env(found), **e2b_env(sandbox)}, sets=SETS)
    host = service.host_of(server)
    long = words(40, delay_us=50000)
    found.script(tavily={"delay_us": 2000000})
    chats = [begin(host, "tools/call", {"name": "chat", "arguments": {"message": long, "model": MODEL}}, token="t") for _ in range(6)]
    searches = [begin(host, "tools/call", {"name": "web_search", "arguments": {"query": "x"}}, token="t") for _ in range(6)]
    code = begin(host, "tools/call", {"name": "code_interpreter", "arguments": {"code": "x"}}, token="t")
    agent = begin(host, "tools/call", {"name": "chat", "arguments": {"message": rounds(calls(tool_call(SEARCH, query="y")))}}, token="t")
    for r in (*chats, *searches, code, agent):
        r.head()
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    told = [a for a in map(Answer, chats) if a.answer]
    assert len(told) == 6 and all(a.text == said(40) and a.progress for a in told)
    assert all(a.result["structuredContent"]["usage"]["completion_tokens"] == 40 for a in told)
    told = [a for a in map(Answer, searches) if a.answer]
    assert len(told) == 6 and not any(a.result["isError"] for a in told)
    assert Answer(code).answer is None and Answer(agent).answer is None
