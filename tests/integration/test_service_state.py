# SPDX-License-Identifier: Apache-2.0
"""What each program reports to the service manager (Type=notify)."""

import os
import re
import signal
import socket
import subprocess

import pytest

from harness.daemon import Daemon
from harness.process import BUILD, PATIENCE, clean_env
from harness.runner import Runner


@pytest.fixture
def manager(testbed):
    """manager.env: for a program; manager.next(): its next notification."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind("")  # an abstract address
    s.settimeout(10 * PATIENCE)
    testbed.client(s)

    class Manager:
        env = {"NOTIFY_SOCKET": "@" + s.getsockname()[1:].decode()}

        def next(self):
            return s.recv(4096).decode()

        def quiet(self):
            s.setblocking(False)
            with pytest.raises(BlockingIOError):
                s.recv(4096)
            return True

    return Manager()


def test_the_daemon_is_ready_once_it_has_published(testbed, manager):
    daemon = Daemon(testbed, env=manager.env)
    assert manager.next() == "READY=1"
    assert (daemon.run / "status.v3").exists()
    assert daemon.stop() == 0
    assert manager.next() == "STOPPING=1" and manager.quiet()


def test_the_responder_is_ready_once_its_workers_accept(testbed, manager):
    responder = testbed.service(start=False, workers=2, responder_env=manager.env).start_responder()
    assert manager.next() == "READY=1"
    assert responder.log().count("worker_started") == 2
    responder.send(signal.SIGHUP)
    assert manager.next() == "RELOADING=1"
    assert manager.next() == "READY=1"
    assert responder.log().count("worker_started") == 4
    assert responder.stop() == 0
    assert manager.next() == "STOPPING=1" and manager.quiet(), "workers report nothing"


def test_the_runner_is_ready_once_it_listens(testbed, manager):
    runner = Runner(testbed, env=manager.env)
    assert manager.next() == "READY=1"
    assert runner.run("print(1)") == ("1\n", [])
    runner.process.stop()
    assert manager.next() == "STOPPING=1" and manager.quiet()


# --- what they write to the journal ---

def start(testbed, name, argv, **env):
    """Its stderr, which JOURNAL_STREAM names, as systemd does."""
    log = testbed.directory / f"{name}.journal"
    with log.open("w") as f:
        stat = os.fstat(f.fileno())
        done = subprocess.run([str(a) for a in argv], env={**clean_env(), "JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}", **env},
                              stderr=f, stdout=subprocess.DEVNULL, timeout=20 * PATIENCE)
    assert done.returncode != 0
    return log.read_text()


def test_errors_at_start_have_their_priority_in_the_journal(testbed):
    """And no time: the journal has its own."""
    conf = testbed.directory / "wrong.conf"
    conf.write_text("health: { interval = \"x\"; };\n")
    run = testbed.directory / "run"
    assert start(testbed, "daemon", [BUILD / "tt-agentd", "--run-dir", run, "--config", conf]).startswith("<3>config error=")
    assert start(testbed, "option", [BUILD / "tt-agentd", "--no-such"]).startswith("<3>tt-agentd: ")
    missing = conf / "fcgi.sock"  # below a file
    lines = start(testbed, "responder", [BUILD / "tt-agent-fcgi", "--run-dir", run, "--listen", missing]).splitlines()
    assert [line.split()[0] for line in lines] == ["<2>start_failed"]  # not that tt-agentd does not run: workers say so
    assert start(testbed, "runner", [BUILD / "tt-agent-runner", "--socket", missing]).startswith("<2>no_sandbox ")


def test_lines_on_another_stderr_have_a_time(testbed):
    conf = testbed.directory / "wrong.conf"
    conf.write_text("health: { interval = \"x\"; };\n")
    log = start(testbed, "daemon", [BUILD / "tt-agentd", "--run-dir", testbed.directory, "--config", conf], JOURNAL_STREAM="1:2")
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z tt-agent\S* ERROR config error=", log), log
