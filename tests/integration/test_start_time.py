# SPDX-License-Identifier: Apache-2.0
"""Daemon and responder are there as soon as they are started."""

import time

from harness import fastcgi
from harness.channel import Channel
from harness.process import PATIENCE, wait_until

BOUND_S = 0.25  # of the best of five; tests/bench measures it


def try_ping(run):
    try:
        with Channel(run) as channel:
            return channel.command("ping")
    except (FileNotFoundError, ConnectionRefusedError):
        return None


def try_root(path):
    try:
        return fastcgi.ask(path, "GET", "/")
    except (FileNotFoundError, ConnectionRefusedError):
        return None


def test_the_daemon_answers_at_once(testbed):
    service = testbed.service(start=False)
    times = []
    for _ in range(5):
        begin = time.monotonic()
        daemon = service.start_daemon()
        answer = wait_until(lambda: try_ping(service.run), "ping")
        times.append(time.monotonic() - begin)
        assert answer["ok"], answer
        assert daemon.stop() == 0
    assert min(times) < BOUND_S * PATIENCE, times


def test_the_responder_answers_at_once_with_and_without_a_daemon(testbed):
    service = testbed.service(start=False)
    for with_daemon in (False, True):
        if with_daemon:
            service.start_daemon()
            wait_until(lambda: try_ping(service.run), "ping")
        times = []
        for _ in range(5):
            begin = time.monotonic()
            responder = service.start_responder()
            head, body = wait_until(lambda: try_root(service.socket), "GET /")
            times.append(time.monotonic() - begin)
            assert b'"status":"initializing"' in body, (head, body)
            assert responder.stop() == 0
        assert min(times) < BOUND_S * PATIENCE, times


def test_a_second_daemon_refuses_and_says_who_is_there(testbed):
    service = testbed.service(start=False)
    first = service.start_daemon()
    wait_until(lambda: try_ping(service.run), "ping")
    second = service.start_daemon()
    assert second.wait() != 0
    second.expected_exit = {second.exit_code}
    assert str(first.pid) in second.log(), second.log()
    assert try_ping(service.run)["ok"]
