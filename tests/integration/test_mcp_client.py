# SPDX-License-Identifier: Apache-2.0
"""Tools from MCP servers: of both eras, over HTTP, that misbehave in every way."""

import json
import re

import pytest

from harness.http_client import Exchange
from harness.mcp_server import McpServer, servers, tool
from harness.metrics import scrape
from harness.process import wait_until
from harness.tool_mocks import call, calls, rounds

DONE = "All done."
TIMEOUT = 1.0


class World:
    def __init__(self, testbed, mcp, *sets, name="docs", settings=None, **more):
        self.mcp = testbed.client(mcp)
        self.service, self.llm = testbed.one(
            sets=[servers({"name": name, "url": mcp.url, "timeout": TIMEOUT, **(settings or {})}), *sets], **more)
        self.name = name

    def ready(self, tool="echo"):
        self.service.wait_status(lambda s: f"{self.name}__{tool}" in s["tools"], f"the tool {tool} is offered")
        return self

    def run(self, *tools, **arguments):
        """One turn in which the model calls these tools in one answer; what it is told."""
        self.llm.forget()
        each = calls(*(call(f"{self.name}__{t}", id=f"c{i}", **arguments) for i, t in enumerate(tools)))
        turn = self.service.chat(rounds(each, {"text": DONE}))
        assert turn.whole and turn.answer == DONE, turn.chunks
        told = [m["content"] for m in self.llm.chats()[-1]["body"]["messages"] if m["role"] == "tool"]
        return told if len(told) > 1 else told[0]


ERAS = {"modern": ("modern",), "legacy": ("legacy",)}


@pytest.fixture(scope="module", params=ERAS)
def world(request, worlds):
    """Of each era in turn."""
    return worlds.get(request.param, lambda testbed: World(testbed, McpServer(*ERAS[request.param])).ready())


# --- what a tool says ---


def test_a_tool_is_called_with_its_arguments(world):
    world.mcp.forget()
    assert world.run("echo", text="hi", number=3) == '{"number": 3, "text": "hi"}'
    (headers, message), = world.mcp.calls()
    assert message["params"]["name"] == "echo" and message["params"]["arguments"] == {"text": "hi", "number": 3}
    assert "text/event-stream" in headers["Accept"] and "application/json" in headers["Accept"]
    assert re.fullmatch(r"[\w.-]+", headers["X-Request-Id"])


def test_models_are_told_of_the_tools(world):
    world.run("echo")
    offered = {t["function"]["name"]: t["function"] for t in world.llm.chats()[0]["body"]["tools"]}
    assert offered["docs__echo"]["description"] == "The tool echo."
    assert offered["docs__echo"]["parameters"]["properties"] == {"text": {"type": "string"}}


@pytest.mark.parametrize("name, told", {
    "mixed": "Grüße 😀\n[an image was returned (image/png, about 3 KiB); it is left out]\n"
             "[a sound was returned (audio/wav, about 1 KiB); it is left out]\nfile:///a.txt:\ninside\n"
             "[a resource: b file:///b.txt another]\n"
             '[something of the unknown type "hologram" was returned; it is left out]',
    "structured": '{"degrees":21.5}',
    "nothing": "(the tool returned nothing)",
    "fails": "Error: no such row",
    "answers_with_a_string": "mine",
    "answers_a_list": "one of two",
    "leaves_open": "at last",
    "asks_back": "asked",
}.items())
def test_what_a_tool_returns_is_told(world, name, told):
    assert world.run(name) == told


def test_what_a_tool_tells_while_it_works_is_shown(world):
    turn = world.service.chat(rounds(calls(call("docs__reports")), {"text": DONE}))
    assert turn.whole and turn.answer == DONE
    assert "Using docs__reports\ndocs__reports: half (/think)way\n" in turn.text and "never" not in turn.text


FAULTS = {
    "asks": "Error: the tool wants more input from the user",
    "refuses": "Error: docs: Invalid arguments: text is missing (-32602). Call the tool again",
    "internal": "HTTP 500: the database is down (-32603)",
    "hangs": "it did not answer in time",
    "hangs_in_stream": "it did not answer in time",
    "dies": "Error: the tool failed (docs: ",
    "cuts": "the stream of its answer ended early",
    "cuts_json": "its answer is no message of JSON-RPC (application/json)",
    "is_long": "it sent more than 4194304 bytes",
    "is_long_in_pieces": "it sent more than 4194304 bytes",
    "talks_nonsense": "its answer is no message of JSON-RPC (application/json)",
    "talks_html": "its answer is no message of JSON-RPC (text/html)",
    "is_behind_a_proxy": "HTTP 502",
    "answers_another": "it answered another request",
    "answers_badly": "answered with something that is no result",
    "redirects": "HTTP 307: redirects are not followed",
    "never_ends": "it did not answer in time",
    "unauthorized": "HTTP 401: Unauthorized (-32000)",
    "unknown": "there is no tool named",
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_costs_only_its_own_call(world, name):
    faulty, good = world.run(name, "echo", text="x")
    assert FAULTS[name] in faulty and faulty.startswith("Error: "), faulty
    assert good == '{"text": "x"}'
    assert "secret" not in faulty and "elsewhere" not in faulty


def test_a_long_result_is_cut_for_the_model(world):
    told = world.run("is_big")
    assert len(told) < 50100 and told.endswith("\n[The result was longer; the rest was left out.]")


def test_the_server_learns_that_the_client_has_left(world):
    world.mcp.forget()
    turn = Exchange(world.service.host, "POST", "/poll_requests",
                    {"thread_id": "left", "message": rounds(calls(call("docs__never_ends")), {"text": DONE})})
    wait_until(lambda: world.mcp.calls("never_ends"), "the call")
    left = world.mcp.left
    turn.close()
    wait_until(lambda: world.mcp.left > left, "the connection ends")
    if "legacy" in world.mcp.eras:
        id = world.mcp.calls("never_ends")[0][1]["id"]
        world.mcp.wait(lambda m: m.get("method") == "notifications/cancelled" and m["params"]["requestId"] == id, "the cancellation")


# --- eras and sessions ---


def test_the_modern_era_is_preferred(testbed):
    world = World(testbed, McpServer("modern", "legacy")).ready()
    assert world.run("echo") == "{}"
    headers, message = world.mcp.calls("echo")[0]
    assert headers["MCP-Protocol-Version"] == "2026-07-28" and headers["Mcp-Method"] == "tools/call" and headers["Mcp-Name"] == "echo"
    assert message["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]["name"] == "tt-agent"
    assert not world.mcp.messages("initialize") and world.service.status()["mcp"][0]["version"] == "2026-07-28"
    # The daemon has found out for all.
    assert len(world.mcp.messages("server/discover")) == 1


@pytest.mark.parametrize("version", ["2025-06-18", *(pytest.param(v, marks=pytest.mark.long) for v in ("2025-11-25", "2025-03-26", "2024-11-05"))])
def test_the_version_of_a_session_is_the_servers_choice(testbed, version):
    world = World(testbed, McpServer("legacy", version=version)).ready()
    assert world.run("echo", "echo") == ["{}", "{}"]
    (one, _), (other, _) = world.mcp.calls("echo")
    assert one["MCP-Protocol-Version"] == version and one["Mcp-Session-Id"] == other["Mcp-Session-Id"]
    # One session of the daemon, one of the worker.
    assert len(world.mcp.messages("initialize")) == 2 == len(world.mcp.messages("notifications/initialized"))
    assert world.service.status()["mcp"][0]["version"] == version


def test_a_version_that_nobody_knows_is_told(testbed):
    world = World(testbed, McpServer("legacy", version="2199-01-01"))
    state = world.service.wait_status(lambda s: s["mcp"][0]["state"] == "failing", "the server fails")["mcp"][0]
    assert state["error"] == 'it speaks none of our versions, but "2199-01-01"' and state["tools"] == 0


@pytest.mark.parametrize("eras", ERAS)
def test_answers_may_come_as_streams(testbed, eras):
    world = World(testbed, McpServer(*ERAS[eras], stream=True)).ready()
    assert world.run("echo", "is_big")[0] == "{}"


def test_a_session_that_was_forgotten_is_begun_again(testbed):
    world = World(testbed, McpServer("legacy")).ready()
    assert world.run("echo") == "{}"
    before = len(world.mcp.messages("initialize"))
    assert world.run("forgets") == "remembered"
    assert len(world.mcp.calls("forgets")) == 2 and len(world.mcp.messages("initialize")) == before + 1


def test_a_stream_that_broke_is_taken_up_again(testbed):
    world = World(testbed, McpServer("legacy")).ready()
    assert world.run("resumes") == "resumed"
    assert len(world.mcp.calls("resumes")) == 1
    assert [h["Last-Event-ID"] for what, h, _ in world.mcp.requests if what == "GET"] == ["here"]


@pytest.mark.parametrize("first, then", [("modern", "legacy"), ("legacy", "modern")])
def test_the_era_is_looked_for_again_when_the_server_has_changed(testbed, first, then):
    world = World(testbed, McpServer(first)).ready()
    assert world.run("echo") == "{}"
    world.mcp.eras = (then,)
    assert world.run("echo", "echo") == ["{}", "{}"]


def test_a_stream_may_say_that_the_server_has_changed(testbed):
    world = World(testbed, McpServer("modern")).ready()
    assert world.run("becomes_legacy") == "of the other era"


def test_a_call_that_may_be_repeated_is_sent_again_once(testbed):
    read = {"annotations": {"readOnlyHint": True}}
    world = World(testbed, McpServer("modern", tools=[tool("cuts", **read), tool("dies")])).ready("cuts")
    assert all("Error: " in told for told in world.run("cuts", "dies"))
    assert len(world.mcp.calls("cuts")) == 2 and len(world.mcp.calls("dies")) == 1


# --- lists ---


def test_lists_have_pages_and_are_read_again_in_time(testbed):
    tools = [tool(f"t{i}") for i in range(7)]
    world = World(testbed, McpServer(tools=tools, page=3, ttl_ms=1000)).ready("t6")
    assert [t for t in world.service.status()["tools"] if t.startswith("docs__")] == [f"docs__t{i}" for i in range(7)]
    world.mcp.tools = [tool("echo", "Now another.")]
    world.ready("echo")
    assert world.run("echo") == "{}"
    assert [t for t in world.service.status()["tools"] if t.startswith("docs__")] == ["docs__echo"]


def test_names_that_no_model_could_call_are_changed(testbed):
    world = World(testbed, McpServer(tools=[tool("echo.one"), tool("echo one"), tool("echo." + "x" * 100)]))
    names = world.service.wait_status(lambda s: len([t for t in s["tools"] if "__" in t]) == 3, "the tools")["tools"]
    names = [n for n in names if n.startswith("docs__")]
    assert len(set(names)) == 3 and all(re.fullmatch(r"[\w-]{1,64}", n, re.A) for n in names)
    each = calls(*(call(n, id=f"c{i}", text=str(i)) for i, n in enumerate(names)))
    assert world.service.chat(rounds(each, {"text": DONE})).whole
    assert {m["params"]["name"] for _, m in world.mcp.calls()} == {"echo.one", "echo one", "echo." + "x" * 100}


def test_parameters_are_sent_as_headers_where_the_tool_says_so(testbed):
    good = tool("echo", inputSchema={"type": "object", "properties": {"where": {"type": "string", "x-mcp-header": "Region"}}})
    bad = tool("nothing", inputSchema={"type": "object", "properties": {"n": {"type": "number", "x-mcp-header": "N"}}})
    world = World(testbed, McpServer("modern", tools=[good, bad])).ready()
    assert world.run("echo", where="Zürich") == '{"where": "Z\\u00fcrich"}'
    assert world.mcp.calls("echo")[0][0]["Mcp-Param-Region"] == "=?base64?WsO8cmljaA==?="
    assert "docs__nothing" not in world.service.status()["tools"]
    assert "mcp_tool_left_out server=docs tool=nothing" in world.service.daemon.log()


def test_a_server_that_is_gone_offers_nothing_until_it_is_back(testbed):
    world = World(testbed, McpServer(ttl_ms=1000)).ready()
    world.mcp.status = 401
    state = world.service.wait_status(lambda s: "docs__echo" not in s["tools"], "the tools are gone")["mcp"][0]
    assert state["state"] == "failing" and state["error"].startswith("HTTP 401")
    assert world.service.chat(rounds({"text": DONE})).answer == DONE
    world.mcp.status = None
    world.ready()
    assert world.service.status()["mcp"][0]["error"] is None
    log = world.service.daemon.log()
    assert log.count("WARNING mcp_server server=docs") == 1 and "HTTP 401" in log


def test_a_restart_of_the_daemon_takes_no_tools_away(testbed):
    mcp = testbed.client(McpServer())
    llm = testbed.llm()
    setting = lambda timeout: f'mcp: {{ servers = ( {{ name = "docs"; url = "{mcp.url}"; timeout = {timeout}; }} ); }};\n'
    service = testbed.service(backend=testbed.backend({"d1": llm.deployment()}), conf=setting(5)).wait_ready()
    service.wait_status(lambda s: "docs__echo" in s["tools"], "the tools are offered")
    before = service.status()["mcp"][0]
    mcp.may_list.clear()
    service.daemon.kill()
    service.start_daemon()
    after = service.wait_status(lambda s: s["mcp"][0]["state"] == "pending", "the new daemon")
    assert "docs__echo" in after["tools"] and after["mcp"][0]["tools"] == before["tools"]
    assert service.chat(rounds(calls(call("docs__echo")), {"text": DONE})).whole and len(mcp.calls("echo")) == 1
    mcp.tools = [tool("other")]
    mcp.may_list.set()
    now = service.wait_status(lambda s: s["mcp"][0]["state"] == "answers", "it lists them")
    assert [t for t in now["tools"] if "__" in t] == ["docs__other"]
    # Tools of other settings are not restored.
    mcp.may_list.clear()
    service.conf.write_text(setting(6))
    service.daemon.kill()
    service.start_daemon()
    after = service.wait_status(lambda s: s["mcp"][0]["state"] == "pending", "the new daemon")
    assert after["mcp"][0]["tools"] == 0 and not [t for t in after["tools"] if "__" in t]


def test_only_tools_that_are_wanted_are_offered(testbed):
    world = World(testbed, McpServer(), settings={"tools": ["ech*", "fails"]}).ready()
    assert [t for t in world.service.status()["tools"] if "__" in t] == ["docs__echo", "docs__fails"]


# --- settings ---


def test_settings_of_a_file_take_effect_while_it_runs(testbed):
    one, other = testbed.client(McpServer()), testbed.client(McpServer())
    token = testbed.directory / "token"
    token.write_text("token-of-a-file\n")
    token.chmod(0o600)

    def conf(*each):
        return "mcp: { servers = (" + ",".join(each) + "); };\n"

    first = f'{{ name = "one"; url = "{one.url}"; token_file = "{token}"; tools = [ "echo" ]; }}'
    second = f'{{ name = "two"; url = "{other.url}?key=secret-in-a-url"; bearer = "secret-bearer"; headers = {{ X-Key = "secret-header"; }}; tools = [ "echo" ]; }}'
    llm = testbed.llm()
    service = testbed.service(backend=testbed.backend({"d1": llm.deployment()}), conf=conf(first), start=False)
    service.conf.chmod(0o600)
    service.secrets += ["token-of-a-file", "secret-bearer", "secret-header", "secret-in-a-url", "another-token"]
    service.start().wait_ready()
    service.wait_status(lambda s: "one__echo" in s["tools"], "the first server")
    service.conf.write_text(conf(first, second))
    service.ctl("reload")
    service.wait_status(lambda s: {"one__echo", "two__echo"} <= set(s["tools"]), "both servers")
    each = calls(call("one__echo", id="a"), call("two__echo", id="b"))
    assert service.chat(rounds(each, {"text": DONE})).whole
    assert one.calls()[0][0]["Authorization"] == "Bearer token-of-a-file"
    headers = other.calls()[0][0]
    assert headers["Authorization"] == "Bearer secret-bearer" and headers["X-Key"] == "secret-header"
    # Nobody is shown what is secret.
    for shown in (json.dumps(service.ctl("config", "--changed")), service.http.get("/config").text, service.http.get("/status").text):
        assert "one" in shown and not any(s in shown for s in service.secrets)
    token.write_text("another-token")
    service.ctl("reload")
    wait_until(lambda: "Bearer another-token" in [h.get("Authorization") for h, _ in one.messages()], "the new token")
    service.conf.write_text("mcp: { servers = ( ); };\n")
    service.ctl("reload")
    service.wait_status(lambda s: "mcp" not in s and not [t for t in s["tools"] if "__" in t], "no server")


def test_keys_may_use_some_servers_only(testbed):
    keys = testbed.directory / "keys.jsonl"
    mcp, other = testbed.client(McpServer(tools=[tool("echo")])), testbed.client(McpServer(tools=[tool("echo")]))
    service, llm = testbed.one({"text": ["yes"]}, sets=[
        servers({"name": "docs", "url": mcp.url}, {"name": "other", "url": other.url}), "access.require=all", f"access.keys_file={keys}"])
    everything, one = (service.ctl("keys", "create", name, *fields)["key"] for name, fields in
                       {"all": [], "one": ["tools=mcp:docs"]}.items())
    service.secrets += [everything, one]

    def offered(key):
        llm.forget()
        x = service.chat("hello", headers={"Authorization": f"Bearer {key}"})
        return x.status == 200 and llm.chats() and {t["function"]["name"] for t in llm.chats()[-1]["body"].get("tools", [])}

    wait_until(lambda: offered(everything) and {"docs__echo", "other__echo"} <= offered(everything), "the tools are offered")
    wait_until(lambda: offered(one), "the other key is known")
    assert offered(one) == {"docs__echo"}


def test_calls_are_counted_by_server_and_traced(testbed):
    world = World(testbed, McpServer("modern")).ready()
    world.llm.forget()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    world.service.chat(rounds(calls(call("docs__echo"), call("docs__fails", id="b")), {"text": DONE}), headers={"traceparent": trace})
    headers, message = world.mcp.calls("echo")[0]
    assert headers["traceparent"] == message["params"]["_meta"]["traceparent"] == trace
    metrics = scrape(world.service)
    assert metrics.value("tool_calls_total", tool="mcp:docs", outcome="ok") == 1
    assert metrics.value("tool_calls_total", tool="mcp:docs", outcome="failed") == 1
