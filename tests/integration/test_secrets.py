# SPDX-License-Identifier: Apache-2.0
"""Secrets stay where they are: not in any output, not in the process list, not in core dumps."""

import http.server
import os
import resource
import signal
import subprocess
import threading
import uuid
from pathlib import Path

import pytest

from harness import secrecy
from harness.daemon import Daemon, replace_file
from harness.process import BUILD, PATIENCE, Process, clean_env, wait_until
from harness.runner import Runner, works

NAMES = ("JWT_SECRET", "TAVILY_API_KEY", "BRAVE_API_KEY", "E2B_API_KEY", "CLOUD_CHAT_UI_AUTH_TOKEN")
CLOUD_TOKEN = NAMES[-1]
NO_DAEMON = 3  # tt-agentctl's exit status


def service_with_secrets(testbed, **more):
    """(service, llm): each secret that there can be is set, and is found nowhere else."""
    own = uuid.uuid4().hex
    env = {"AGENT_DEBUG_MODE": "true", **{name: uuid.uuid4().hex for name in NAMES}}
    llm, other = testbed.llm(), testbed.llm()
    backend = testbed.backend({"d1": llm.deployment(), "d2": {**other.deployment("Other"), "jwt_secret": own}})
    service = testbed.service(backend=backend, env=env, **more)
    service.secrets.append(own)
    return service.wait_ready(), llm


def run(*argv, env=None, code=0):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, env=clean_env(env), timeout=60 * PATIENCE)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


# --- output (all logs are checked when a test ends) ------------------------------------------

def test_nobody_is_told_a_secret(testbed):
    service, llm = service_with_secrets(testbed)
    assert service.chat(f"Tell me of {secrecy.PROMPT_MARK}").whole
    token = llm.requests("/health")[-1]["headers"]["authorization"].removeprefix("Bearer ")
    assert secrecy.BEARER.match(token)

    def look(where, text):
        assert text and secrecy.leaks(where, text, [*service.secrets, token]) == []

    def look_at_the_admin_tool(*commands, code=0):
        for command in commands:
            for form in ([], ["--json"]):
                look(command, run(BUILD / "tt-agentctl", "--run-dir", service.run, *form, command, code=code))

    answers = secrecy.answers(service)
    assert len(answers) == 3
    for where, text in answers.items():
        look(where, text)
    for path in "/config", "/models":
        look(path, service.http.get(path).text)
    look_at_the_admin_tool("status", "models", "config", "ping", "test", "refresh", "reload")
    for option in ("--print-config", "--test"):
        look(option, run(BUILD / "tt-agentd", option, env=service.env))
    published = (service.run / "status.v3").read_bytes()
    assert token.encode() in published  # for its own user alone: every test's end looks at the mode
    assert not [s for s in service.secrets if s != service.env[CLOUD_TOKEN] and s.encode() in published]
    service.daemon.stop()
    look_at_the_admin_tool("status", "models", code=NO_DAEMON)


# --- the process list ------------------------------------------------------------------------

def test_no_command_line_holds_a_secret(testbed):
    service, _ = service_with_secrets(testbed)
    lines = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines[file.parent.name] = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
    assert {str(p) for p in (service.daemon.pid, service.responder.pid, *service.worker_pids())} <= set(lines)
    assert [line for line in lines.values() if any(secret in line for secret in service.secrets)] == []


@pytest.mark.parametrize("key", ["auth.jwt_secret", "JWT_SECRET"])
@pytest.mark.parametrize("option", [[], ["--test"]])
def test_the_command_line_takes_no_secret(testbed, key, option):
    said = run(BUILD / "tt-agentd", "--run-dir", testbed.directory, *option, "--set", f"{key}=hush-hush", code=1)
    assert f"--set {key}: " in said
    assert "set auth.jwt_secret in the configuration file or JWT_SECRET in the environment" in said
    assert "hush-hush" not in said


# --- files that others can read --------------------------------------------------------------

def test_user_config_is_used_once_others_cannot_read_it(testbed):
    volume, llm = testbed.directory / "volume", testbed.llm()
    file = volume / "backend_volume" / "user_config.env"
    replace_file(file, "JWT_SECRET=from-the-file\n")
    file.chmod(0o644)
    daemon = Daemon(testbed, backend=testbed.backend({"d1": llm.deployment()}), env={"INTERNAL_PERSISTENT_STORAGE_VOLUME": volume})
    daemon.service.secrets.append("from-the-file")
    daemon.wait_log(f"{file}: secrets ignored, because everybody can read this file: chmod o-r {file}")
    origin = lambda: daemon.ask("config")["auth.jwt_secret"]["origin"]
    assert origin() == "environment JWT_SECRET"
    file.chmod(0o640)
    wait_until(lambda: origin() == str(file), "the secret of the file", 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that tt-agentd's user cannot read")
def test_a_user_config_that_only_root_can_read_says_what_to_do(testbed):
    volume = testbed.directory / "volume"
    file = volume / "backend_volume" / "user_config.env"
    replace_file(file, "JWT_SECRET=from-the-file\n")
    file.chmod(0o600)
    for directory in testbed.directory, volume, file.parent:
        directory.chmod(0o755)
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BUILD / "tt-agentd", "--test"],
                          capture_output=True, text=True, env=clean_env({"INTERNAL_PERSISTENT_STORAGE_VOLUME": str(volume)}))
    assert done.returncode == 0  # the other sources count
    assert f"{file}: Permission denied" in done.stderr and "only root" in done.stderr
    assert f"systemctl enable --now \"tt-agent-user-config@$(systemd-escape -p {volume}).path\"" in done.stderr
    assert "auth.volume" in done.stderr and "from-the-file" not in done.stderr


# --- redirects -------------------------------------------------------------------------------

class Redirecting(http.server.BaseHTTPRequestHandler):
    """Answers every request with a redirect to the address that the server has as `to`."""

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append(self.path)
        self.send_response(self.server.status)
        self.send_header("Location", f"http://{self.server.to}{self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(testbed, status):
    """Not by what sends prompts and tokens, nor by what looks for LLMs."""
    other = testbed.llm()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    server.seen, server.status, server.to = [], status, other.host
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        service = testbed.service(env={"AGENT_BACKEND_URL": url, "USE_CLOUD_LLM": "true", "CLOUD_CHAT_UI_AUTH_TOKEN": uuid.uuid4().hex,
                                       "CLOUD_CHAT_UI_URL": url + "/v1/chat/completions", "LLM_CONTAINER_NAME": url + "/c/v1/chat/completions"})
        service.wait_ready()
        turn = service.chat("hello")
        assert "[STATS]" not in turn.text and turn.text
        service.http.post("/refresh")
        wait_until(lambda: {"/models/deployed/", "/v1/chat/completions"} <= set(server.seen), "requests of each kind")
        wait_until(lambda: any(path.startswith("/c/") or path == "/health" for path in server.seen), "a probe")
        assert other.requests() == []
    finally:
        server.shutdown()
        server.server_close()


# --- core dumps ------------------------------------------------------------------------------

@pytest.fixture
def dumps_allowed():
    """Core dumps as large as can be, for all that a test starts."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    if before[1] == 0:
        pytest.skip("no core dumps are allowed here")
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


def core_of(directory, crash):
    """The core dump that the kernel writes into the directory while something crashes, or None."""
    there = set(directory.iterdir())
    crash()
    cores = [f for f in set(directory.iterdir()) - there if "core" in f.name]
    if not cores:
        return None
    cores[0].unlink()
    return cores[0].name


def need_dumps_in(directory):
    """Skips where the kernel writes core dumps elsewhere."""
    abort = "import os; os.abort()"
    if core_of(directory, lambda: subprocess.run(["/usr/bin/python3", "-c", abort], cwd=directory)) is None:
        pytest.skip("core dumps do not go to the working directory on this machine")


def runner(testbed):
    return Runner(testbed, "root" if os.geteuid() == 0 else "nobody")


def is_sealed(pid):
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    core = next(line.split()[4:6] for line in limits if line.startswith("Max core file size"))
    return core == ["0", "0"] and int(Path(f"/proc/{pid}/coredump_filter").read_text(), 16) == 0


def test_every_process_forbids_core_dumps_also_after_reexecution(testbed, dumps_allowed):
    service = testbed.one(workers=2)[0]
    events = testbed.own(Process("events", [BUILD / "tt-agentctl", "--run-dir", service.run, "--json", "events"], testbed.directory,
                               own=True))
    events.expected_exit = {-signal.SIGTERM}
    wait_until(lambda: is_sealed(events.pid), "a sealed admin tool")
    assert is_sealed(service.daemon.pid) and is_sealed(service.responder.pid)
    old = service.worker_pids()
    assert len(old) == 2 and all(map(is_sealed, old))
    service.responder.send(signal.SIGHUP)
    wait_until(lambda: len(set(service.worker_pids()) - set(old)) == 2, "new workers", 20)
    assert is_sealed(service.responder.pid) and all(map(is_sealed, service.worker_pids()))
    if works():
        assert is_sealed(runner(testbed).pid)


@pytest.mark.skipif(PATIENCE != 1, reason="sanitizers and valgrind take the signal themselves")
def test_a_crash_leaves_no_core_dump(testbed, dumps_allowed):
    service = testbed.one(workers=1)[0]
    need_dumps_in(service.directory)
    old = service.worker_pids()

    def abort_worker():
        os.kill(old[0], signal.SIGABRT)
        wait_until(lambda: service.worker_pids() and service.worker_pids() != old, "another worker")

    def abort(process):
        process.expected_exit = {-signal.SIGABRT}
        process.stop(signal.SIGABRT)

    assert core_of(service.directory, abort_worker) is None
    for process in (service.responder, service.daemon):
        assert core_of(service.directory, lambda: abort(process)) is None
    if works():
        sandboxes = runner(testbed)
        assert core_of(sandboxes.directory, lambda: abort(sandboxes.process)) is None
