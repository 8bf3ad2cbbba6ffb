# SPDX-License-Identifier: Apache-2.0
"""deploy/quickstart: README's first command."""

import ctypes
import json
import os
import pwd
import re
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from harness.http_client import Exchange, Turn
from harness.load import many_turns
from harness.process import BUILD, SOURCE, Process, processes_of, wait_until
from harness.runner import works
from harness.tool_mocks import CODE, call, calls, rounds

QUICKSTART = SOURCE / "deploy" / "quickstart"


class Quickstart:
    """One run of it, in a directory of its own below the testbed's."""

    def __init__(self, testbed, name, *options, env=None, before_exec=None, build=True):
        self.testbed = testbed
        self.directory = testbed.directory / name
        # Nobody listens on the port where it looks for an LLM, unless the test says so.
        options = ("--local-ports", str(testbed.closed_port()), *options)
        if build:
            options = ("--build", str(BUILD), *options)
        self.process = testbed.own(Process(
            f"{name}-quickstart", [QUICKSTART, "--dir", self.directory, "--port", "0", *options],
            testbed.directory, env=env, before_exec=before_exec))

    def wait_ready(self):
        self.process.wait_log("Ctrl-C stops everything", 60)
        self.url = re.search(r"^ready: (http://\S+)/$", self.output(), re.M)[1]
        self.host, _, self.prefix = self.url.removeprefix("http://").partition("/")
        self.prefix = f"/{self.prefix}" if self.prefix else ""
        return self

    def output(self):
        return self.process.log()

    def chat(self, message="Hello"):
        return Turn(Exchange(self.host, "POST", f"{self.prefix}/poll_requests", {"message": message, "thread_id": "t"}))

    def get(self, path):
        return httpx.get(self.url + path, trust_env=False, timeout=30).json()

    def stop(self, number=signal.SIGTERM):
        assert self.process.stop(number, 30) == 0
        self.check_gone()

    def check_gone(self):
        """Nothing that it started still runs or listens."""
        wait_until(lambda: not processes_of(self.directory), f"the end of {processes_of(self.directory)}")
        if hasattr(self, "host"):
            address, port = self.host.rsplit(":", 1)
            with socket.socket() as s:
                assert s.connect_ex((address, int(port))) != 0


def test_chats_with_the_demo_model_and_stops_everything(testbed):
    q = Quickstart(testbed, "demo").wait_ready()
    said = q.output()
    assert "DEMO MODEL" in said and "no real LLM" in said
    first_chat, then = said.split("first chat", 1)[1].split("ready: ", 1)
    assert "you: " in first_chat and "demo model" in first_chat and "not complete" not in first_chat
    assert ", with demo-model (discovered, healthy)" in first_chat and "[STATS]" not in first_chat
    assert "curl" in then and "tt-agentctl" in then and "Ctrl-C" in then
    assert f"base URL {q.url}/v1, any API key" in then and f"curl -N {q.url}/v1/chat/completions" in then
    status = q.get("/status")
    assert status["status"] == "ready"
    assert status["current_llm"]["is_discovered"] is True
    assert [m["deploy_id"] for m in status["available_models"]] == ["demo", "echo"]
    turn = q.chat()
    assert "demo model" in turn.text and turn.stats["tokens_decoded"] > 0
    q.stop()


@pytest.mark.parametrize("options, offered", [
    (["--set", "http.api=false"], False), (["--listen", "0.0.0.0"], False), (["--listen", "0.0.0.0", "--set", "http.api=true", "--prefix", "/ai"], True)])
def test_the_api_is_for_this_machine_unless_a_setting_says_otherwise(testbed, options, offered):
    q = Quickstart(testbed, "api", *options).wait_ready()
    assert (f"base URL {q.url}/v1" in q.output()) == offered
    assert httpx.get(q.url + "/v1/models", trust_env=False).status_code == (200 if offered else 404)
    q.stop()


def test_every_command_that_it_prints_works(testbed):
    q = Quickstart(testbed, "printed").wait_ready()
    block = q.output().split("Try next", 1)[1]
    commands = [c.strip() for c in re.findall(r"^  ((?:curl|echo|/).*)$", block, re.M)]
    assert len(commands) >= 5
    for command in commands:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert done.stdout.strip()
    # The last one pinned the second demo model, which repeats what was said in the thread.
    assert "What can you do?" in q.chat("What can you do?").text
    q.stop(signal.SIGINT)


def source_files():
    """Path and time of each file of the sources; builds have their own directory."""
    skip = {SOURCE / "build", SOURCE / ".git"}
    return {str(p): p.stat().st_mtime_ns for top in SOURCE.iterdir() if top not in skip
            for p in [top, *top.rglob("*")] if p.is_file()}


def test_writes_only_into_its_directory(testbed):
    before = source_files()
    there = {p.name for p in testbed.directory.iterdir()}
    q = Quickstart(testbed, "tidy").wait_ready()
    q.stop()
    assert {p.name for p in testbed.directory.iterdir()} - there == {"tidy", "tidy-quickstart.log"}
    assert source_files() == before


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_under_a_prefix_with_a_configuration_file(testbed, server):
    llm = testbed.llm(models=["my/model"])
    conf = testbed.directory / "mine.conf"
    conf.write_text(f'container: {{ name = "{llm.host}"; }};\n')
    q = Quickstart(
        testbed, "mine", "--server", server, "--prefix", "/my/agent", "--config", str(conf),
        "--set", "llm.temperature=0.25").wait_ready()
    assert q.prefix == "/my/agent"
    assert "Hello, world!" in q.output() and "DEMO" not in q.output()
    assert q.get("/status")["current_llm"]["server_url"].startswith(llm.url)
    assert q.get("")["status"] == q.get("/")["status"] == "ready"
    assert "Hello, world!" in q.chat().text
    assert {r["body"]["temperature"] for r in llm.chats() if r["body"].get("stream")} == {0.25}
    assert httpx.get(f"http://{q.host}/my/agentx", trust_env=False).status_code == 404
    assert f"tt-agent-fcgi and {server}" in q.output()
    q.stop()


def test_takes_the_llm_that_the_environment_names(testbed):
    llm = testbed.llm()
    q = Quickstart(testbed, "named", env={"LLM_CONTAINER_NAME": llm.url + "/v1/chat/completions"}).wait_ready()
    assert "container.name" in q.output() and "DEMO" not in q.output()
    assert "Say in one sentence who you are." in str(llm.chats())
    q.stop()


def test_takes_a_discovered_one_from_the_backend_that_is_named(testbed):
    llm = testbed.llm()
    backend = testbed.backend({"d1": llm.deployment()})
    q = Quickstart(testbed, "backend", env={"AGENT_BACKEND_URL": backend.url}).wait_ready()
    assert "discovery.backend_url" in q.output()
    assert q.get("/status")["available_models"][0]["deploy_id"] == "d1"
    q.stop()


@pytest.mark.parametrize("health_status", [200, 404])
def test_finds_a_local_one_by_its_list_of_models(testbed, health_status):
    llm = testbed.llm(models=["local/model"], health_status=health_status)
    silent = testbed.llm(models_status=404)
    q = Quickstart(testbed, "local", "--local-ports", f"{silent.port},{llm.port}").wait_ready()
    assert f"local/model, found on port {llm.port}" in q.output()
    assert "Hello, world!" in q.chat().text
    assert {r["body"]["model"] for r in llm.chats()} == {"local/model"}
    q.stop()


def test_waits_without_an_llm_when_told_so(testbed):
    q = Quickstart(testbed, "none", "--no-demo").wait_ready()
    assert "no LLM yet" in q.output() and "DEMO" not in q.output()
    assert q.get("/")["status"] == "initializing"
    q.stop()


def files(number):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))


def test_says_how_many_answers_fit_where_few_files_may_be_open(testbed):
    llm = testbed.llm()
    q = Quickstart(testbed, "few", env={"LLM_CONTAINER_NAME": llm.host}, before_exec=files(300)).wait_ready()
    room, need = map(int, re.search(r"room for about (\d+) answers at once, .* 300 files .*\n +for 10000, allow (\d+)", q.output()).groups())
    assert 20 < room < 200 and 5000 < need <= 20200
    message = "[[" + json.dumps({"tokens": 3, "delay_us": 500000, "first_delay_us": 500000}) + "]]"
    report = many_turns(q.host, room, 1, message, "word " * 3)
    # tt-agentd may read the metrics of the LLM at the same moment.
    assert report["failed"] == 0 and room <= llm.stats()["active_most"] <= room + 2, report
    q.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root")
def test_says_what_else_bounds_the_answers(testbed):
    def small_backlog():
        ctypes.CDLL(None).unshare(0x40000000)  # CLONE_NEWNET, which has a somaxconn of its own
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        Path("/proc/sys/net/core/somaxconn").write_text("128")

    q = Quickstart(testbed, "bounded", "--set", "limits.turns=500", "--set", "limits.client_turns=20000", before_exec=small_backlog)
    q.process.wait_log("Ctrl-C stops everything", 60)
    assert "(at most 500 answers at once: limits.turns)" in q.output() and "limits.client_turns" not in q.output()
    assert "clients beyond 128 that come in the same instant" in q.output() and "net.core.somaxconn=4096" in q.output()
    q.stop()


@pytest.mark.long
@pytest.mark.parametrize("server, spread_ms", [("nginx", 10000), ("nginx", 0), ("lighttpd", 10000), ("apache", 10000)])
def test_holds_10000_answers(testbed, server, spread_ms):
    llm = testbed.llm()
    q = Quickstart(testbed, "many", "--server", server, env={"LLM_CONTAINER_NAME": llm.host}).wait_ready()
    room = re.search(r"room for about (\d+) answers", q.output())
    count = int(room[1]) if room else 10000
    message = "[[" + json.dumps({"tokens": 3, "delay_us": 4000000, "first_delay_us": 15000000}) + "]]"
    report = many_turns(q.host, count, 1, message, "word " * 3, spread_ms=spread_ms)
    assert report["failed"] == 0 and report["whole"] == count, report
    assert llm.stats()["active_most"] >= 0.99 * count
    q.stop()


def test_two_side_by_side(testbed):
    one, other = Quickstart(testbed, "one"), Quickstart(testbed, "other", "--server", "lighttpd")
    one.wait_ready()
    other.wait_ready()
    assert one.host != other.host
    one.stop()
    assert "demo model" in other.chat().text
    other.stop()


def test_a_second_one_in_the_same_directory_is_refused(testbed):
    q = Quickstart(testbed, "same").wait_ready()
    again = subprocess.run(
        [QUICKSTART, "--dir", q.directory, "--build", BUILD, "--port", "0"], capture_output=True, text=True, timeout=30)
    assert again.returncode == 1
    assert f"pid {q.process.pid}" in again.stderr and "--dir" in again.stderr
    assert "demo model" in q.chat().text
    q.stop()


def refused(testbed, *options, env=None):
    """The error of a run that must refuse to start."""
    done = subprocess.run(
        [QUICKSTART, "--dir", testbed.directory / "refused", *options], capture_output=True, text=True, timeout=60,
        env={**os.environ, **(env or {})})
    assert done.returncode == 1, done.stdout + done.stderr
    assert not processes_of(testbed.directory / "refused")
    return done.stderr


def test_a_taken_port_is_named_with_its_holder(testbed):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        error = refused(testbed, "--build", str(BUILD), "--port", str(port))
    assert f"port {port} is taken by python3 (pid {os.getpid()})" in error and "--port" in error


def test_missing_packages_are_named(testbed):
    tools = testbed.directory / "tools"
    tools.mkdir()
    (tools / "pkg-config").write_text("#!/bin/sh\nexit 1\n")
    (tools / "pkg-config").chmod(0o755)
    error = refused(testbed, "--no-install", "--port", "0", env={"PATH": f"{tools}:{os.environ['PATH']}"})
    for package in ("libevent-dev", "libjansson-dev", "libcurl4-openssl-dev", "libconfig-dev", "libjwt-dev", "libsystemd-dev"):
        assert error.count(f" {package}") == 2, error
    assert "apt-get install" in error


def test_a_faulty_configuration_is_shown(testbed):
    conf = testbed.directory / "bad.conf"
    conf.write_text("polling: {\n\tintervall = 3;\n};\n")
    error = refused(testbed, "--build", str(BUILD), "--port", "0", "--config", str(conf))
    assert f"{conf}:2" in error and "intervall" in error


@pytest.mark.parametrize("options, word", [
    (("--port", "99999"), "--port"), (("--prefix", "agent"), "--prefix"), (("--server", "caddy"), "--server"),
    (("--config", "/nowhere"), "/nowhere"), (("--frobnicate",), "--help"), (("--set",), "--set"),
    (("--listen", "example.org"), "--listen"), (("--dir", "/proc/nowhere"), "--dir"),
    (("--build", str(BUILD), "--port", "0", "--set", "JWT_SECRET=hush"), "JWT_SECRET in the environment"),
])
def test_wrong_options_are_refused(testbed, options, word):
    assert word in refused(testbed, *options)


def test_says_which_service_died(testbed):
    q = Quickstart(testbed, "died").wait_ready()
    q.process.expected_exit = {1}
    victims = [int(p.name) for p in Path("/proc").glob("[0-9]*") if is_program(p, "tt-agentd", q.directory)]
    assert len(victims) == 1
    os.kill(victims[0], signal.SIGKILL)
    assert q.process.wait(30) == 1
    assert "tt-agentd ended by itself" in q.output() and "tt-agentd.log" in q.output()
    q.check_gone()


def is_program(process, name, directory):
    try:
        line = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return Path(line[0].decode()).name == name and any(str(directory).encode() in word for word in line)


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_nothing_survives_when_it_is_killed(testbed, server):
    q = Quickstart(testbed, "killed", "--server", server).wait_ready()
    q.process.expected_exit = {-signal.SIGKILL}
    os.kill(q.process.pid, signal.SIGKILL)
    q.process.wait()
    q.check_gone()


def test_stops_in_the_middle_of_its_start(testbed):
    q = Quickstart(testbed, "early", env={"LLM_CONTAINER_NAME": f"127.0.0.1:{testbed.closed_port()}"})
    q.process.wait_log("== starting")
    q.stop()


def as_nobody(*command):
    """Whether the command succeeds as another user."""
    return subprocess.run(["setpriv", "--reuid", "nobody", "--clear-groups", *command], capture_output=True).returncode == 0


def ordinary_user(testbed, name):
    """What makes a quickstart of that name one of an ordinary user."""
    if os.getuid() != 0:
        pytest.skip("runs as an ordinary user anyway")
    nobody = pwd.getpwnam("nobody")
    if not as_nobody("test", "-x", BUILD / "tt-agentd"):
        pytest.skip(f"no other user may enter {BUILD}")
    home = testbed.directory / name
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    testbed.directory.chmod(0o755)

    def become():
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)

    return become


def test_an_ordinary_user_needs_no_root(testbed):
    q = Quickstart(testbed, "ordinary", before_exec=ordinary_user(testbed, "ordinary")).wait_ready()
    assert "as user nobody" in q.output()
    assert "demo model" in q.chat().text
    q.stop()


def test_root_gives_its_rights_up(testbed):
    if os.getuid() != 0:
        pytest.skip("needs root")
    testbed.directory.chmod(0o755)
    if subprocess.run(["setpriv", "--reuid", "www-data", "--clear-groups", "test", "-x", BUILD / "tt-agentd"]).returncode:
        pytest.skip(f"no other user may enter {BUILD}")
    q = Quickstart(testbed, "root").wait_ready()
    assert "as user www-data" in q.output()
    owners = {
        (p / "cmdline").read_bytes().split(b"\0")[0].decode().rsplit("/", 1)[-1]: p.stat().st_uid
        for p in Path("/proc").glob("[0-9]*") if any(is_program(p, n, q.directory) for n in ("tt-agentd", "tt-agent-fcgi"))}
    assert owners == {n: pwd.getpwnam("www-data").pw_uid for n in ("tt-agentd", "tt-agent-fcgi")}
    q.stop()


def code_world(testbed, *options, ordinary=False, path=None):
    """(quickstart, llm that uses tools) with code.local."""
    become = ordinary_user(testbed, "code") if ordinary else None
    llm = testbed.llm()
    env = {"LLM_CONTAINER_NAME": llm.url + "/v1/chat/completions", **({"PATH": path} if path else {})}
    return Quickstart(testbed, "code", *options, env=env, before_exec=become), llm


@pytest.mark.parametrize("how", ["--set", "--config"])
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_runs_code_where_it_is_asked_to(testbed, user, how):
    if user == "root" and not works() or user == "nobody" and os.getuid() == 0 and not as_nobody(BUILD / "tt-agent-runner", "--test"):
        pytest.skip("no sandbox can be made on this machine")
    conf = testbed.directory / "code.conf"
    conf.write_text("code: { local = true; };\n")
    conf.chmod(0o644)
    options = ("--set", "code.local=true") if how == "--set" else ("--config", conf)
    q, llm = code_world(testbed, *options, ordinary=user == "nobody")
    q.wait_ready()
    assert q.get("/status")["tools"] == [CODE]
    turn = q.chat(rounds(calls(call(CODE, code="print(6 * 7)"))))
    assert "Running code" in turn.text
    assert llm.chats()[-1]["body"]["messages"][-1]["content"] == "Output:\n42\n"
    assert (q.directory / "run" / "runner.sock").exists()
    assert any("tt-agent-runner" in line for line in processes_of(q.directory))
    # Neither the services' secrets nor, where there is a choice, their user.
    seen = {n: next(p for p in Path("/proc").glob("[0-9]*") if is_program(p, n, q.directory)) for n in ("tt-agent-runner", "tt-agent-fcgi")}
    assert {v.split(b"=")[0] for v in (seen["tt-agent-runner"] / "environ").read_bytes().split(b"\0") if v} == {b"PATH"}
    if user == "root":
        assert (seen["tt-agent-runner"].stat().st_uid or None) not in (seen["tt-agent-fcgi"].stat().st_uid,)
        assert "Uid:\t%d\t" % pwd.getpwnam("nobody").pw_uid in (seen["tt-agent-runner"] / "status").read_text()
    q.stop()


def test_says_that_no_code_can_be_run_and_goes_on(testbed):
    tools = testbed.directory / "tools"
    tools.mkdir()
    (tools / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    (tools / "bwrap").chmod(0o755)
    testbed.directory.chmod(0o755)
    q, llm = code_world(testbed, "--set", "code.local=true", path=f"{tools}:{os.environ['PATH']}")
    q.wait_ready()
    # In a chroot the kernel itself refuses.
    assert re.search("No permissions to create new namespace|user namespaces: Operation not permitted", q.output())
    assert "no code will be run" in q.output()
    assert q.get("/status")["tools"] == [] and "Hello, world!" in q.chat().text
    q.stop()


def test_a_missing_bubblewrap_is_named(testbed):
    tools = testbed.directory / "tools"
    tools.mkdir()
    # All that it needs but for that.
    for program in {p.name: p for directory in ("/usr/bin", "/usr/sbin") for p in Path(directory).iterdir()}.values():
        if program.name != "bwrap":
            (tools / program.name).symlink_to(program)
    error = refused(testbed, "--build", str(BUILD), "--no-install", "--port", "0", "--set", "code.local=true",
                    env={"PATH": str(tools)})
    assert "missing" in error and "apt-get install bubblewrap" in error


@pytest.mark.long
def test_builds_from_the_sources(testbed):
    q = Quickstart(testbed, "built", build=False)
    began = time.monotonic()
    q.process.wait_log(r"^== building", 60)
    q.process.wait_log(r"^   done in", 300)
    q.wait_ready()
    assert time.monotonic() - began < 400
    assert "demo model" in q.chat().text
    q.stop()
