# SPDX-License-Identifier: Apache-2.0
"""Real MCP servers, and the protocol's own conformance suite."""

import json
import os
import socket
import subprocess
import sys

import pytest

from harness.api_clients import DRIVERS, INSTALLED, node
from harness.llm_script import COUNT, inline, said as said_words, words
from harness.mcp_server import servers
from harness.process import BUILD, PATIENCE, Process, wait_until
from harness.runner import McpRunner
from harness.tool_mocks import call, calls, rounds

pytestmark = pytest.mark.long
NPM = INSTALLED / "mcp-npm" / "node_modules" / "@modelcontextprotocol"
PYTHON = INSTALLED / "mcp-python" / "bin" / "python"
FASTMCP = INSTALLED / "fastmcp" / "bin" / "python3"
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
DONE = "All done."

SDK_SERVER = """
import sys
from mcp.server.mcpserver import MCPServer
s = MCPServer("sdk")
@s.tool()
def add(a: int, b: int) -> int:
    "Adds."
    return a + b
@s.tool()
def fail() -> str:
    raise ValueError("no such row")
if len(sys.argv) > 1:
    s.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
s.run("stdio")
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def need(path):
    if not path.exists():
        if os.environ.get("TT_REQUIRE_API_CLIENTS"):
            raise AssertionError(f"{path} is not installed")
        pytest.skip(f"{path} is not installed; tests/run --long installs it")


def serve(testbed, name, argv, port, env=None):
    testbed.own(Process(name, argv, testbed.directory, env))
    testbed.ignore_faults.append(testbed.processes[-1])
    testbed.processes[-1].expected_exit = {0, 1, 130, 143, -2, -15}

    def listens():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, f"{name} listens", 60)


def said(testbed, name, url, *each):
    """What the model is told of these calls, in a turn of a service with the server at that URL or socket."""
    service, llm = testbed.one(sets=[servers({"name": name, "url" if "://" in str(url) else "socket": str(url)})])
    service.wait_status(lambda s: f"{name}__{each[0][0]}" in s["tools"], "the tools are offered", 60)
    wanted = calls(*(call(f"{name}__{tool}", id=f"c{i}", **arguments) for i, (tool, arguments) in enumerate(each)))
    turn = service.chat(rounds(wanted, {"text": DONE}))
    assert turn.whole and turn.answer == DONE
    return service, [m["content"] for m in llm.chats()[-1]["body"]["messages"] if m["role"] == "tool"]


def test_the_python_sdk(testbed):
    need(PYTHON)
    port = free_port()
    serve(testbed, "mcp-sdk", [PYTHON, "-c", SDK_SERVER, str(port)], port)
    service, told = said(testbed, "sdk", f"http://127.0.0.1:{port}/mcp", ("add", {"a": 2, "b": 40}), ("fail", {}), ("add", {"a": "x"}))
    assert told[0] == "42" and told[1] == "Error: Error executing tool fail" and told[2].startswith("Error: ")
    assert service.status()["mcp"][0]["version"] == "2026-07-28"


def test_the_python_sdk_over_stdio(testbed):
    need(PYTHON)
    runner = McpRunner(testbed, {"sdk": {"command": str(PYTHON), "args": ["-c", SDK_SERVER]}})
    _, told = said(testbed, "sdk", runner.path, ("add", {"a": 2, "b": 40}), ("fail", {}), ("add", {"a": "x"}))
    assert told[0] == "42" and told[1] == "Error: Error executing tool fail" and told[2].startswith("Error: ")


def test_server_everything_over_stdio(testbed):
    need(NPM / "server-everything")
    runner = McpRunner(testbed, {"all": {"command": str(node()), "args": [str(NPM / "server-everything" / "dist" / "index.js"), "stdio"]}})
    _, told = said(testbed, "all", runner.path, ("echo", {"message": "hi"}), ("get-sum", {"a": 2, "b": 3}))
    assert "hi" in told[0] and "5" in told[1]


def test_server_everything(testbed):
    need(NPM / "server-everything")
    port = free_port()
    serve(testbed, "everything", [node(), NPM / "server-everything" / "dist" / "index.js", "streamableHttp"], port,
          env={"PORT": str(port), "PATH": os.environ["PATH"]})
    service, told = said(testbed, "all", f"http://127.0.0.1:{port}/mcp", ("echo", {"message": "hi"}), ("get-sum", {"a": 2, "b": 3}))
    assert "hi" in told[0] and "5" in told[1]
    assert service.status()["mcp"][0]["version"].startswith("2025-")


# --- fastmcp ---

FASTMCP_SERVER = """
import sys
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.utilities.types import Image
s = FastMCP("peer")
@s.tool
def add(a: int, b: int) -> int:
    "Adds."
    return a + b
@s.tool
def fail() -> str:
    raise ToolError("no such row")
@s.tool
async def steps(ctx: Context) -> str:
    await ctx.info("noise")
    await ctx.report_progress(1, 2, "half way")
    return "done"
@s.tool
async def wants(ctx: Context) -> str:
    return str(await ctx.elicit("Your name?", str))
@s.tool
def picture() -> Image:
    return Image(data=b"x" * 3000, format="png")
if len(sys.argv) > 1:
    s.run("http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)
else:
    s.run("stdio", show_banner=False)
"""
EACH = ("add", {"a": 2, "b": 40}), ("fail", {}), ("steps", {}), ("wants", {}), ("picture", {}), ("add", {"a": "x"}), ("add", {"a": 1, "b": 1})


def check_fastmcp(told):
    assert told[:3] == ["42", "Error: no such row", "done"] and told[-1] == "2", told
    assert told[3].startswith("Error: ") and "an image was returned (image/png" in told[4] and told[5].startswith("Error: "), told


def test_a_fastmcp_server(testbed):
    need(FASTMCP)
    port = free_port()
    serve(testbed, "fastmcp", [FASTMCP, "-c", FASTMCP_SERVER, str(port)], port)
    service, told = said(testbed, "peer", f"http://127.0.0.1:{port}/mcp", *EACH)
    check_fastmcp(told)
    turn = service.chat(rounds(calls(call("peer__steps")), {"text": DONE}))
    assert "Using peer__steps\npeer__steps: half way\n" in turn.text


def test_a_fastmcp_server_over_stdio(testbed):
    need(FASTMCP)
    runner = McpRunner(testbed, {"peer": {"command": str(FASTMCP), "args": ["-c", FASTMCP_SERVER]}})
    check_fastmcp(said(testbed, "peer", runner.path, *EACH)[1])


def seen_by_fastmcp(url, mode, *each, key=""):
    done = subprocess.run([FASTMCP, DRIVERS / "fastmcp_client.py", url, mode, key, json.dumps(each)], capture_output=True, text=True, timeout=120 * PATIENCE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_client_of_fastmcp(testbed, mode):
    need(FASTMCP)
    service, _ = testbed.one(sets=["http.mcp=true", "access.require=api", f"access.keys_file={testbed.directory}/keys.jsonl", "llm.continue=false"])
    key = service.ctl("keys", "create", "client")["key"]
    service.secrets.append(key)
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    wait_until(lambda: service.http.post("/mcp", json=ping, headers={"Authorization": f"Bearer {key}"}).status_code == 200, "the key is known")
    seen = seen_by_fastmcp(service.url + "/mcp", mode, ["llm_status", {}], ["chat", {"message": words(delay_us=30000), "model": MODEL}], ["chat", {}],
                           ["chat", {"message": inline(tokens=9, cut_after=3), "model": MODEL}], key=key)
    assert {"chat", "llm_status"} <= set(seen["tools"])
    status, chat, wrong, broken = seen["results"]
    assert status["structured"]["status"] == "ready"
    assert chat["text"] == "".join(chat["progress"]) == said_words(COUNT)
    assert "message" in wrong["failed"] and broken["failed"], seen
    assert "error" in seen_by_fastmcp(service.url + "/mcp", mode, key="wrong")


# --- the conformance suite ---

DRIVER = """#!{python}
import json, os, subprocess, sys
ctl = ["{ctl}", "--json", "mcp"]
context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{{}}")
listed = subprocess.run([*ctl, "tools", sys.argv[-1]], capture_output=True, text=True)
tools = json.loads(listed.stdout)["tools"] if listed.returncode == 0 else []
values = {{"string": "x", "number": 2, "integer": 3, "boolean": True, "array": [], "object": {{}}}}
focal = next((t["inputSchema"] for t in tools if "$defs" in t["inputSchema"]), {{}})
def example(tool):
    properties = tool["inputSchema"].get("properties", {{}})
    return {{n: focal if n in ("schema", "inputSchema") else values.get(p.get("type"), "x") for n, p in properties.items()}}
wanted = [(c["name"], c.get("arguments", {{}})) for c in context.get("toolCalls", [])] or [(t["name"], example(t)) for t in tools]
for name, arguments in wanted:
    subprocess.run([*ctl, "call", sys.argv[-1], name, json.dumps(arguments)])
"""


SUITES = {"0.1.16": INSTALLED / "mcp-npm/node_modules/suite-1", "0.2.0": NPM / "conformance"}


@pytest.mark.parametrize("suite, version, scenario", [
    *(("0.2.0", "2026-07-28", s) for s in ("tools_call", "request-metadata", "http-standard-headers", "http-custom-headers", "http-invalid-tool-headers",
                                           "json-schema-ref-no-deref", "json-schema-2020-12-preservation")),
    *(("0.2.0", "2025-11-25", s) for s in ("initialize", "tools_call", "sse-retry", "json-schema-2020-12-preservation")),
    *(("0.1.16", "2025-11-25", s) for s in ("initialize", "tools_call", "sse-retry")),
    *((suite, "2025-06-18", s) for suite in SUITES for s in ("initialize", "tools_call"))])
def test_conformance(tmp_path, suite, version, scenario):
    need(SUITES[suite])
    driver = tmp_path / "driver"
    driver.write_text(DRIVER.format(python=sys.executable, ctl=BUILD / "tt-agentctl"))
    driver.chmod(0o755)
    done = subprocess.run([node(), SUITES[suite] / "dist" / "index.js", "client", "--command", driver, "--scenario", scenario,
                           "--spec-version", version], capture_output=True, text=True, timeout=120 * PATIENCE, cwd=tmp_path)
    assert "OVERALL: PASSED" in done.stdout + done.stderr, done.stdout + done.stderr
