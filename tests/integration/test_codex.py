# SPDX-License-Identifier: Apache-2.0
"""OpenAI's Codex CLI, unmodified, over /v1/responses: it answers, runs a command, and gives up what is broken."""

import json
import os
import subprocess

import pytest

from harness.llm_script import inline
from harness.process import PATIENCE, SOURCE, clean_env
from harness.tool_mocks import call, calls, rounds

CODEX = SOURCE / "build/codex/node_modules/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
RETRIES = 2

pytestmark = [pytest.mark.long, pytest.mark.skipif(not CODEX.exists() and not os.environ.get("TT_REQUIRE_API_CLIENTS"),
                                                   reason="not installed by tests/run (see build/codex.log)")]

CONFIG = """
model = "{model}"
model_provider = "tt"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[model_providers.tt]
name = "tt-agent"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "TT_KEY"
stream_max_retries = {retries}
request_max_retries = {retries}
[analytics]
enabled = false
"""


@pytest.fixture(scope="module")
def world(worlds):
    return worlds.get("codex", lambda t: t.one(sets=["http.api=true", "llm.stall_timeout=1", "llm.silence_timeout=2", "http.body_limit=4000000"]))


class Run:
    """What Codex did with a prompt."""

    def __init__(self, service, directory, prompt):
        home = directory / "home"
        home.mkdir()
        (home / "config.toml").write_text(CONFIG.format(model=MODEL, url=service.url, retries=RETRIES))
        env = {**clean_env(), "CODEX_HOME": str(home), "HOME": str(directory), "TT_KEY": "none"}
        done = subprocess.run([CODEX, "exec", "--json", "--skip-git-repo-check", "-C", str(directory), prompt], env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120 * PATIENCE)
        self.status, self.errors = done.returncode, done.stderr
        self.events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        self.items = [e["item"] for e in self.events if e["type"] == "item.completed"]
        self.said = [i["text"] for i in self.items if i["type"] == "agent_message"]

    def __repr__(self):
        return f"{self.status} {self.events} {self.errors[-2000:]}"


def requests(llm, marker):
    """What the LLM got because of the prompt that has it."""
    return [c["body"] for c in llm.chats() if any(marker in str(m["content"]) for m in c["body"]["messages"])]


def test_an_answer(world, tmp_path):
    service, llm = world
    run = Run(service, tmp_path, inline(reasoning=["hm"], text=["It ", "works."]) + " (plain)")
    assert run.status == 0 and run.said == ["It works."], run
    body, = requests(llm, "(plain)")
    roles = [m["role"] for m in body["messages"]]
    assert roles[0] == "system" and set(roles[1:]) == {"user"}, roles
    assert "exec_command" in [t["function"]["name"] for t in body["tools"]]


def test_it_runs_a_command_and_tells_of_it(world, tmp_path):
    service, llm = world
    command = call("exec_command", cmd="printf made > here.txt && printf 'it ran'")
    run = Run(service, tmp_path, rounds(calls(command), text=["Done."], fragment=3) + " (tool)")
    assert run.status == 0 and run.said == ["Done."], run
    assert (tmp_path / "here.txt").read_text() == "made"
    first, second = requests(llm, "(tool)")
    assert [m["role"] for m in second["messages"][len(first["messages"]):]] == ["assistant", "tool"]
    assert second["messages"][-2]["tool_calls"][0]["id"] == "call_a" and "it ran" in second["messages"][-1]["content"]


@pytest.mark.parametrize("fault", [{"cut_after": 3}, {"error_after": 3}, {"stall_after": 3}, {"tokens": 3, "finish": "", "done": False},
                                   {"finish": "length"}, {"status": 500}])
def test_what_is_broken_is_given_up(world, tmp_path, fault):
    """It never takes it for whole, and tries no more often than it is configured to."""
    service, llm = world
    run = Run(service, tmp_path, inline(**{"tokens": 20, "token": "w# ", "numbered": True, **fault}) + " (broken)")
    assert run.status != 0 and run.events[-1]["type"] == "turn.failed", run
    assert 1 <= len(requests(llm, "(broken)")) <= (RETRIES + 1) ** 2
    llm.forget()


def test_what_is_refused_is_tried_once(world, tmp_path):
    service, llm = world
    run = Run(service, tmp_path, inline(window=3) + " (long)")
    assert run.status != 0 and "context" in str(run.events).lower(), run
    assert len(requests(llm, "(long)")) == 1
