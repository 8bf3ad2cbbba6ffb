# SPDX-License-Identifier: Apache-2.0
"""The responder alone, without a daemon: FastCGI as peers speak it, well and badly."""

import json
import os
import select
import signal
import socket
import struct
import threading
import time

import pytest
from harness import fastcgi
from harness.process import BUILD, PATIENCE, Process, wait_until

STATUS = fastcgi.request("GET", "/status")
WAITING = b'data: {"status": "waiting"'


@pytest.fixture
def responder(testbed):
    """A running responder; responder.ask(...) is one request on a connection of its own."""
    return start(testbed)


def start(testbed, *options, before=None, **more):
    service = testbed.service(start=False)
    listen = service.socket
    argv = [BUILD / "tt-agent-fcgi", "--run-dir", service.run, "--workers", "1", *options]
    if "--listen" not in options and before is None:
        argv += ["--listen", listen]
    process = testbed.own(Process("responder", argv, service.directory, own=True, before_exec=before, **more))
    process.wait_log("worker_started")
    process.socket, process.service = listen, service
    process.ask = lambda method, path, body=b"", **params: fastcgi.ask(listen, method, path, body, **params)
    return process


def connect(responder):
    return fastcgi.connect(responder.socket, timeout=10 * PATIENCE)


def hung_up(s):
    """The peer closed, with or without a reset, perhaps after it said why."""
    try:
        while s.recv(4096):
            continue
        return True
    except ConnectionResetError:
        return True


def send(s, data):
    """What of data the peer takes before it closes."""
    try:
        s.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass


def served(responder):
    head, body = responder.ask("GET", "/status")
    assert json.loads(body)["status"] == "initializing"
    return head


def worker(responder):
    children = open(f"/proc/{responder.pid}/task/{responder.pid}/children").read().split()
    return int(children[0])


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


# --- what it answers ---------------------------------------------------------------------


def test_without_daemon(responder):
    head, body = responder.ask("GET", "/")
    assert json.loads(body)["status"] == "initializing"
    assert f"Content-Length: {len(body)}" in head
    for method, path in [("POST", "/refresh"), ("POST", "/refresh_config"), ("GET", "/test_llm"),
                         ("POST", "/select_model")]:
        _, body = responder.ask(method, path, b'{"deploy_id":"d1"}')
        assert json.loads(body) == {"status": "error", "message": "tt-agentd is not running"}
    _, body = responder.ask("POST", "/poll_requests", b'{"message":"hi","thread_id":"1"}')
    assert body.startswith(WAITING)


def test_refusals(responder):
    head, body = responder.ask("GET", "/nope")
    assert "Status: 404" in head and body == b'{"detail":"Not Found"}'
    head, body = responder.ask("POST", "/status")
    assert "Status: 405" in head and "Allow: GET, HEAD" in head and body == b'{"detail":"Method Not Allowed"}'
    head, body = responder.ask("POST", "/agent/refresh/", TT_AGENT_ADMIN="0")
    assert "Status: 403" in head and "TT_AGENT_ADMIN=1" in json.loads(body)["detail"]
    head, body = responder.ask("POST", "/poll_requests", b"{")
    assert "Status: 422" in head and json.loads(body)["detail"][0]["type"] == "json_invalid"
    head, body = responder.ask("POST", "/select_model")
    assert "Status: 422" in head and json.loads(body)["detail"][0]["loc"] == ["query", "deploy_id"]
    head, _ = responder.ask("GET", "/agent%2fstatus")
    assert "Status: 400" in head


def test_head(responder):
    head, body = responder.ask("HEAD", "/status")
    _, whole = responder.ask("GET", "/status")
    assert body == b"" and f"Content-Length: {len(whole)}" in head
    for path, status in ("/test_llm", 200), ("/nope", 404), ("/refresh", 405):
        head, body = responder.ask("HEAD", path, TT_AGENT_ADMIN="1")
        assert body == b"" and "Content-Length: " in head and ("Status:" not in head if status == 200 else f"Status: {status}" in head)


def test_allow(responder):
    for method in ("OPTIONS", "POST", "DELETE"):
        assert "Allow: GET, HEAD" in responder.ask(method, "/status")[0].split("\r\n")
    assert "Allow: POST" in responder.ask("HEAD", "/poll_requests")[0].split("\r\n")


def test_request_id(responder):
    head, _ = responder.ask("GET", "/", HTTP_X_REQUEST_ID="my-id.1")
    assert "X-Request-Id: my-id.1\r\n" in head + "\r\n"
    ids = set()
    for bad in ["", "a b", "x" * 129, "a\r\nSet-Cookie: b", "é"]:
        head, _ = responder.ask("GET", "/nope", HTTP_X_REQUEST_ID=bad)
        assert "Set-Cookie" not in head
        ids.add(head.split("X-Request-Id: ")[1].split("\r\n")[0])
    assert len(ids) == 5 and all(len(i) == 32 for i in ids)


def test_no_reader_of_the_prompt_in_the_log(responder):
    responder.ask("POST", "/poll_requests", b'{"message":"Quetzalcoatlus","thread_id":"1"}')
    responder.wait_log("turn request_id")


def test_a_turn_is_logged_with_the_address_of_its_client(responder):
    responder.ask("POST", "/poll_requests", b'{"message":"x","thread_id":"1"}', REMOTE_ADDR="2001:db8::7")
    responder.wait_log(r"turn request_id=\w+ client=2001:db8::7 ")


# --- kept connections ----------------------------------------------------------------------


def test_kept_connection(responder):
    with connect(responder) as s:
        for body in [b"", b"x" * 5, b"x" * 9000, b"x" * 200000, b""] * 3:
            s.sendall(fastcgi.request("POST", "/poll_requests", body, keep=True))
            head, _ = fastcgi.read_answer(s)
            assert "Status: 422" in head
        s.sendall(STATUS)
        fastcgi.read_answer(s)
        assert hung_up(s), "the last request did not ask to keep the connection"


def test_connection_without_keep_is_closed(responder):
    with connect(responder) as s:
        s.sendall(STATUS)
        fastcgi.read_answer(s)
        assert hung_up(s)


# --- requests in every shape -----------------------------------------------------------------


def raw_record(kind, content, request=1, size=None):
    return struct.pack(">BBHHBx", 1, kind, request, len(content) if size is None else size, 0) + content


BEGIN = fastcgi.record(1, struct.pack(">HB5x", 1, 1))


def test_every_split(responder):
    data = fastcgi.request("POST", "/poll_requests", b'{"message":"hi"}', keep=True)
    with connect(responder) as s:
        for cut in range(1, len(data)):
            s.sendall(data[:cut])
            s.sendall(data[cut:])
            head, _ = fastcgi.read_answer(s)
            assert "Status: 422" in head


def test_byte_by_byte(responder):
    with connect(responder) as s:
        for i in range(len(STATUS)):
            s.sendall(STATUS[i:i + 1])
        assert fastcgi.read_answer(s)[1].startswith(b'{"status"')


@pytest.mark.parametrize("size", [60000, 65536, 300000, 1 << 20])
def test_big_body(responder, size):
    message = "x" * (size - 40)
    head, body = responder.ask("POST", "/poll_requests", json.dumps({"message": message, "thread_id": "1"}).encode())
    assert body.startswith(WAITING), head


@pytest.mark.parametrize("size", [(1 << 20) + 1, 5 << 20])
def test_body_over_the_limit(responder, size):
    with connect(responder) as s:
        s.sendall(fastcgi.request("POST", "/poll_requests", b"x" * size, keep=True))
        head, body = fastcgi.read_answer(s)
        assert "Status" not in head and b"too long" in body and b"[STATS]" in body
        s.sendall(fastcgi.request("POST", "/select_model", b"x" * size, keep=True))
        assert "Status: 413" in fastcgi.read_answer(s)[0]
        s.sendall(STATUS)
        assert fastcgi.read_answer(s)[1].startswith(b'{"status"'), "the connection is still good"


def test_body_in_tiny_records(responder):
    body = b'{"message":"hi","thread_id":"1"}'
    data = fastcgi.request("POST", "/poll_requests")[:-8] + b"".join(fastcgi.record(5, body[i:i + 1])
                                                                     for i in range(len(body)))
    with connect(responder) as s:
        s.sendall(data + fastcgi.record(5))
        assert fastcgi.read_answer(s)[1].startswith(WAITING)


def test_padded_records(responder):
    """Padding of every length; libfcgi reads 8 KiB at a time."""
    params = {"REQUEST_METHOD": "POST", "REQUEST_URI": "/poll_requests"}
    head = BEGIN + fastcgi.record(4, b"".join(fastcgi.pair(k, v) for k, v in params.items()))
    with connect(responder) as s:
        for padding in range(256):
            body = struct.pack(">BBHHBx", 1, 5, 1, 8000, padding) + b"x" * 8000 + bytes(padding)
            s.sendall(head + fastcgi.record(4) + body + fastcgi.record(5))
            assert "Status: 422" in fastcgi.read_answer(s)[0]


def test_many_params(responder):
    more = {f"HTTP_X_{i}": "v" * 100 for i in range(300)}
    assert b"initializing" in responder.ask("GET", "/", **more)[1]


# --- hostile peers ------------------------------------------------------------------------------


HOSTILE = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": bytes(4096),
    "version": b"\x02" + STATUS[1:],
    "id_0": fastcgi.record(1, struct.pack(">HB5x", 1, 1), request=0),
    "authorizer": fastcgi.record(1, struct.pack(">HB5x", 2, 1)),
    "no_begin": fastcgi.record(4) + fastcgi.record(5),
    "overflowing_lengths": BEGIN + raw_record(4, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
    "lengths_over_int_max": BEGIN + raw_record(4, b"\xff\xff\xff\xf0\x80\x00\x00\x20abcd"),
    "pair_cut": BEGIN + raw_record(4, b"\x04\x04name") + fastcgi.record(4),
    "get_values": fastcgi.record(9, (b"\x0f\x00" + b"FCGI_MPXS_CONNS") * 4, request=0),
    "get_values_inside": BEGIN + fastcgi.record(9, (b"\x0e\x00" + b"FCGI_MAX_CONNS") * 4, request=0),
    "second_request": BEGIN + fastcgi.record(1, struct.pack(">HB5x", 1, 1), request=2),
    "filter_data": STATUS[:-8] + fastcgi.record(8, b"data"),
    "pipelined": STATUS + STATUS,
    "aborted": STATUS[:-8] + fastcgi.record(2),
    "padded_end_of_params": BEGIN + struct.pack(">BBHHBx", 1, 4, 1, 0, 8) + bytes(8) + fastcgi.record(5),
    "padded_end": STATUS[:-8] + struct.pack(">BBHHBx", 1, 5, 1, 0, 8) + bytes(8),
    "params_too_long": BEGIN + fastcgi.record(4, b"\x01\x80\x00\xff\xf0A" + b"x" * 60000) + fastcgi.record(4, b"x" * 60000),
    "name_with_equals": BEGIN + fastcgi.record(4, fastcgi.pair("TT_AGENT_ADMIN=1", "x")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_peer(responder, name):
    with connect(responder) as s:
        send(s, HOSTILE[name])
        assert hung_up(s)
    served(responder)
    assert "worker_died" not in responder.log()
    assert "request_refused" in responder.log()


def test_silent_and_half_peers_hold_up_nobody(testbed, responder):
    peers = [connect(responder) for _ in range(200)]
    for i, s in enumerate(peers):
        s.sendall(STATUS[:i % len(STATUS)])
    began = time.monotonic()
    for _ in range(20):
        served(responder)
    assert time.monotonic() - began < 2 * PATIENCE
    for s in peers:
        s.close()


def test_descriptors_come_back(responder):
    pid = worker(responder)
    served(responder)
    before = open_files(pid)
    for name in HOSTILE:
        with connect(responder) as s:
            send(s, HOSTILE[name])
            hung_up(s)
    responder.ask("POST", "/poll_requests", b"x" * 300000)
    wait_until(lambda: open_files(pid) <= before, "descriptors closed")


def test_peer_that_leaves_at_any_time(responder):
    data = fastcgi.request("POST", "/poll_requests", b'{"message":"hi","thread_id":"1"}')
    for cut in range(0, len(data) + 1, 3):
        with connect(responder) as s:
            s.sendall(data[:cut])
    with connect(responder) as s:
        s.sendall(fastcgi.request("POST", "/refresh"))
    served(responder)


# --- limits of the published configuration -------------------------------------------------------------


def test_one_deadline_for_the_whole_request(testbed):
    service = testbed.service(sets=["http.request_timeout=0.3"])
    kept = fastcgi.connect(service.socket, timeout=10 * PATIENCE)
    kept.sendall(fastcgi.request("GET", "/status", keep=True))
    fastcgi.read_answer(kept)
    began = time.monotonic()
    peers = [fastcgi.connect(service.socket, timeout=10 * PATIENCE) for _ in range(6)]
    for i, s in enumerate(peers):
        s.sendall(STATUS[:i * 20])
    for s in peers:
        assert hung_up(s)
        s.close()
    assert 0.2 < time.monotonic() - began < 2 * PATIENCE
    kept.sendall(fastcgi.request("GET", "/status"))
    assert fastcgi.read_answer(kept)[1].startswith(b'{"status"'), "an idle kept connection has no deadline"
    kept.close()


def test_a_trickle_does_not_prolong_the_deadline(testbed):
    service = testbed.service(sets=["http.request_timeout=0.3"])
    with fastcgi.connect(service.socket, timeout=10 * PATIENCE) as s:
        began = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for i in range(len(STATUS)):
                s.sendall(STATUS[i:i + 1])
                select.select([s], [], [], 0.02)
        assert time.monotonic() - began < 2 * PATIENCE


SLOW = "[[" + json.dumps({"tokens": 1, "first_delay_us": 60000000}) + "]]"


@pytest.mark.parametrize("strict", [False, True])
def test_refused_turns(testbed, strict):
    service, llm = testbed.one(sets=["limits.turns=2", "http.body_limit=4096", f"http.strict_status={str(strict).lower()}"])
    running = [service.ask(SLOW) for _ in range(2)]
    wait_until(lambda: llm.stats()["active"] == 2, "two turns run")
    many = service.chat("hello")
    long = service.chat("x" * 5000)
    if strict:
        assert (many.status, long.status) == (429, 413)
        assert "retry-after" in many.headers and "as many chats" in json.loads(many.body)["detail"]
        assert "too long" in json.loads(long.body)["detail"]
    else:
        for turn, words in (many, "as many chats"), (long, "too long"):
            assert turn.status == 200 and turn.whole and words in turn.text and turn.stats["tokens_decoded"] == 0
    for e in running:
        e.close()
    wait_until(lambda: service.chat("[plain]").whole and llm.stats()["active"] == 0, "room again")


def test_turns_at_once_of_one_client(testbed):
    """The limit holds over all workers, and what a dead worker counted is forgotten."""
    service, llm = testbed.one(workers=2, sets=["limits.client_turns=3"])

    def turn(message, address):
        return fastcgi.request("POST", "/poll_requests", json.dumps({"message": message, "thread_id": "t"}).encode(),
                               REMOTE_ADDR=address)

    def answer(address):
        with fastcgi.connect(service.socket) as s:
            s.sendall(turn("[plain]", address))
            return fastcgi.read_answer(s)[1].decode()

    running = [fastcgi.connect(service.socket) for _ in range(3)]
    for s in running:
        s.sendall(turn(SLOW, "198.51.100.7"))
    wait_until(lambda: llm.stats()["active"] == 3, "three turns run")
    for _ in range(4):  # whichever worker is asked
        assert answer("198.51.100.7").startswith("Too many chats are running from your address")
        assert answer("198.51.100.8").startswith("Hello, world!")
    running.pop().close()
    wait_until(lambda: answer("198.51.100.7").startswith("Hello, world!"), "room for one more")
    for pid in service.worker_pids():
        os.kill(pid, signal.SIGKILL)
    for s in running:
        s.close()
    wait_until(lambda: len(service.worker_pids()) == 2, "two new workers")
    again = [fastcgi.connect(service.socket) for _ in range(3)]
    for s in again:
        s.sendall(turn(SLOW, "198.51.100.7"))
    wait_until(lambda: llm.stats()["active"] == 3, "three turns run again")
    for s in again:
        s.close()


# --- a worker's death, the end, re-execution ------------------------------------------------------


def test_dead_worker_is_back(responder):
    first = worker(responder)
    os.kill(first, signal.SIGKILL)
    served(responder)
    assert worker(responder) != first
    assert "worker_died" in responder.log()


def test_whoever_reads_the_log_may_leave(testbed):
    service = testbed.service(start=False)
    reader, writer = os.pipe()
    argv = [BUILD / "tt-agent-fcgi", "--run-dir", service.run, "--workers", "1", "--listen", service.socket]
    responder = testbed.own(Process("responder", argv, service.directory, own=True, before_exec=lambda: os.dup2(writer, 2)))
    os.close(writer)
    wait_until(lambda: b"worker_started" in os.read(reader, 65536), "a worker")
    os.close(reader)
    first = worker(responder)
    os.kill(first, signal.SIGKILL)  # of which the parent tells
    assert b"initializing" in fastcgi.ask(service.socket, "GET", "/")[1]
    assert worker(responder) != first
    assert responder.stop() == 0 and not service.socket.exists()


def test_stop_removes_the_socket(responder):
    served(responder)
    responder.stop()
    assert not responder.socket.exists()


def test_stop_serves_kept_connections_to_the_end(responder):
    with connect(responder) as s:
        s.sendall(fastcgi.request("GET", "/status", keep=True))
        fastcgi.read_answer(s)
        responder.send(signal.SIGTERM)
        responder.wait_log("worker_draining")
        s.sendall(fastcgi.request("GET", "/status", keep=True))
        assert fastcgi.read_answer(s)[1].startswith(b'{"status"')
        assert hung_up(s)
    responder.wait()


def test_reexecution_refuses_nobody(responder):
    stop, failures = threading.Event(), []

    def keep_asking():
        while not stop.is_set():
            try:
                served(responder)
            except (OSError, EOFError, AssertionError) as e:
                failures.append(repr(e))

    askers = [threading.Thread(target=keep_asking) for _ in range(4)]
    for t in askers:
        t.start()
    for _ in range(3):
        old = worker(responder)
        before = responder.log().count("old_workers_draining")
        responder.send(signal.SIGHUP)
        wait_until(lambda: responder.log().count("old_workers_draining") > before, "old workers drain")
        wait_until(lambda: not os.path.exists(f"/proc/{old}"), "the old worker ended")
    stop.set()
    for t in askers:
        t.join()
    assert not failures


@pytest.mark.parametrize("times", [1, 2])
def test_reexecution_closes_no_kept_connection_first(responder, times):
    with connect(responder) as s:
        s.sendall(fastcgi.request("GET", "/status", keep=True))
        fastcgi.read_answer(s)
        old = worker(responder)
        for count in range(1, times + 1):
            responder.send(signal.SIGHUP)
            wait_until(lambda: responder.log().count("old_workers_draining") == count, "old workers drain")
        responder.wait_log(f"worker_draining pid={old}")
        time.sleep(0.5)
        assert os.path.exists(f"/proc/{old}")
        s.sendall(fastcgi.request("GET", "/status", keep=True))
        assert fastcgi.read_answer(s)[1].startswith(b'{"status"')
        assert hung_up(s)
        wait_until(lambda: not os.path.exists(f"/proc/{old}"), "the old worker ended")


def test_socket_of_a_dead_process_is_replaced_a_live_one_not(testbed, responder):
    second = testbed.own(Process("second", responder.argv, responder.service.directory, own=True))
    second.expected_exit = {1}
    assert second.wait() == 1
    assert "another process is listening there" in second.log()
    served(responder)
    responder.kill()
    third = testbed.own(Process("third", responder.argv, responder.service.directory, own=True))
    third.wait_log("worker_started")
    assert fastcgi.ask(responder.socket, "GET", "/")[1].startswith(b"{")


def test_stop_leaves_the_socket_of_another(testbed, responder):
    responder.socket.unlink()
    second = testbed.own(Process("second", responder.argv, responder.service.directory, own=True))
    second.wait_log("worker_started")
    responder.send(signal.SIGHUP)
    responder.wait_log("old_workers_draining")
    assert responder.stop() == 0
    served(responder)  # by the second one


# --- where it listens --------------------------------------------------------------------------------


def bound(family=socket.AF_UNIX, where=None):
    s = socket.socket(family)
    s.bind(str(where) if family == socket.AF_UNIX else ("127.0.0.1", 0))
    s.listen(128)
    return s


def test_socket_mode(testbed):
    responder = start(testbed, "--mode", "600")
    assert oct(responder.socket.stat().st_mode & 0o777) == "0o600"


def test_tcp(testbed):
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.close()
    start(testbed, "--listen", f"127.0.0.1:{port}")
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), timeout=10 * PATIENCE) as s:
            s.sendall(fastcgi.request("POST", "/poll_requests", b'{"message":"hi","thread_id":"1"}'))
            assert fastcgi.read_answer(s)[1].startswith(WAITING)


def test_spawn_fcgi(testbed, tmp_path):
    s = bound(where=tmp_path / "s")
    start(testbed, before=lambda: os.dup2(s.fileno(), 0))
    assert b"initializing" in fastcgi.ask(tmp_path / "s", "GET", "/")[1]


def test_systemd(testbed, tmp_path):
    s = bound(where=tmp_path / "s")
    service = testbed.service(start=False)
    script = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
    argv = ["/bin/sh", "-c", script, "sh", BUILD / "tt-agent-fcgi", "--run-dir", service.run, "--workers", "1"]
    process = testbed.own(Process("responder", argv, service.directory, pass_fds=[3],
                                before_exec=lambda: os.dup2(s.fileno(), 3)))
    process.wait_log("worker_started")
    assert b"initializing" in fastcgi.ask(tmp_path / "s", "GET", "/")[1]
    process.send(signal.SIGHUP)
    process.wait_log("old_workers_draining")
    assert b"initializing" in fastcgi.ask(tmp_path / "s", "GET", "/")[1]
    process.stop()
    assert (tmp_path / "s").exists(), "systemd's socket is not ours to remove"


@pytest.mark.parametrize("options, says", [
    (["--nope"], "unknown option --nope"),
    (["--workers", "many"], "--workers: 'many'"),
    (["--mode", "999"], "--mode: '999'"),
    (["--drain"], "--drain needs a value"),
    (["--log-level", "LOUD"], "DEBUG, INFO"),
    (["extra"], "unexpected argument"),
    (["--listen", "nowhere:1:2"], "HOST:PORT"),
    (["--listen", "127.0.0.1:65536"], "no port 65536"),
    (["--listen", "/" + "x" * 200], "at most 107 bytes"),
])
def test_command_line(testbed, options, says):
    process = testbed.own(Process("responder", [BUILD / "tt-agent-fcgi", *options], testbed.directory, own=True))
    process.expected_exit = {1, 2}
    process.wait()
    assert says in process.log()
