# SPDX-License-Identifier: Apache-2.0
"""Coding agents, unmodified, over /v1/chat/completions: each answers, uses a tool, and gives up what is broken."""

import json
import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Callable

import pytest

from harness.api_clients import INSTALLED, Cutter, is_installed, node
from harness.llm_script import inline
from harness.process import PATIENCE, WRAP, clean_env, wait_until
from harness.tool_mocks import call, calls, rounds

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
NOWHERE = "http://127.0.0.1:9"  # what an agent wants of the internet, it does not get
LONGEST = 600  # seconds; all of them wait between their tries
TRIES = 12
NUMBERED = {"token": "w# ", "numbered": True}

pytestmark = pytest.mark.long


class Run:
    """What an agent did with a prompt. whole: what it took for a whole answer, or None; told: what it said besides."""

    def __init__(self, agent, url, key, model, directory, prompt):
        directory.mkdir()
        argv, env = agent.command(f"{url}/v1", key, model, directory, prompt)
        done = subprocess.run([str(a) for a in argv], cwd=directory, env={**clean_env(), "HOME": str(directory), **env}, input=prompt,
                              capture_output=True, text=True, timeout=LONGEST * PATIENCE)
        self.directory, self.status, self.told = directory, done.returncode, done.stdout + done.stderr
        self.whole = agent.whole(done.stdout)

    def __repr__(self):
        return f"{self.status} {self.whole!r} {self.told[-3000:]}"


def opencode(url, key, model, directory, prompt):
    """It reads the prompt from its input: as an argument, it would be quoted."""
    (directory / "opencode.json").write_text(json.dumps({
        "model": f"tt/{model}", "provider": {"tt": {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": url, "apiKey": key}, "models": {model: {}}}}}))
    off = ("OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_AUTOUPDATE", "OPENCODE_DISABLE_DEFAULT_PLUGINS", "OPENCODE_DISABLE_LSP_DOWNLOAD")
    return ([INSTALLED / "opencode/node_modules/opencode-linux-x64/bin/opencode", "run", "--format", "json", "--title", "test"],
            {**dict.fromkeys(off, "1"), "npm_config_registry": NOWHERE})


def opencode_whole(output):
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    stopped = any(e["type"] == "step_finish" and e["part"]["reason"] == "stop" for e in events)
    return "".join(e["part"]["text"] for e in events if e["type"] == "text") if stopped else None


def aider(url, key, model, directory, prompt):
    (directory / "prompt").write_text(prompt)
    never = ("git", "pretty", "show-model-warnings", "show-release-notes", "check-update", "detect-urls", "suggest-shell-commands", "auto-lint")
    return ([INSTALLED / "aider/bin/aider", "--model", f"openai/{model}", "--yes-always", "--analytics-disable", *(f"--no-{n}" for n in never),
             "--message-file", "prompt", "here.txt"],
            {"OPENAI_API_BASE": url, "OPENAI_API_KEY": key, "HTTPS_PROXY": NOWHERE, "HF_HUB_OFFLINE": "1"})


def aider_whole(output):
    """It counts tokens below an answer that it takes, and says when it tries again above that."""
    found = re.search(r"Added here\.txt to the chat\.\n\n(.*?)\n+Tokens: \S+ sent, \S+ received", output, re.S)
    text = re.split(r"Retrying in [0-9.]+ seconds\.\.\.\n", found[1])[-1] if found else ""
    return text if text and "litellm." not in text else None


def cn(url, key, model, directory, prompt):
    (directory / "config.yaml").write_text(json.dumps({"name": "test", "version": "1.0.0", "schema": "v1", "models": [
        {"name": "tt", "provider": "openai", "model": model, "apiBase": url, "apiKey": key, "roles": ["chat"]}]}))
    return ([node(), INSTALLED / "continue/node_modules/@continuedev/cli/dist/cn.js", "--config", "config.yaml", "--auto", "-p", prompt],
            {"CONTINUE_TELEMETRY_ENABLED": "0", "CONTINUE_CLI_ENABLE_TELEMETRY": "0", "HTTPS_PROXY": NOWHERE})


def cn_whole(output):
    """It prints an answer when it is whole, and nothing else."""
    return output or None


def cline(url, key, model, directory, prompt):
    """What `cline auth -p openai-compatible` writes."""
    settings = directory / "data" / "settings"
    settings.mkdir(parents=True)
    (settings / "providers.json").write_text(json.dumps({"version": 1, "lastUsedProvider": "openai-compatible", "modes": {}, "providers": {
        "openai-compatible": {"settings": {"provider": "openai-compatible", "apiKey": key, "model": model, "baseUrl": url},
                              "updatedAt": "2026-01-01T00:00:00.000Z", "tokenSource": "manual"}}}))
    return ([INSTALLED / "cline/node_modules/@cline/cli-linux-x64/bin/cline", "-P", "openai-compatible", "--data-dir", directory / "data",
             "--json", prompt], {"HTTPS_PROXY": NOWHERE})


def cline_whole(output):
    results = [e for e in (json.loads(line) for line in output.splitlines() if line.startswith("{")) if e["type"] == "run_result"]
    return results[-1]["text"] if results and results[-1]["finishReason"] == "completed" else None


@dataclass
class Agent:
    environment: str
    command: Callable
    whole: Callable
    tool: str  # a script: it makes here.txt, which has "made" in it
    rounds: int = 2  # requests at the LLM for that
    tries: int = TRIES  # of what is refused for now


AGENTS = {
    "opencode": Agent("opencode", opencode, opencode_whole,
                      rounds(calls(call("bash", command="printf made > here.txt && printf 'it ran'", description="make it")), text=["Done."], fragment=3)),
    "continue": Agent("continue", cn, cn_whole, rounds(calls(call("Bash", command="printf made > here.txt && printf 'it ran'")), text=["Done."], fragment=3),
                      tries=40),
    "cline": Agent("cline", cline, cline_whole, rounds(calls(call("run_commands", commands=["printf made > here.txt && printf 'it ran'"])),
                                                       text=["Done."], fragment=3)),
    "aider": Agent("aider", aider, aider_whole, inline(text=["here.txt\n", "```\n", "made\n", "```\n"]), 1, tries=40),
}
each_agent = pytest.mark.parametrize("agent", [pytest.param(a, id=n, marks=pytest.mark.skipif(
    not is_installed(a.environment), reason=f"not installed by tests/run (see build/{a.environment}.log)")) for n, a in AGENTS.items()])


class World:
    """The service, which wants keys, and another one whose answers nobody continues."""

    def __init__(self, testbed):
        self.llm = testbed.llm("--record", "2000")
        sets = ["http.api=true", "http.body_limit=4000000", "access.require=api", f"access.keys_file={testbed.directory}/keys.jsonl",
                "llm.stall_timeout=1", "llm.silence_timeout=2"]
        start = lambda *more: testbed.service(backend=testbed.backend({"d1": self.llm.deployment()}), sets=[*sets, *more], workers=2)
        self.service, self.stubborn = start(), start("llm.continue=false")
        self.key = self.service.ctl("keys", "create", "client")["key"]
        for service in self.service, self.stubborn:
            service.wait_ready().secrets.append(self.key)
            wait_until(lambda: service.http.get("/v1/models", headers={"Authorization": f"Bearer {self.key}"}).status_code == 200, "the key is known")
        self.cutter = Cutter(testbed, self.service.host)

    def run(self, agent, directory, prompt, key=None, service=None, model=MODEL):
        return Run(agent, (service or self.service).url, key or self.key, model, directory, prompt)

    def requests(self, mark):
        return [c["body"] for c in self.llm.chats() if any(mark in str(m["content"]) for m in c["body"]["messages"])]


@pytest.fixture(scope="module")
def world(worlds):
    return worlds.get("agents", World)


@each_agent
def test_an_answer(world, tmp_path, agent):
    prompt = inline(text=["It ", "works."]) + f" (plain {tmp_path})"
    run = world.run(agent, tmp_path / "a", prompt)
    assert run.whole and run.whole.strip() == "It works.", run
    body, = world.requests(f"(plain {tmp_path})")
    assert body["stream"] is True and body["messages"][0]["role"] == "system", body


@each_agent
def test_a_tool(world, tmp_path, agent):
    run = world.run(agent, tmp_path / "a", agent.tool + f" (tool {tmp_path})")
    assert run.whole and (run.directory / "here.txt").read_text().strip() == "made", run
    bodies = world.requests(f"(tool {tmp_path})")
    assert len(bodies) == agent.rounds
    if agent.rounds == 2:
        before, after = bodies
        assert [m["role"] for m in after["messages"][len(before["messages"]):]] == ["assistant", "tool"]
        assert after["messages"][-2]["tool_calls"][0]["id"] == after["messages"][-1]["tool_call_id"] == "call_a"
        assert "it ran" in str(after["messages"][-1]["content"])


@each_agent
def test_a_wrong_key(world, tmp_path, agent):
    run = world.run(agent, tmp_path / "a", inline(text=["never"]) + f" (key {tmp_path})", key="wrong")
    assert run.whole is None and "key" in run.told.lower(), run
    assert not world.requests(f"(key {tmp_path})")


REFUSALS = {
    "404": ({}, {"model": "no-such-model"}, "no-such-model"),
    "429": ({"status": 429, "retry_after": 1}, {}, ""),
    "too long": ({"window": 3}, {}, "maximum context length|hit a token limit"),
}


@each_agent
def test_what_is_refused(world, tmp_path, agent):
    """The error is shown, and nobody tries for ever. What is too long may be tried again with less of the conversation."""
    prompt = lambda name: inline(**{"text": ["never"], **REFUSALS[name][0]}) + f" ({name} {tmp_path})"
    with ThreadPoolExecutor(len(REFUSALS)) as pool:
        begun = {name: pool.submit(world.run, agent, tmp_path / name, prompt(name), **more) for name, (_, more, _) in REFUSALS.items()}
    for name, future in begun.items():
        run = future.result()
        assert run.whole is None and re.search(REFUSALS[name][2], " ".join(run.told.split())), (name, run)
        assert len(world.requests(f"({name} {tmp_path})")) <= agent.tries, name


@each_agent
def test_an_agent_that_leaves(world, tmp_path, agent):
    mark = f"(leaves {tmp_path})"
    (tmp_path / "a").mkdir()
    argv, env = agent.command(f"{world.service.url}/v1", world.key, MODEL, tmp_path / "a", inline(tokens=10000, delay_us=10000) + " " + mark)
    with subprocess.Popen([str(a) for a in argv], cwd=tmp_path / "a", env={**clean_env(), "HOME": str(tmp_path / "a"), **env}, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as popen:
        popen.stdin.write(inline(tokens=10000, delay_us=10000) + " " + mark)
        popen.stdin.close()
        wait_until(lambda: world.requests(mark), "the LLM is asked", 100)
        os.killpg(popen.pid, signal.SIGKILL)
    chat, = [c for c in world.llm.chats() if any(mark in str(m["content"]) for m in c["body"]["messages"])]
    wait_until(lambda: any(d["request"] == chat["id"] for d in world.llm.stats()["closed"]), "the LLM's connection is closed")


@each_agent
def test_what_is_broken_is_never_whole(world, tmp_path, agent):
    """All at once, as each waits longer and longer between its tries."""
    faults = {"cut": {"cut_after": 3}, "early": {"tokens": 3, "finish": "", "done": False}, "stall": {"stall_after": 3}, "way": {}}
    prompt = lambda name: inline(**{**NUMBERED, "tokens": 20, **faults[name]}) + f" ({name} {tmp_path})"
    with ThreadPoolExecutor(len(faults)) as pool:
        begun = {name: pool.submit(world.run, agent, tmp_path / name, prompt(name), service=world.cutter if name == "way" else None) for name in faults}
    for name, future in begun.items():
        run = future.result()
        if name == "way":  # a short answer without a stream is not cut
            assert run.whole is None or run.whole.split() == [f"w{n}" for n in range(20)], run
        else:
            assert run.whole is None and "broke off" in " ".join(run.told.split()), (name, run)
        assert 1 <= len(world.requests(f"({name} {tmp_path})")) <= TRIES, name


@pytest.mark.skipif(bool(WRAP), reason="valgrind cannot follow a keeper")
@each_agent
def test_a_worker_that_dies(world, tmp_path, agent):
    """Nobody continues its answer: the agent tells of it, or gets all of it when it tries again."""
    service, mark = world.stubborn, f"(dies {tmp_path})"
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(world.run, agent, tmp_path / "a", inline(**NUMBERED, tokens=500, delay_us=10000) + f" {mark}", service=service)
        wait_until(lambda: world.requests(mark) and world.llm.stats()["active"], "the LLM is asked", 100)
        service.responder.expected_exit.add(-signal.SIGKILL)
        for pid in service.worker_pids():
            os.kill(pid, signal.SIGKILL)
        run = begun.result()
    if run.whole is not None:
        words, whole = run.whole.split(), [f"w{n}" for n in range(500)]
        begun = words[:-len(whole)]  # Continue prints what it had got before, too
        assert words[-len(whole):] == whole and begun == whole[:len(begun)], run
    assert 1 <= len(world.requests(mark)) <= TRIES
