# SPDX-License-Identifier: Apache-2.0
"""The image of deploy/container: built, started from its unpacked root as user 1000, in a process namespace of its own and
with a read-only root, as a container engine does it. TT_CONTAINER names a directory that has one unpacked in root/."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness import debian_tree
from harness.container import TOOLS, Container, Image
from harness.http_client import Turn
from harness.llm_script import said, words
from harness.process import SOURCE, wait_until

pytestmark = pytest.mark.long
MIB = 1 << 20
ADMIN = [("POST", "/refresh"), ("POST", "/select_model?deploy_id=d1"), ("POST", "/refresh_config"), ("GET", "/test_llm")]
STOPPED = "The answer broke off here because the service is being stopped or restarted. Please ask again in a moment."
TOKEN = "a-token_of.admins~+0123"
# What TT-Studio's compose files set, of which .env leaves most empty.
STUDIO = {"PYTHONDONTWRITEBYTECODE": "1", "JWT_SECRET": "", "TAVILY_API_KEY": "", "CLOUD_CHAT_UI_URL": "", "CLOUD_CHAT_UI_AUTH_TOKEN": "",
          "USE_CLOUD_LLM": "true", "LLM_CONTAINER_NAME": "", "BACKEND_API_HOSTNAME": "tt-studio-backend-api",
          "AGENT_LLM_POLLING_TIMEOUT": "", "AGENT_LLM_POLLING_MAX_ATTEMPTS": "", "AGENT_LLM_POLLING_CIRCUIT_BREAKER_THRESHOLD": ""}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    if os.getuid() != 0:
        pytest.skip("needs root")
    if "TT_CONTAINER" in os.environ:
        yield Image(os.environ["TT_CONTAINER"])
        return
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    if missing:
        pytest.skip(f"missing: apt-get install {' '.join(missing)}")
    directory = tmp_path_factory.mktemp("image")
    for d in directory, *directory.parents[:2]:
        d.chmod(0o755)
    yield Image(directory).build()
    shutil.rmtree(directory)


@pytest.fixture
def llm(testbed):
    return testbed.llm()


@pytest.fixture
def start(testbed, image, llm):
    """Starts one with TT-Studio's environment and one deployed model, changed by env."""
    backend = testbed.backend({"d1": llm.deployment()})

    def go(env=None, **more):
        return Container(testbed, image, {**STUDIO, "AGENT_BACKEND_URL": backend.url, **(env or {})}, **more)

    return go


def test_its_size(image):
    if not image.sizes:
        pytest.skip("it was not built here")
    added = sum(image.sizes[1:]) / MIB
    print(f"base {image.sizes[0] / MIB:.1f} MiB, added {added:.1f} MiB, compressed")
    assert added <= 30
    assert image.config["User"] == "1000:1000" and image.config["StopSignal"] == "SIGTERM"
    assert not (image.root / "app").exists()


def test_chats_and_is_healthy(start, llm):
    c = start().wait_ready()
    assert c.chat("[plain]", "a-thread-of-mine").whole
    assert c.chat('again [[{"echo": "users"}]]', "a-thread-of-mine").text.count("[plain]") == 1
    check = c.exec("curl", "-f", f"http://localhost:{c.host.rsplit(':', 1)[1]}/")
    assert check.returncode == 0 and json.loads(check.stdout)["status"] == "ready"
    status = c.exec("tt-agentctl", "status")
    assert status.returncode == 0 and "Llama" in status.stdout
    assert (c.data / "threads.db").exists()
    log = c.process.log()
    print(log)
    for program in "tt-agent-container[1] INFO started", "tt-agentd", "tt-agent-fcgi":
        assert program in log
    first = [r for r in llm.chats() if "again" not in json.dumps(r["body"]) and "[plain]" not in json.dumps(r["body"])]
    assert not [r for r in first if r["body"].get("stream")], "no first chat at its start"
    assert {p.stat().st_uid for p in map(proc, c.processes())} == {1000}


def proc(pid):
    return Path(f"/proc/{pid}")


def of(c, name, child):
    """Pids: the processes of that name that process 1 has started, or their children."""
    entry = c.entry()
    return {p for p, (n, parent) in c.processes().items() if n == name and (parent != entry) == child}


@pytest.mark.parametrize("name, child", [("tt-agentd", False), ("tt-agent-fcgi", False), ("tt-agent-fcgi", True),
                                         ("nginx", False), ("nginx", True)])
def test_what_is_killed_is_back(start, name, child):
    c = start().wait_ready()
    for _ in range(3):
        before = of(c, name, child)
        victim = before.pop()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(of(c, name, child) - {victim}) > len(before), f"{name} is back", 5)
        wait_until(lambda: c.answers() and c.chat("[plain]").whole, "it chats", 5)
        assert c.exec("tt-agentctl", "ping").returncode == 0 or name == "tt-agentd"
    wait_until(lambda: c.exec("tt-agentctl", "ping").returncode == 0, "the daemon answers", 5)
    if not child:
        assert f"process_ended name={name}" in c.process.log()


def test_each_process_is_back(start):
    c = start({"TT_AGENT_ADMIN_FROM": "localhost", "TT_AGENT_WORKERS": "2"}).wait_ready()
    names = lambda: sorted(n for p, (n, _) in c.processes().items() if p != c.entry() and n != "sleep")
    wait_until(lambda: names().count("tt-agent-keeper") == 2 and c.chat("[plain]").whole, "all of them run")
    kinds = lambda: {(n, parent == c.entry()): p for p, (n, parent) in c.processes().items() if p != c.entry()}
    before, seen = names(), {}
    for name, of_entry in sorted(kinds()):
        victim = kinds()[name, of_entry]
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: name == "sleep" or names().count(name) >= before.count(name), f"{name} is back", 5)
        wait_until(lambda: c.answers() and c.chat("[plain]").whole, f"it chats without {name}", 5)
        wait_until(lambda: c.exec("tt-agentctl", "ping").returncode == 0, "the daemon answers", 5)
        seen[name + ("" if of_entry else " (child)")] = round(time.monotonic() - killed, 2)
        wait_until(lambda: names() == before, "what drains has ended", 20)
    print(f"back after s: {seen}")
    assert {"tt-agentd", "tt-agent-fcgi", "tt-agent-fcgi (child)", "tt-agent-keeper (child)", "nginx", "nginx (child)"} <= set(seen)


def test_answers_survive_the_daemon_and_the_web_servers_parent(start):
    c = start().wait_ready()
    exchange = c.ask(words(60, delay_us=50000)).head()
    for name in "tt-agentd", "nginx":
        os.kill(of(c, name, False).pop(), signal.SIGKILL)
    turn = Turn(exchange)
    assert turn.whole and turn.text == said(60)


def test_answers_end_when_it_is_stopped(start, llm):
    c = start({"TT_AGENT_DRAIN": "2"}).wait_ready()
    short = [c.ask(words(30, delay_us=30000), f"short-{n}").head() for n in range(10)]
    long = [c.ask(words(3000, delay_us=30000), f"long-{n}").head() for n in range(10)]
    silent = c.ask("[[" + json.dumps({"first_delay_us": 60000000}) + "]]", "silent")
    wait_until(lambda: llm.stats()["active"] == 21, "all turns run")
    os.kill(c.entry(), signal.SIGTERM)
    assert all(t.whole and t.text == said(30) for t in map(Turn, short))
    for turn in map(Turn, long):
        assert turn.whole and turn.text.endswith(STOPPED) and said(3000).startswith(turn.text.removesuffix(STOPPED).strip())
    assert Turn(silent).text == STOPPED
    assert c.process.wait(10) == 0
    print(c.process.log())
    assert re.findall("tt-agent-container.* INFO (\\w+)", c.process.log())[-2:] == ["stopping", "stopped"]


def test_it_stops_in_time_by_itself(start):
    """Docker kills after 10 seconds."""
    c = start().wait_ready()
    exchange = c.ask(words(3000, delay_us=30000)).head()
    os.kill(c.entry(), signal.SIGTERM)
    assert Turn(exchange).whole and c.process.wait(10) == 0


def test_a_second_signal_stops_at_once(start):
    c = start({"TT_AGENT_DRAIN": "600"}).wait_ready()
    exchange = c.ask(words(3000, delay_us=30000)).head()
    os.kill(c.entry(), signal.SIGTERM)
    c.process.wait_log("INFO stopping")
    c.process.expected_exit = {0, 137}
    c.stop()
    exchange.close()


# ---- what it logs --------------------------------------------------------------------------------------


def json_lines(c):
    """All of its lines but nginx's own."""
    return (json.loads(line) for line in c.process.log().splitlines() if not re.match(r"\d{4}/\d\d/\d\d [\d:]{8} \[\w+\] ", line))


@pytest.mark.parametrize("env, file", [({"AGENT_LOG_FORMAT": "JSON"}, None), ({"AGENT_LOG_FORMAT": ""}, 'log: { format = "json"; };\n')],
                         ids=["environment", "file"])
def test_its_lines_are_json(start, image, env, file):
    directory = image.root / "etc" / "tt-agent"
    if file:
        directory.mkdir()
        (directory / "tt-agent.conf").write_text(file)
    try:
        c = start({**env, "TT_AGENT_WORKERS": "2"}).wait_ready()
        os.kill(of(c, "tt-agentd", False).pop(), signal.SIGKILL)
        wait_until(lambda: c.exec("tt-agentctl", "ping").returncode == 0, "the daemon answers", 5)
        assert c.chat("[plain]").whole
        c.stop()
    finally:
        if file:
            shutil.rmtree(directory)
    lines = list(json_lines(c))
    mine = [line for line in lines if line["program"] == "tt-agent-container"]
    assert [line["event"] for line in mine] == ["started", "process_ended", "stopping", "stopped"]
    for line in mine:
        assert list(line)[:5] == ["time", "level", "event", "program", "pid"] and line["pid"] == 1
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert mine[1]["event_pid"] > 1 and mine[0]["workers"] == 2 and mine[0]["level"] == "INFO"
    assert (mine[1]["name"], mine[1]["status"], mine[1]["level"]) == ("tt-agentd", 137, "ERROR")
    assert {"tt-agentd", "tt-agent-fcgi"} < {line["program"] for line in lines}


@pytest.mark.parametrize("env", [
    {"AGENT_MAX_FAILURES": 'a "quoted" \\ word'}, {"AGENT_MAX_FAILURES": "line\nbreak\ttab \x01 ü"}, {"TT_AGENT_ADMIN_FROM": 'x"y\\'},
    {"TT_AGENT_ADMIN_FROM": "1:2"}, {"TT_AGENT_PORT": "http"},
])
def test_what_is_wrong_is_said_in_json(start, env):
    c = start({**env, "AGENT_LOG_FORMAT": "json"})
    c.process.expected_exit = {1}
    assert c.process.wait(20) == 1
    line = list(json_lines(c))[-1]
    assert (line["event"], line["level"]) == ("not_started", "CRITICAL")
    assert set(env) & set(re.findall(r"\w+", line["reason"])) or "nginx refuses" in line["reason"]


# ---- who may change something -------------------------------------------------------------------------


def rights(c, **headers):
    return {c.get(path, method, **headers).status_code for method, path in ADMIN}


def test_a_private_address_makes_nobody_an_admin(start):
    c = start().wait_ready()
    assert rights(c) == rights(c, Authorization="Bearer") == rights(c, Authorization="Bearer x" * 8) == {403}
    assert "/refresh" not in c.process.log() and c.exec("tt-agentctl", "refresh").returncode == 0


@pytest.mark.parametrize("who", ["127.0.0.1", "10.9.8.7, 127.0.0.0/8", "localhost", "no-such-host.invalid 127.0.0.1,::1"])
def test_whoever_is_listed_is_an_admin(start, who):
    c = start({"TT_AGENT_ADMIN_FROM": who}).wait_ready()
    assert rights(c) == {200}
    assert rights(c, **{"X-Forwarded-For": "10.1.2.3"}) == {403}


def test_a_token_makes_an_admin(start):
    c = start({"TT_AGENT_ADMIN_TOKEN": TOKEN}).wait_ready()
    assert rights(c, Authorization=f"Bearer {TOKEN}") == {200}
    for wrong in TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}", f"Bearer {TOKEN.replace('.', 'x')}", f"Basic {TOKEN}":
        assert rights(c, Authorization=wrong) == {403}
    assert TOKEN not in c.process.log()
    for pid in c.processes():
        if pid != c.entry():
            assert TOKEN.encode() not in proc(pid).joinpath("environ").read_bytes() + proc(pid).joinpath("cmdline").read_bytes()


# ---- the environment ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("env, words", [
    ({}, "no effect without cloud.token"),
    ({name: None for name in STUDIO}, "INFO started"),
    ({"AGENT_LLM_POLLING_TIMEOUT": "30", "AGENT_LLM_POLLING_CIRCUIT_BREAKER_THRESHOLD": "5"}, "AGENT_LLM_POLLING_TIMEOUT"),
    ({"AGENT_LLM_POLLING_MAX_ATTEMPTS": "10", "HF_MODEL_PATH": "meta-llama/Llama-3.1-8B-Instruct"}, "INFO started"),
    ({"USE_CLOUD_LLM": "False", "AGENT_LOG_LEVEL": "debug"}, "DEBUG"),
    ({"TAVILY_API_KEY": "tavily-api-key-not-configured", "JWT_SECRET": "a b'c\"d$e"}, "INFO started"),
    ({"TT_AGENT_DRAIN": "", "TT_AGENT_WORKERS": "", "TT_AGENT_ADMIN_FROM": " , ", "TT_AGENT_ADMIN_TOKEN": ""}, "drain_s=6 admins=0"),
    ({"TT_AGENT_WORKERS": "3", "TT_AGENT_DRAIN": "007"}, "workers=3 drain_s=7"),
])
def test_starts_with(start, env, words):
    c = start(env).wait_ready()
    wait_until(lambda: words in c.process.log(), words)
    assert c.chat("[plain]").whole


@pytest.mark.parametrize("env, words", [
    ({"AGENT_LLM_POLLING_MAX_ATTEMPTS": "ten"}, "AGENT_LLM_POLLING_MAX_ATTEMPTS"),
    ({"USE_CLOUD_LLM": "maybe"}, "USE_CLOUD_LLM"),
    ({"TT_AGENT_PORT": "http"}, "TT_AGENT_PORT must be a number from 1 to 65535"),
    ({"TT_AGENT_PORT": "0"}, "TT_AGENT_PORT"), ({"TT_AGENT_WORKERS": "-1"}, "TT_AGENT_WORKERS"), ({"TT_AGENT_DRAIN": "1s"}, "TT_AGENT_DRAIN"),
    ({"TT_AGENT_ADMIN_TOKEN": "short"}, "at least 16 characters"), ({"TT_AGENT_ADMIN_TOKEN": 'x" 1; default "y' * 3}, "at least 16 characters"),
    ({"TT_AGENT_ADMIN_FROM": "10.0.0.0/8 1; default"}, "is no address"), ({"TT_AGENT_ADMIN_FROM": "300.1.1.1"}, "is no address"),
    ({"TT_AGENT_ADMIN_FROM": "10.0.0.0/99"}, "is no address"), ({"TT_AGENT_ADMIN_FROM": "1:2"}, "nginx refuses"),
])
def test_refuses_to_start_with(start, env, words):
    c = start(env)
    c.process.expected_exit = {1}
    assert c.process.wait(20) == 1
    assert words in c.process.log() and "CRITICAL not_started" in c.process.log()
    assert "short" not in c.process.log()


# ---- directories -----------------------------------------------------------------------------------------


def test_conversations_are_in_memory_where_nothing_can_be_stored(testbed, start):
    c = start(data_owner=0).wait_ready()
    assert "WARNING threads_in_memory" in c.process.log()
    assert c.chat("[plain]", "in-memory-thread").whole
    assert "[plain]" in c.chat('[[{"echo": "users"}]] x', "in-memory-thread").text


def volume(testbed):
    """TT-Studio's persistent volume, as its settings page writes it."""
    directory = testbed.directory / "volume"
    (directory / "backend_volume").mkdir(parents=True)
    file = directory / "backend_volume" / "user_config.env"
    file.write_text('TAVILY_API_KEY="tvly-from-the-page"\n')
    file.chmod(0o600)
    return directory


@pytest.mark.parametrize("user", [1000, 0])
def test_what_only_root_may_read(testbed, start, user):
    c = start({"INTERNAL_PERSISTENT_STORAGE_VOLUME": "/mnt/volume"}, user=user, volume=volume(testbed)).wait_ready()
    config = json.loads(c.exec("tt-agentctl", "--json", "config").stdout)
    assert "tvly-from-the-page" not in json.dumps(config) + c.process.log()
    tools = c.get("/status").json()["tools"]
    if user == 1000:
        assert "tavily_search_results_json" not in tools and "user_config.env" in c.process.log()
    else:
        assert "tavily_search_results_json" in tools
        assert {p.stat().st_uid for p in map(proc, c.processes()) if int(p.name) != c.entry()} == {1000}
        capabilities = {n: int(re.search(r"CapEff:\s*(\w+)", proc(p).joinpath("status").read_text())[1], 16)
                        for p, (n, _) in c.processes().items() if p != c.entry()}
        assert capabilities.pop("tt-agentd") == 1 << 2 and set(capabilities.values()) == {0}


# ---- the compose file ----------------------------------------------------------------------------------


def compose():
    """The arguments that run docker compose: that of this machine, else the one of Debian 13 in a tree."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    debian_tree.have_everything()
    return ["chroot", str(debian_tree.compose_tree()), "docker-compose"]


def test_the_compose_file_is_merged_with_tt_studios():
    command = compose()
    root = Path(command[1]) if command[0] == "chroot" else Path("/")
    directory = Path(tempfile.mkdtemp(dir=root / "tmp"))
    environment = "".join(f"      - {k}\n" for k in STUDIO if k not in ("PYTHONDONTWRITEBYTECODE", "USE_CLOUD_LLM"))
    (directory / "docker-compose.yml").write_text(f"""services:
  tt_studio_backend:
    image: backend
    networks: [tt_studio_network]
  tt_studio_agent:
    hostname: tt-studio-agent
    user: "1000:1000"
    build: ./agent
    depends_on:
      tt_studio_backend:
        condition: service_healthy
    networks: [tt_studio_network]
    ports: ["8080:8080"]
    environment:
      - PYTHONDONTWRITEBYTECODE=1
{environment}      - USE_CLOUD_LLM=true
    stdin_open: true
    tty: true
    healthcheck:
      test: ["CMD", "curl", "-f", "http://localhost:8080/"]
networks:
  tt_studio_network:
""")
    modes = {"prod": "    image: ghcr.io/somebody/agent-prod:v0.0.0\n",
             "dev-mode": "    image: ghcr.io/somebody/agent-dev:v0.0.0\n    volumes: [\"./agent:/app\"]\n    environment:\n      - HF_MODEL_PATH=meta-llama/Llama-3.1-8B-Instruct\n"}
    for mode, text in modes.items():
        (directory / f"docker-compose.{mode}.yml").write_text(f"services:\n  tt_studio_agent:\n    container_name: tt_studio_agent_{mode}\n{text}")
    shutil.copy(SOURCE / "deploy" / "container" / "compose.tt-studio.yml", directory)
    variables = {"PATH": os.environ["PATH"], "TT_AGENT_SOURCE": "/the/sources", "JWT_SECRET": "x", "HOST_PERSISTENT_STORAGE_VOLUME": "/host",
                 "INTERNAL_PERSISTENT_STORAGE_VOLUME": "/inside"}

    def config(mode, *more, **changed):
        files = [f for name in ("docker-compose.yml", f"docker-compose.{mode}.yml", *more) for f in ("-f", f"/{(directory / name).relative_to(root)}")]
        env = {k: v for k, v in {**variables, **changed}.items() if v is not None}
        return subprocess.run([*command, *files, "config", "--format", "json"], capture_output=True, text=True, env=env)

    try:
        for mode in modes:
            done = config(mode, "compose.tt-studio.yml")
            assert done.returncode == 0, done.stderr
            service = json.loads(done.stdout)["services"]["tt_studio_agent"]
            assert service["build"]["context"] == "/the/sources" and service["build"]["dockerfile"] == "deploy/container/Dockerfile"
            assert service["image"] == "tt-agent" and service["user"] == "1000:1000" and service["hostname"] == "tt-studio-agent"
            assert service["container_name"] == f"tt_studio_agent_{mode}" and service["read_only"] and service["cap_drop"] == ["ALL"]
            assert {*STUDIO, "TT_AGENT_ADMIN_FROM", "TT_AGENT_ADMIN_TOKEN"} <= set(service["environment"])
            assert service["environment"]["JWT_SECRET"] == "x" and service["environment"]["INTERNAL_PERSISTENT_STORAGE_VOLUME"] == "/inside"
            volumes = {v["target"]: v for v in service["volumes"]}
            assert set(volumes) - {"/app"} == {"/var/lib/tt-agent", "/inside/backend_volume"}
            assert volumes["/inside/backend_volume"]["read_only"] and volumes["/inside/backend_volume"]["source"] == "/host/backend_volume"
            assert service["ports"][0]["published"] == "8080" and service["healthcheck"]["test"][1] == "curl"
            back = config(mode)  # the way back: the same without the file
            assert back.returncode == 0, back.stderr
            old = json.loads(back.stdout)["services"]["tt_studio_agent"]
            assert old["image"].startswith("ghcr.io/") and "TT_AGENT_ADMIN_FROM" not in old["environment"] and not old.get("read_only")
        without = config("prod", "compose.tt-studio.yml", TT_AGENT_SOURCE=None)
        assert without.returncode and "must be the directory of the sources" in without.stderr
    finally:
        shutil.rmtree(directory)
