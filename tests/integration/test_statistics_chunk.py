# SPDX-License-Identifier: Apache-2.0
"""The statistics are always alone in their HTTP chunk: TT-Studio sees them only there."""

import json
import socket
import struct

import pytest

from harness import fastcgi
from harness.load import many_turns

PLAIN = "Hello, world! Grüße 😀\nBye."


@pytest.fixture(scope="module")
def one(shared):
    return shared.one(workers=2, env={"AGENT_HEALTH_CHECK_INTERVAL": "1"})


def test_10000_of_10000_through_nginx_under_load(one):
    report = many_turns(one[0].host, 64, 157, "[plain]", PLAIN)
    assert report["turns"] >= 10000
    assert report["failed"] == 0 and report["merged"] == 0, report


def test_with_a_connection_for_each_turn(one):
    report = many_turns(one[0].host, 64, 16, "[plain]", PLAIN, close=True)
    assert report["failed"] == 0, report


@pytest.mark.parametrize("server", ["lighttpd", "apache"])
def test_through_other_servers(one, server):
    report = many_turns(one[0].host_of(server), 32, 32, "[plain]", PLAIN)
    assert report["failed"] == 0, report


def test_when_the_answer_comes_in_one_piece(one):
    report = many_turns(one[0].host, 32, 32, "[coalesce]", PLAIN)
    assert report["failed"] == 0, report


def test_when_the_answer_is_long(one):
    message = "[[" + json.dumps({"tokens": 3000, "tokens_per_write": 20}) + "]]"
    report = many_turns(one[0].host, 16, 10, message, "word " * 3000)
    assert report["failed"] == 0, report


def test_no_read_goes_from_the_text_to_the_statistics(one):
    """However long the web server is held up within its read: this one waits in it for more."""
    body = json.dumps({"message": "[plain]", "thread_id": "apart"}).encode()
    with fastcgi.connect(one[0].socket, timeout=None) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 30, 0))
        s.sendall(fastcgi.request("POST", "/poll_requests", body))
        reads = [s.recv(65536, socket.MSG_WAITALL)]
        while reads[-1]:
            reads.append(s.recv(65536, socket.MSG_WAITALL))
    assert [any(word in read for read in reads) for word in (b"Bye", b"[STATS]")] == [True, True], reads
    assert not any(b"Bye" in read and b"[STATS]" in read for read in reads), reads
