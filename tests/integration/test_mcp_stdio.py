# SPDX-License-Identifier: Apache-2.0
"""MCP servers that are commands: tt-agent-runner --mcp starts them, and they misbehave in every way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.mcp_server import servers
from harness.process import BUILD, wait_until
from harness.runner import McpRunner, children, lives
from harness.tool_mocks import call, calls, rounds

SERVER = Path(__file__).parent / "harness" / "stdio_server.py"
DONE = "All done."
TIMEOUT = 30.0
SHORT = 1.5


def post(runner, path, method):
    """The body of the answer, and its status."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"command": "/bin/id"}})
    done = subprocess.run(["curl", "-s", "-w", "\n%{http_code}", "--unix-socket", runner.path, "-d", body, f"http://x{path}"],
                          capture_output=True, text=True)
    return done.stdout.rsplit("\n", 1)


class World:
    def __init__(self, testbed, era, timeout=TIMEOUT, name="docs", ready=True, **settings):
        self.name, self.journal = name, testbed.directory / f"journal-{era}-{timeout}"
        self.runner = McpRunner(testbed, {name: {"command": sys.executable, "args": [str(SERVER), era, str(self.journal)], **settings}})
        self.service, self.llm = testbed.one(sets=[servers({"name": name, "socket": str(self.runner.path), "timeout": timeout})])
        if ready:
            self.service.wait_status(lambda s: f"{name}__echo" in s["tools"], "the tools are offered", 60)

    def run(self, *tools, **arguments):
        """One turn in which the model calls these tools in one answer; what it is told."""
        self.llm.forget()
        each = calls(*(call(f"{self.name}__{t}", id=f"c{i}", **arguments) for i, t in enumerate(tools)))
        turn = self.service.chat(rounds(each, {"text": DONE}))
        assert turn.whole and turn.answer == DONE, turn.chunks
        told = [m["content"] for m in self.llm.chats()[-1]["body"]["messages"] if m["role"] == "tool"]
        return told if len(told) > 1 else told[0]

    def noted(self):
        return self.journal.read_text().splitlines()

    def messages(self, method):
        return [m for m in (json.loads(line) for line in self.noted() if line.startswith("{")) if m.get("method") == method]


@pytest.fixture(scope="module", params=["modern", "legacy"])
def world(request, worlds):
    return worlds.get(request.param, lambda testbed: World(testbed, request.param, env={"OWN": "mine"}, cwd="/"))


@pytest.fixture(scope="module", params=["modern", "legacy"])
def hasty(request, worlds):
    """The same with a deadline that is soon over."""
    return worlds.get(f"{request.param} hasty", lambda testbed: World(testbed, request.param, SHORT))


RESULTS = {
    "echo": '{"n": 1}',
    "prints": "after garbage",
    "complains": "complained",
    "asks": "asked",
    "answers_another": "mine",
    "refuses": "Error: docs: text is missing (-32602). Call the tool again with other arguments, or answer without it.",
}


@pytest.mark.parametrize("name", RESULTS)
def test_what_a_tool_returns_is_told(world, name):
    assert world.run(name, n=1) == RESULTS[name]


FAULTS = {
    "is_long": "the server's answer is longer than --reply allows",
    "is_long_in_front": "the server's answer is longer than --reply allows",
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_costs_only_its_own_call(world, name):
    faulty, good = world.run(name, "echo", n=1)
    assert FAULTS[name] in faulty and faulty.startswith("Error: "), faulty
    assert good == '{"n": 1}'


def test_a_call_that_hangs_costs_only_itself(hasty):
    faulty, good = hasty.run("hangs", "echo", n=1)
    assert "it did not answer in time" in faulty and good == '{"n": 1}'


@pytest.mark.parametrize("name", ["dies", "closes"])
def test_a_server_that_ends_is_started_again(world, name):
    before = world.noted().count("started")
    assert "the server's process ended" in world.run(name)
    assert world.run("echo", n=2) == '{"n": 2}'
    assert world.noted().count("started") == before + 1


def test_a_late_answer_is_for_nobody(hasty):
    world, before = hasty, hasty.noted().count("answered late")
    assert "it did not answer in time" in world.run("is_late")
    wait_until(lambda: world.noted().count("answered late") > before, "the server was told")
    assert world.run("echo", n=3) == '{"n": 3}'
    assert world.messages("notifications/cancelled")[-1]["params"]["requestId"] in [m["id"] for m in world.messages("tools/call")]


def test_what_a_server_is_started_with(world):
    seen = json.loads(world.run("environment"))
    assert seen["cwd"] == "/" and seen["env"]["OWN"] == "mine" and seen["env"]["PATH"]
    assert "UNRELATED" not in seen["env"]


def test_one_process_serves_all(world):
    for _ in range(3):
        world.run("echo", "echo", n=1)
    assert len(children(world.runner.process.pid)) == 1


def test_stderr_is_logged_within_bounds(world):
    world.run("complains")
    line, = [line for line in world.runner.process.log().splitlines() if "caution: w" in line][-1:]
    assert "mcp_stderr" in line and "server=docs" in line and len(line) < 600


def test_only_the_modern_era_has_its_members(world):
    metas = [m["params"].get("_meta", {}) for m in world.messages("tools/list")]
    modern = "modern" in str(world.journal)
    assert metas and all(("io.modelcontextprotocol/protocolVersion" in m) == modern for m in metas)
    assert (len(world.messages("initialize")) > 0) == (not modern)
    assert len(world.messages("notifications/initialized")) == len(world.messages("initialize"))


@pytest.mark.parametrize("era", ["strict", "mute"])
def test_odd_handshakes(testbed, era):
    assert World(testbed, era).run("echo", n=1) == '{"n": 1}'


def test_a_server_that_never_starts(testbed):
    world = World(testbed, "broken", ready=False)
    world.service.wait_status(lambda s: s["mcp"][0]["state"] == "failing", "it fails", 60)
    status = world.service.status()["mcp"][0]
    assert "HTTP 502: the server's process ended at its start" in status["error"]
    assert status["url"] == f"unix:{world.runner.path}"
    assert "no configuration" in world.runner.process.log()
    wait_until(lambda: "is started again within" in post(world.runner, "/docs", "tools/list")[0], "it is started again, later", 30)


def test_no_request_decides_what_runs(testbed):
    runner = McpRunner(testbed, {"docs": {"command": "/no/such/program"}})
    for path, method in {"/other": "tools/list", "/docs": "initialize", "/": "tools/list", "/docs/": "tools/list"}.items():
        assert post(runner, path, method)[1] == "404"
    assert "no server of this name" in post(runner, "/other", "tools/list")[0]
    text, status = post(runner, "/docs", "tools/list")
    assert status == "502" and "can't start /no/such/program: No such file or directory" in text


def test_the_file_may_change_while_it_runs(testbed):
    """Calls in flight are answered by the process that got them."""
    journal = testbed.directory / "journal"
    settings = lambda own: {"command": sys.executable, "args": [str(SERVER), "modern", str(journal)], "env": {"OWN": own}}
    runner = McpRunner(testbed, {"docs": settings("one"), "same": settings("same")})
    call_of = lambda tool: json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}})
    post_to = lambda name, tool: subprocess.Popen(["curl", "-s", "--unix-socket", runner.path, "-d", call_of(tool), f"http://x/{name}"],
                                                  stdout=subprocess.PIPE, text=True)
    own = lambda name: json.loads(json.loads(post_to(name, "environment").communicate()[0])["result"]["content"][0]["text"])["env"]["OWN"]
    assert own("docs") == "one" and own("same") == "same"
    before = children(runner.process.pid)
    waiting = post_to("docs", "waits")
    wait_until(lambda: '"waits"' in journal.read_text(), "the call")
    runner.write({"docs": settings("two"), "same": settings("same"), "new": settings("new")})
    wait_until(lambda: "mcp_file mcp_servers=3" in runner.process.log(), "the file is read")
    assert own("docs") == "two" and own("same") == "same" and own("new") == "new"
    assert set(before) <= set(children(runner.process.pid)) and len(children(runner.process.pid)) == 4
    (testbed.directory / "journal.go").touch()
    assert "waited" in waiting.communicate()[0]
    wait_until(lambda: len(children(runner.process.pid)) == 3, "the old process ends", 30)
    # What is not valid changes nothing, and is reported once.
    runner.write("{")
    wait_until(lambda: "ERROR mcp_file error=" in runner.process.log(), "the error is logged")
    assert own("docs") == "two"
    runner.write({"docs": settings("two")})
    os.kill(runner.process.pid, signal.SIGHUP)
    wait_until(lambda: "mcp_file mcp_servers=1" in runner.process.log(), "the file is read")
    assert post(runner, "/same", "tools/list")[1] == "404" and own("docs") == "two"
    wait_until(lambda: len(children(runner.process.pid)) == 1, "the others end", 30)
    assert runner.process.log().count("ERROR mcp_file") == 1


@pytest.mark.parametrize("era", ["legacy", "deaf"])
def test_the_servers_end_with_the_runner(testbed, era):
    world = World(testbed, era)
    pid, = children(world.runner.process.pid)
    os.kill(world.runner.process.pid, signal.SIGTERM)
    wait_until(lambda: not lives(pid), "the server has ended", 30)
    assert world.noted()[-1] == "input ended"
    wait_until(lambda: not lives(world.runner.process.pid), "the runner has ended", 30)
    assert not world.runner.path.exists()


WRONG = {
    "no JSON": ("{", "is not valid JSON (line 1, column 1)"),
    "no servers": ({}, "it has no object mcpServers"),
    "no command": ({"mcpServers": {"a": {}}}, "a: command is missing"),
    "a name": ({"mcpServers": {"a b": {"command": "x"}}}, "a b: a server's name has"),
    "a field": ({"mcpServers": {"a": {"command": "x", "url": "http://x"}}}, "a: url: no such field"),
    "a type": ({"mcpServers": {"a": {"command": "x", "type": "http"}}}, "a: type: no such field"),
    "an argument": ({"mcpServers": {"a": {"command": "x", "args": [1]}}}, "a: argument 1 is no text"),
    "a variable": ({"mcpServers": {"a": {"command": "x", "env": {"S": 5}}}}, "a: env: S is no variable"),
    "a directory": ({"mcpServers": {"a": {"command": "x", "cwd": "here"}}}, "a: cwd does not begin with /"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused(tmp_path, name):
    content, why = WRONG[name]
    file = tmp_path / "servers.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    done = subprocess.run([BUILD / "tt-agent-runner", "--mcp", file, "--test", "--user", "root"], capture_output=True, text=True)
    assert done.returncode == 1 and "mcp_not_started" in done.stderr and why in done.stderr, done.stderr


def test_a_file_that_everybody_may_write_to_is_refused(tmp_path):
    file = tmp_path / "servers.json"
    file.write_text('{"mcpServers": {"a": {"command": "x"}}}')
    argv = [BUILD / "tt-agent-runner", "--mcp", file, "--test", "--user", "root"]
    assert "the file is valid" in subprocess.run(argv, capture_output=True, text=True).stdout
    file.chmod(0o666)
    assert "everybody may write to it" in subprocess.run(argv, capture_output=True, text=True).stderr
