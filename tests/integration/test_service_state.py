# SPDX-License-Identifier: Apache-2.0
"""What each program reports to the service manager (Type=notify)."""

import signal
import socket

import pytest

from harness.daemon import Daemon
from harness.process import PATIENCE
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
    assert (daemon.run / "status.v2").exists()
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
