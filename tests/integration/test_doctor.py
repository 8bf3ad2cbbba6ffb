# SPDX-License-Identifier: Apache-2.0
"""tt-agentctl doctor: planted faults, each with its finding and the line that fixes it."""

import gzip
import json
import os
import re
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.doctor import CONF, ERRORS, OK, doctor, expect, run, start
from harness.exhaustion import ControlGroup, Disk
from harness.front import Front, ask_alone, through
from harness.gate import MODEL, queueing, waiting
from harness.http_client import Exchange
from harness.mcp_server import McpServer, servers, tool
from harness.no_llm import FOLLOWS
from harness.openai_stream import PATH, post, user
from harness.process import BUILD, PATIENCE, SOURCE, clean_env, wait_until
from harness.tool_mocks import search, search_env

root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")


@pytest.fixture(scope="module")
def service(shared):
    return start(shared)


# --- nothing is wrong ---

def test_nothing_is_said_where_nothing_is_wrong(service):
    assert doctor(service) == {}
    done = run(service, "doctor")
    assert done.returncode == OK and done.stdout == "", done


def test_nothing_is_said_where_everything_is_tried_and_works(service):
    assert doctor(service, "--url", service.url) == {}


def test_what_another_user_cannot_check_is_no_fault(service):
    if os.getuid() != 0:
        pytest.skip("only root can be another user")
    program = Path("/tmp") / f"tt-agentctl-{os.getpid()}"
    shutil.copy(BUILD / "tt-agentctl", program)
    try:
        done = subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", program, "--run-dir", service.run,
                               "doctor"], capture_output=True, text=True, env=clean_env(), timeout=60 * PATIENCE)
    finally:
        program.unlink()
    assert done.returncode == OK and done.stdout == "", done
    assert "not checked: tt-agentd's answer: only root" in done.stderr


def test_people_see_the_fault_and_the_line_that_fixes_it(service):
    service.conf.write_text(CONF + "polling: { intervall = 3; };\n")
    done = run(service, "doctor")
    service.conf.write_text(CONF)
    lines = done.stdout.splitlines()
    assert done.returncode == ERRORS and len(lines) == 2
    assert lines[0].startswith(f"error: config_unknown: {service.conf}:3: polling.intervall: no such setting")
    assert lines[1] == f"    editor +3 {service.conf}; tt-agentctl reload"
    assert "systemd does not run this service" in done.stderr


# --- the configuration ---

@pytest.mark.parametrize("name, text, words", [
    ("config_unknown", "nowhere: { a = 1; };", "nowhere: no such group"),
    ("config_twice", "polling: { interval = 61; };", "is set twice"),
    ("config_refused", 'health: { interval = "x"; };', "health.interval"),
    ("config_refused", "health: { interval = 3", "health"),
    ("config_warning", "health: { interval = 3; };", "below 10 seconds"),
])
def test_a_fault_of_the_file_is_found(service, name, text, words):
    service.conf.write_text(CONF + text + "\n")
    also = {"config_not_loaded"} if name == "config_warning" else set()
    expect(service, name, words, fix=f"editor +3 {service.conf}", also=also)
    service.conf.write_text(CONF)


def test_an_earlier_name_is_found(service):
    service.conf.write_text(CONF + "search: { bench = 60; };\n")
    expect(service, "config_renamed", "search.bench was renamed; write search.cooldown", fix="editor +3 ")
    service.conf.write_text(CONF)


def test_a_secret_that_everybody_can_read_is_found(service):
    service.conf.write_text(CONF + 'cloud: { token = "hush-hush"; };\n')
    service.conf.chmod(0o644)
    found = expect(service, "config_public", "everybody can read", fix=f"chmod o-rwx {service.conf}")
    assert "hush" not in str(found)
    service.conf.write_text(CONF)


def test_a_change_that_is_not_in_effect_is_found(service):
    service.conf.write_text(CONF.replace("60", "90"))
    expect(service, "config_not_loaded", "polling.interval is 90, but in effect is 60", fix="tt-agentctl reload")
    service.conf.write_text(CONF)


def test_a_change_that_needs_a_restart_is_found_before_and_after_the_reload(service):
    service.conf.write_text(CONF + 'log: { target = "journal"; };\n')
    expect(service, "config_restart", "log.target", fix="systemctl restart tt-agentd")
    assert run(service, "reload").returncode == 4
    expect(service, "config_restart", "log.target", fix="systemctl restart tt-agentd")
    service.conf.write_text(CONF)
    assert run(service, "reload").returncode == 0
    assert doctor(service) == {}


def test_a_cloud_without_a_token_is_found(testbed):
    service = start(testbed, env={"AGENT_FALLBACK_TO_CLOUD": "true"})
    expect(service, "no_fallback", "cloud.fallback (environment AGENT_FALLBACK_TO_CLOUD)", fix="set cloud.token")


def test_a_search_service_without_its_key_is_found(testbed):
    service = start(testbed, conf='search: { order = ["brave", "tavily"]; };\n')
    expect(service, "search_key_missing", "search.brave_key is not set", fix="set search.brave_key")


# --- why no LLM is seen: see also test_discovery_state.py ---

def test_polling_that_has_stopped_is_found(testbed):
    service = testbed.service(env={"AGENT_LLM_POLLING_ENABLED": "false"}, backend=testbed.backend())
    service.wait_status(lambda s: s.get("discovery", [{}])[0].get("state") == "answers", "the backend answers")
    found = doctor(service)
    assert set(found) == {"backend_empty", "polling_stopped", *FOLLOWS} and found["polling_stopped"]["fix"] == "tt-agentctl refresh"


# --- LLMs ---

@pytest.mark.parametrize("name, script, words, fix", [
    ("llm_unauthorized", {"health_status": 401}, "HTTP 401", "set auth.jwt_secret (JWT_SECRET)"),
    ("llm_unhealthy", {"health_status": 500}, "HTTP 500", "tt-agentctl models")])
def test_an_llm_that_is_not_healthy_is_found(testbed, name, script, words, fix):
    good, bad = testbed.llm(), testbed.llm(**script)
    backend = testbed.backend({"d1": good.deployment("x"), "d2": bad.deployment("Qwen3-8B", name="c2")})
    service = testbed.service(backend=backend).wait_ready()
    health = lambda: {m["deploy_id"]: m for m in service.ctl("models")["models"]}
    wait_until(lambda: health()["d2"]["status"] == "unhealthy" and health()["d1"]["context_length"], "the verdicts")
    expect(service, name, "Qwen3-8B (d2)", words, fix=fix)


def test_an_llm_whose_host_nobody_knows_is_found(testbed):
    llm = testbed.llm()
    entry = {**llm.deployment(), "internal_url": "tt-llama.invalid:7000/v1/chat/completions",
             "health_url": "tt-llama.invalid:7000/health"}
    service = testbed.service(backend=testbed.backend({"d1": entry}))
    wait_until(lambda: [m for m in service.ctl("models")["models"] if m["status"] == "unhealthy" and m["deploy_id"]], "the verdict")
    found = doctor(service)
    assert {"llm_unknown_host", "no_llm"} <= set(found) and "discovery.hosts" in found["llm_unknown_host"]["fix"]


def test_a_context_window_that_is_not_known_is_found(testbed):
    llm = testbed.llm(max_model_len=0)
    service = testbed.service(backend=testbed.backend({"d1": llm.deployment()})).wait_ready()
    expect(service, "context_unknown", "8192 tokens are assumed", fix="set llm.context")


def test_a_refused_chat_is_found_only_if_it_is_tried(testbed):
    service = start(testbed, script={"status": 401})
    assert doctor(service) == {}
    mock = None
    found = doctor(service, "--try", env={})
    assert "chat_failed" in found and "tt-agentctl test" in found["chat_failed"]["fix"], (found, mock)


def test_a_refused_search_key_is_found_if_it_is_tried(testbed):
    mock = search(testbed, all={"status": 401})
    service = start(testbed, env=search_env(mock))
    assert doctor(service) == {} and mock.queries() == []
    expect(service, "search_refused", "tavily: HTTP 401", fix="set the key of search", words=["--try"])
    mock.script(all={"status": 200})
    assert doctor(service, "--try") == {}


def test_a_capacity_for_no_llm_is_found(testbed):
    service = start(testbed, sets=["balance.capacities=c-d1=2,c-d3=4"])
    found = expect(service, "capacity_unused", 'no LLM is called "c-d3"', fix="set balance.capacities")
    assert "c-d1" not in found["message"]


def test_a_queue_that_refuses_and_is_full_is_found(testbed):
    service, gate = queueing(testbed, "queue.length=1", "queue.wait=60")
    chats = [Exchange(service.host, "POST", PATH, {"model": f"meta-llama/{MODEL}", "messages": user(str(n))}) for n in range(2)]
    gate.wait(1)
    waiting(service, 1)
    for _ in range(3):
        assert post(service.host, {"model": f"meta-llama/{MODEL}", "messages": user("x")})[0] == 429
    wait_until(lambda: "queue_refuses" in doctor(service), "the refusals are recorded")
    found = doctor(service)
    assert f"{MODEL}: in the last 10 minutes 3 chats were refused because the queue was full, and 0 " in found["queue_refuses"]["message"]
    assert f"deploy more replicas of {MODEL}, or set balance.capacity" in found["queue_refuses"]["fix"]
    assert "1 chats wait for a place, of 1 that may" in found["queue_full"]["message"] and "queue.length" in found["queue_full"]["fix"]
    gate.end_all()
    assert [json.loads(c.read())["choices"][0]["message"]["content"] for c in chats] == ["answer to 0", "answer to 1"]
    waiting(service, 0)
    assert "queue_full" not in doctor(service)


# --- the daemon and what it publishes ---

def test_each_kind_is_planted():
    kinds = re.findall(r'^FINDING\(\w+, "(\w+)"', (SOURCE / "agentctl/doctor/findings.def").read_text(), re.M)
    tests = "".join((SOURCE / "tests/integration" / name).read_text()
                    for name in ("test_doctor.py", "test_doctor_access.py", "test_doctor_hosts.py", "test_discovery_state.py", "test_redis.py", "harness/no_llm.py"))
    assert len(kinds) > 80 and [kind for kind in kinds if f'"{kind}"' not in tests] == []


def test_a_daemon_that_does_not_run_is_found_and_the_rest_is_checked(testbed):
    service = start(testbed)
    service.daemon.kill()
    service.conf.write_text("polling: { intervall = 3; };\n")
    found = doctor(service)
    assert set(found) == {"daemon_down", "config_unknown"} and found["daemon_down"]["fix"] == "systemctl start tt-agentd"


def test_a_daemon_that_hangs_is_found(service):
    os.kill(service.daemon.pid, 19)
    try:
        expect(service, "daemon_hangs", "did not answer in time", fix="systemctl restart tt-agentd", words=["--timeout", "0.3"])
    finally:
        os.kill(service.daemon.pid, 18)


@pytest.mark.parametrize("name, plant, words", [
    ("state_missing", lambda f: f.unlink(), "No such file"),
    ("state_version", lambda f: f.rename(f.with_name("status.v1")), "status.v1 is there"),
    ("state_damaged", lambda f: f.write_bytes(b"TT" * 2000), "status.v3")])
def test_a_state_that_cannot_be_read_is_found(testbed, name, plant, words):
    service = start(testbed)
    file = service.run / "status.v3"
    plant(file)
    expect(service, name, words, fix="systemctl restart tt-agentd")
    file.with_name("status.v1").unlink(missing_ok=True)


def test_a_clock_that_is_behind_is_found(testbed):
    service = start(testbed)
    service.daemon.stop()
    file = service.run / "status.v3"
    text = bytearray(file.read_bytes())
    published = int.from_bytes(text[80:88], "little")  # published_ms of struct status_header
    text[80:88] = (published + 3600_000).to_bytes(8, "little")
    file.write_bytes(text)
    expect(service, "clock_wrong", "later than this host's clock", fix="timedatectl set-ntp true", also={"daemon_down"})


# --- the responder ---

def test_a_responder_that_does_not_run_is_found(testbed):
    service = start(testbed)
    service.responder.stop()
    expect(service, "responder_down", str(service.run), fix="systemctl start tt-agent-fcgi.socket tt-agent-fcgi")


def test_a_socket_that_is_gone_is_found(testbed):
    service = start(testbed)
    service.socket.unlink()
    expect(service, "socket_missing", str(service.socket), fix="systemctl restart tt-agent-fcgi.socket")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(service.socket))
    stale.close()
    expect(service, "socket_refused", "Connection refused", fix="systemctl restart tt-agent-fcgi.socket")
    service.socket.unlink()


def test_workers_that_die_again_and_again_are_found(testbed):
    service = start(testbed, workers=2)
    ended = threading.Event()
    service.responder.expected_exit = {0}

    def kill():
        while not ended.is_set():
            for pid in service.worker_pids():
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
            ended.wait(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        expect(service, "workers_missing", "of 2 workers run", fix="journalctl -u tt-agent-fcgi")
    finally:
        ended.set()
        killer.join()


def test_a_low_limit_of_files_is_found(testbed):
    service = start(testbed, responder_limits={resource.RLIMIT_NOFILE: 200})
    expect(service, "descriptors_low", "may open 200 files", fix="LimitNOFILE=262144")


HOG = "import time; kept = [bytearray(1 << 20) for _ in range(4000)]"


@root
def test_memory_that_runs_short_is_found(testbed):
    """In a control group with a real limit: at first it is almost reached, then somebody is killed for it."""
    service = start(testbed)
    try:
        group = ControlGroup(f"tt-agent-fcgi.{os.getpid()}")
    except OSError as e:
        pytest.skip(f"no control group can be made: {e}")
    try:
        for pid in (service.responder.pid, *service.worker_pids()):
            group.add(pid)
        assert doctor(service) == {}
        group.limit(64 << 20)
        ballast = subprocess.Popen([sys.executable, "-c", "import sys; kept = bytearray(60 << 20); print(flush=True); sys.stdin.read()"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=lambda: group.add(os.getpid()))
        ballast.stdout.readline()
        expect(service, "memory_limit", "tt-agent-fcgi uses", f"of its {64 << 20} bytes", fix="systemctl edit tt-agent-fcgi  # [Service] MemoryMax=")
        ballast.communicate()
        assert doctor(service) == {}
        subprocess.run([sys.executable, "-c", HOG], preexec_fn=lambda: group.add(os.getpid()))
        expect(service, "memory_limit", "1 process of tt-agent-fcgi had to be killed because memory ran out", fix="MemoryMax=")
        service.responder.stop()
    finally:
        group.close()


def test_a_program_that_was_replaced_is_found(testbed):
    program = testbed.directory / "tt-agent-fcgi"
    shutil.copy(BUILD / "tt-agent-fcgi", program)
    service = start(testbed)
    service.responder.stop()
    service.program = program
    service.start_responder()
    wait_until(service.answers, "the other program answers")
    program.unlink()
    expect(service, "program_replaced", str(program), fix="systemctl restart tt-agent-fcgi")
    shutil.copy(BUILD / "tt-agent-fcgi", program)


def test_programs_of_different_versions_are_found(testbed):
    version = subprocess.run([BUILD / "tt-agentd", "--version"], capture_output=True, text=True).stdout.split()[1]
    other = "9" + version[1:]
    program = testbed.directory / "tt-agent-fcgi"
    program.write_bytes((BUILD / "tt-agent-fcgi").read_bytes().replace(version.encode() + b"\0", other.encode() + b"\0"))
    program.chmod(0o755)
    service = start(testbed)
    service.responder.stop()
    service.program = program
    service.start_responder()
    wait_until(service.answers, "the other program answers")
    expect(service, "versions_differ", f"tt-agentd is {version}, tt-agent-fcgi {other}", fix="systemctl reload tt-agent-fcgi")


# --- another user's rights ---

def test_files_that_the_service_may_not_read_are_found(unprivileged, testbed):
    volume = testbed.directory / "volume"
    users = volume / "backend_volume" / "user_config.env"
    users.parent.mkdir(parents=True)
    service = unprivileged(env={"INTERNAL_PERSISTENT_STORAGE_VOLUME": volume})
    users.write_text("JWT_SECRET=x\n")
    users.chmod(0o600)
    expect(service, "user_config_unreadable", "Permission denied", fix="tt-agent-user-config@$(systemd-escape -p")
    users.chmod(0o644)
    expect(service, "config_public", "everybody can read it", fix=f"chmod o-rwx {users}")
    users.unlink()
    shutil.chown(service.conf, "root", "root")
    expect(service, "config_unreadable", "Permission denied (the service runs as nobody)", fix=f"chgrp nobody {service.conf}")


def test_a_database_that_the_service_may_not_write_is_found(unprivileged):
    service = unprivileged()
    service.chat("Hello", "12345678-1")
    database = service.directory / "threads.db"
    shutil.chown(database, "root", "root")
    expect(service, "store_unwritable", "Permission denied", fix=f"chown -R nobody:nobody {database}")


SCRIPT = """
cd "$1" || exit
nobody() { setpriv --reuid=nobody --regid=nogroup --clear-groups "$@" >/dev/null 2>&1; }
nobody "$2/tt-agentd" --run-dir run --set local.enabled=false --set discovery.enabled=false &
nobody "$2/tt-agent-fcgi" --run-dir run --workers 1 --listen "$1/fcgi.sock" --mode "$3" &
setpriv --reuid=www-data --regid=www-data --clear-groups ./lighttpd 1000 &
until [ -S fcgi.sock ] && "$2/tt-agentctl" --run-dir run ping >&2 && [ "$(cat /proc/$!/comm)" = lighttpd ]; do sleep 0.01; done
exec "$2/tt-agentctl" --run-dir run --json doctor
"""


@root
def test_a_web_server_that_may_not_open_the_socket_is_found(tmp_path):
    """In a namespace of its own: other tests run other web servers."""
    directory = Path("/tmp") / f"tt-doctor-{os.getpid()}"
    directory.mkdir()
    try:
        for path in (directory, directory / "run"):
            path.mkdir(exist_ok=True)
            path.chmod(0o711)
            shutil.chown(path, "nobody", "nogroup")
        shutil.copy("/bin/sleep", directory / "lighttpd")
        found = {}
        for mode in ("0660", "0666"):
            done = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c", SCRIPT, "bash", directory,
                                   BUILD, mode], capture_output=True, text=True, timeout=60 * PATIENCE, env=clean_env())
            found[mode] = {f["name"]: f for f in json.loads(done.stdout)["findings"]}
        assert "SocketGroup=www-data" in found["0660"]["socket_forbidden"]["fix"]
        assert "lighttpd" in found["0660"]["socket_forbidden"]["message"] and "runs as www-data" in found["0660"]["socket_forbidden"]["message"]
        assert "socket_forbidden" not in found["0666"]
    finally:
        shutil.rmtree(directory)


# --- systemd's units ---

UNIT = """Id={id}
LoadState=loaded
ActiveState={ActiveState}
SubState={SubState}
Result={Result}
UnitFileState={UnitFileState}
NRestarts={NRestarts}
StartLimitBurst=60
NeedDaemonReload={NeedDaemonReload}
ConditionResult={ConditionResult}
ActiveEnterTimestampMonotonic=1
EnvironmentFiles={EnvironmentFiles} (ignore_errors=yes)
ExecStart={{ path=/usr/sbin/{program} ; argv[]=/usr/sbin/{program} --run-dir {run} --more ; ignore_errors=no }}
"""


class Systemctl:
    """One that says of the units of a service what a test wants."""

    def __init__(self, service, directory):
        self.service, self.directory = service, directory
        directory.mkdir()
        self.variables = directory / "default"
        (directory / "systemctl").write_text(f"#!/bin/sh\ncat {directory}/units\n")
        (directory / "systemctl").chmod(0o755)
        self.env = {"PATH": f"{directory}:{os.environ['PATH']}"}
        self.say()

    def say(self, run=None, **of_daemon):
        usual = {"ActiveState": "active", "SubState": "running", "Result": "success", "UnitFileState": "enabled", "NRestarts": 0,
                 "NeedDaemonReload": "no", "ConditionResult": "yes", "EnvironmentFiles": self.variables, "run": run or self.service.run}
        blocks = [UNIT.format(id="tt-agentd.service", program="tt-agentd", **{**usual, **of_daemon}),
                  UNIT.format(id="tt-agent-fcgi.service", program="tt-agent-fcgi", **usual),
                  "Id=tt-agent-fcgi.socket\nLoadState=loaded\nActiveState=active\nResult=success\nUnitFileState=enabled\n",
                  "Id=tt-agent-runner.socket\nLoadState=not-found\nActiveState=inactive\n"]
        (self.directory / "units").write_text("\n".join(blocks))


@pytest.fixture(scope="module")
def systemctl(service):
    return Systemctl(service, service.directory / "systemctl")


def test_units_that_are_well_are_not_mentioned(service, systemctl):
    assert doctor(service, env=systemctl.env) == {}
    service.conf.write_text(CONF + "polling: { intervall = 3; };\n")
    done = run(service, "doctor", env=systemctl.env)
    service.conf.write_text(CONF)
    assert "config_unknown" in done.stdout and "systemd does not run this service" not in done.stderr


@pytest.mark.parametrize("name, properties, words, fix", [
    ("unit_start_limit", {"ActiveState": "failed", "Result": "start-limit-hit"}, "started too often", "systemctl reset-failed tt-agentd.service"),
    # A unit that ends again and again: Result is how it ended the last time.
    ("unit_start_limit", {"ActiveState": "failed", "Result": "exit-code", "NRestarts": 60}, "60 restarts; Result=exit-code", "systemctl reset-failed"),
    ("unit_failed", {"ActiveState": "failed", "Result": "exit-code", "NRestarts": 2}, "has failed (exit-code)", "systemctl restart tt-agentd.service"),
    ("unit_not_configured", {"ActiveState": "inactive", "ConditionResult": "no"}, "neither /etc/tt-agent", "/etc/tt-agent/tt-agent.conf"),
    ("unit_restarts", {"SubState": "auto-restart", "NRestarts": 7}, "started again 7 times", "journalctl -u tt-agentd.service"),
    ("unit_disabled", {"UnitFileState": "disabled"}, "is not enabled", "systemctl enable tt-agentd.service"),
    ("unit_changed", {"NeedDaemonReload": "yes"}, "has changed", "systemctl daemon-reload"),
])
def test_what_systemd_says_of_a_unit_is_found(service, systemctl, name, properties, words, fix):
    systemctl.say(**properties)
    expect(service, name, words, fix=fix, env=systemctl.env)
    systemctl.say(**properties, run="/run/of-another")
    assert doctor(service, env=systemctl.env) == {}, "units of another run directory"
    systemctl.say()


def test_the_file_with_the_variables_is_checked(service, systemctl):
    systemctl.variables.write_text("# of TT-Studio\nJWT_SECRET=test-secret-456\nLOCAL_LLM_HOST='127.0.0.1'\nUNKNOWN=1\n")
    systemctl.variables.chmod(0o644)
    expect(service, "environment_public", "everybody can read", fix=f"chmod 600 {systemctl.variables}", env=systemctl.env)
    systemctl.variables.chmod(0o600)
    assert doctor(service, env=systemctl.env) == {}
    systemctl.variables.write_text("LOCAL_LLM_HOST=127.0.0.2\n")
    expect(service, "config_restart", "LOCAL_LLM_HOST was changed", fix="systemctl restart tt-agentd", env=systemctl.env)
    systemctl.variables.unlink()


# --- conversations ---

def test_a_directory_that_is_not_there_is_found(testbed):
    service = start(testbed, sets=[f"threads.store=sqlite:{testbed.directory}/missing/threads.db"])
    expect(service, "store_no_directory", "kept in memory", fix=f"{testbed.directory}/missing")


def test_a_database_that_cannot_be_used_is_found(testbed):
    service = start(testbed)
    database = service.directory / "threads.db"
    service.chat("Hello", "12345678-1")
    assert doctor(service) == {}
    service.responder.stop()
    with sqlite3.connect(database) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    expect(service, "store_other", "made by a newer version", fix="set threads.store", also={"responder_down"})
    database.write_bytes(b"no database " * 1000)
    for beside in ("-wal", "-shm"):
        Path(f"{database}{beside}").unlink(missing_ok=True)
    expect(service, "store_damaged", str(database), fix=f"mv {database} {database}.damaged", also={"responder_down"})


def test_a_database_that_has_grown_too_large_is_found(testbed):
    """As after threads.max_bytes was lowered, before the responder has deleted what is too much."""
    service = start(testbed)
    service.chat("Hello", "12345678-1")
    service.responder.stop()
    database = service.directory / "threads.db"
    os.truncate(database, 100 << 20)  # free pages at its end
    assert set(doctor(service)) == {"responder_down"}, "the limit is larger"
    service.conf.write_text(CONF + "threads: { max_bytes = 1048576; };\n")
    service.ctl("reload")
    expect(service, "store_too_big", str(database), "threads.max_bytes is 1048576", fix="systemctl reload tt-agent-fcgi", also={"responder_down"})


def test_a_full_run_directory_is_found(tmp_path, testbed):
    service = testbed.service(start=False, conf=CONF, backend=testbed.backend({"d1": testbed.llm().deployment()}))
    try:
        disk = Disk(service.run, 4096)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nobody may mount a small file system here")
    try:
        service.start().wait_ready()
        wait_until(lambda: service.ctl("models")["models"][0]["context_length"] > 0, "the context window is known")
        assert doctor(service) == {}
        disk.fill()
        expect(service, "run_dir_full", f"{service.run}: 0 bytes are free", fix=f"df -h {service.run}; df -i {service.run}")
        disk.empty()
        assert doctor(service) == {}
        service.daemon.stop()
        service.responder.stop()
    finally:
        disk.close()


def test_a_full_disk_is_found(tmp_path, testbed):
    try:
        disk = Disk(tmp_path, 60 << 10)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nobody may mount a small file system here")
    try:
        service = start(testbed, sets=[f"threads.store=sqlite:{tmp_path}/threads.db"])
        assert doctor(service) == {}
        disk.fill()
        expect(service, "store_disk_full", "0 bytes are free", fix=f"df -h {tmp_path}")
        disk.empty()
        service.daemon.stop()
        service.responder.stop()
    finally:
        disk.close()


# --- tools ---

CODE = 'code: { local = true; runner_socket = "%s/none.sock"; };\n'


@pytest.fixture(scope="module")
def sandbox(worlds):
    return worlds.get("sandbox", lambda testbed: start(testbed, conf=CODE % testbed.directory))


def test_a_runner_that_does_not_run_is_found(sandbox):
    expect(sandbox, "runner_down", "none.sock: No such file", fix="systemctl enable --now tt-agent-runner.socket")


def test_a_sandbox_without_its_programs_is_found(sandbox):
    found = expect(sandbox, "bubblewrap_missing", "is not installed", fix="apt-get install bubblewrap python3", also={"runner_down"},
                   env={"PATH": str(sandbox.directory)})
    assert found["severity"] == "error"


def bound(file, text, on):
    """Runs what follows where `on` has that text."""
    file.write_text(text)
    return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', str(file), on]


@root
def test_a_kernel_without_user_namespaces_is_found(sandbox, tmp_path):
    before = bound(tmp_path / "max", "0\n", "/proc/sys/user/max_user_namespaces")
    expect(sandbox, "namespaces_off", "max_user_namespaces is 0", fix="sysctl -w user.max_user_namespaces=", also={"runner_down"}, before=before)


# --- MCP servers ---

def test_mcp_servers_that_offer_nothing_are_found(testbed):
    bad = tool("bad", inputSchema={"type": "object", "properties": {"n": {"type": "number", "x-mcp-header": "N"}}})
    mocks = {"dead": McpServer(), "closed": McpServer(), "empty": McpServer(tools=[]), "partly": McpServer(tools=[tool("good"), bad]), "good": McpServer()}
    for mock in mocks.values():
        testbed.client(mock)
    mocks["dead"].status, mocks["closed"].status = 500, 401
    each = [{"name": name, "url": mock.url} for name, mock in mocks.items()]
    service = start(testbed, sets=[servers(*each, {"name": "command", "socket": "/no/such/mcp.sock"})])
    service.wait_status(lambda s: {m["state"] for m in s["mcp"]} == {"answers", "failing"}, "all were tried")
    wait_until(lambda: service.ctl("mcp", "list")["servers"][3]["left_out"] == 1, "what is left out is known")
    found = doctor(service)
    messages = {name: (row["message"], row["fix"]) for name, row in found.items()}
    assert set(messages) == {"mcp_server_fails", "mcp_token_refused", "mcp_no_tools", "mcp_tools_left_out", "mcp_runner_down"}, messages
    assert "HTTP 500" in messages["mcp_server_fails"][0] and messages["mcp_server_fails"][1] == "tt-agentctl mcp tools dead"
    assert "HTTP 401" in messages["mcp_token_refused"][0] and "token_file or headers of closed" in messages["mcp_token_refused"][1]
    assert "empty" in messages["mcp_no_tools"][0] and "1 tools of partly" in messages["mcp_tools_left_out"][0] and "bad: " in messages["mcp_tools_left_out"][0]
    assert "/no/such/mcp.sock" in messages["mcp_runner_down"][0] and "tt-agent-mcp.socket" in messages["mcp_runner_down"][1]
    assert "1 left out: bad: " in run(service, "mcp", "list").stdout


# --- the web server ---

@root
def test_old_files_of_the_web_server_are_found(service, tmp_path):
    snippets = tmp_path / "snippets"
    snippets.mkdir()
    text = (SOURCE / "deploy/nginx/tt-agent-fastcgi.conf").read_text()
    before = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/nginx && exec "$@"', str(tmp_path)]
    if not Path("/etc/nginx").is_dir():
        pytest.skip("nginx is not installed")
    (snippets / "tt-agent-fastcgi.conf").write_text(text)
    assert doctor(service, before=before) == {}
    (snippets / "tt-agent-fastcgi.conf").write_text(text.replace("fastcgi_pass_header X-Accel-Buffering;", ""))
    expect(service, "drop_in_old", 'lacks "fastcgi_pass_header X-Accel-Buffering"', fix="cp the file", before=before)
    (snippets / "tt-agent-fastcgi.conf").write_text(text.replace("fastcgi_read_timeout 1200s", "fastcgi_read_timeout  60s"))
    expect(service, "drop_in_timeout", "fastcgi_read_timeout is 60 s", "300 s (llm.silence_timeout)", fix="editor", before=before)


@pytest.fixture(scope="module")
def slow(worlds):
    """Its answers take half a second."""
    return worlds.get("slow", lambda testbed: start(testbed, script={"text": ["a ", "b ", "c ", "d ", "e "], "delay_us": 100000}))


def test_an_answer_that_streams_is_no_fault(slow):
    assert doctor(slow, "--url", slow.url) == {}


def test_an_answer_that_is_collected_is_found(slow):
    with through(slow, lambda headers, body: (headers, [body])) as url:
        expect(slow, "url_buffered", "came all at once", fix="proxy_buffering off", words=["--url", url])


@pytest.mark.parametrize("name, change, words, fix", [
    ("url_header", lambda h, b: ({k: v for k, v in h.items() if k != "x-accel-buffering"}, [b]), "no X-Accel-Buffering", "fastcgi_pass_header"),
    ("url_compressed", lambda h, b: ({**h, "Content-Encoding": "gzip"}, [gzip.compress(b)]), "Content-Encoding: gzip", "gzip off"),
    ("url_broken", lambda h, b: (h, [b.split(b"[STATS]")[0]]), "without its statistics", "proxy_read_timeout")])
def test_what_a_proxy_does_to_an_answer_is_found(service, name, change, words, fix):
    with through(service, change) as url:
        expect(service, name, words, fix=fix, words=["--url", url])


def test_a_url_of_something_else_is_found(service, testbed):
    wrong = service.nginx.prefix  # the service is below /agent there
    expect(service, "url_other", "the service is below it, at /agent", fix="include snippets/tt-agent-locations.conf",
           words=["--url", f"http://{wrong}"])
    assert doctor(service, "--url", f"http://{wrong}/agent/") == {}
    expect(service, "url_unreachable", "connect", fix="start the web server", words=["--url", f"http://127.0.0.1:{testbed.closed_port()}"])


def test_a_service_that_wants_a_key_is_no_fault(testbed):
    service = start(testbed, conf=CONF + 'access: { require = "all"; keys_file = "%s/keys.jsonl"; };\n' % testbed.directory)
    key = service.ctl("keys", "create", "alice")["key"]
    assert doctor(service, "--url", service.url) == {}
    assert "HTTP 401 at /status: name a key with --token-env" in run(service, "doctor", "--url", service.url).stderr
    service.secrets.append(key)
    wait_until(lambda: service.http.get("/status", headers={"Authorization": f"Bearer {key}"}).status_code == 200, "the key is accepted")
    done = run(service, "doctor", "--url", service.url, "--token-env", "SOME_KEY", env={"SOME_KEY": key})
    assert done.returncode == OK and "a chat through" not in done.stderr, done


def test_a_web_server_that_cannot_reach_the_service_is_found(testbed):
    service = start(testbed)
    service.responder.stop()
    expect(service, "url_no_service", "HTTP 502", fix="systemctl status tt-agent-fcgi.socket", also={"responder_down"},
           words=["--url", service.url])


@root
@pytest.mark.parametrize("name, address, page, words, fix", [
    ("python_service", "127.0.0.1", {"message": "Agent server is running", "status": "ready"}, "own agent answers", "docker stop"),
    ("port_8080", "127.0.0.1", None, "kills what does so", "listen 8090"),
    ("status_public", "8.8.4.4", None, "at the public address 8.8.4.4",
     'set http.public_status = "brief"')])
def test_what_listens_where_it_should_not_is_found(service, tmp_path, name, address, page, words, fix):
    pages = {"root": page or service.http.get("/").json(), "status": {"status": "initializing", "configuration": {}}}
    found = ask_alone(service, tmp_path, address, pages, with_url=name == "status_public")
    # In that network the backend cannot be reached.
    assert set(found) == {name, "backend_down"} and words in found[name]["message"] and fix in found[name]["fix"], found


def test_a_drain_that_was_forgotten_is_found(service):
    service.ctl("drain", "d1")
    expect(service, "llm_drained", "d1 gets no new turns: drained by ", fix="tt-agentctl undrain d1", also={"no_llm", "llm_unhealthy"})
    service.ctl("undrain", "d1")
    assert doctor(service) == {}


def test_an_llm_on_which_turns_fail_is_found(testbed):
    service, bad, _ = testbed.two({"status": 500})
    for _ in range(5):
        service.chat("Hello")
    models = lambda: {m["deploy_id"]: m for m in service.ctl("models")["models"]}
    wait_until(lambda: models()["d1"]["ejected_until"] and models()["d2"]["context_length"], "it is ejected")
    expect(service, "llm_ejected", "(d1): ", fix="tt-agentctl refresh")


def test_a_backend_that_is_back_is_found(testbed):
    llm, backend = testbed.llm(), testbed.backend(status=500)
    service = testbed.service(backend=backend, env={"LLM_CONTAINER_NAME": llm.host}).wait_ready()
    service.wait_status(lambda s: s["discovery"][0]["state"] == "failing", "discovery fails")
    wait_until(lambda: [m for m in service.ctl("models")["models"] if m["context_length"]], "the context window is known")
    backend.script(status=200, deployed={"d1": llm.deployment()})
    expect(service, "backend_back", "it answers now", "is HTTP 500", fix="tt-agentctl refresh")
    service.ctl("refresh")
    assert "backend_back" not in doctor(service)


def test_an_llm_that_hangs_is_found(testbed):
    llm = testbed.llm()
    service = testbed.service(backend=testbed.backend({"d1": llm.deployment()}),
                              sets=["health.canary_interval=0.3", "health.canary_timeout=0.3"]).wait_ready()
    llm.script(header_delay_us=5000000)
    hung = lambda: [m for m in service.ctl("models")["models"] if "it hangs" in (m["reason"] or "") and m["status"] == "unhealthy"]
    wait_until(hung, "it is known to hang", 20)
    found = doctor(service)
    assert "it hangs" in found["llm_hangs"]["message"] and "restart the LLM's server" in found["llm_hangs"]["fix"], found
