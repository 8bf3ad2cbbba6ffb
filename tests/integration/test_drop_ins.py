# SPDX-License-Identifier: Apache-2.0
"""What the files of deploy/ promise beyond the endpoints (test_prefix.py): who counts as admin
behind other proxies, who authenticates users, what nginx answers itself; units."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

import httpx
import pytest

from harness import fastcgi
from harness.event_stream import EventStream
from harness.http_client import Exchange, Turn
from harness.process import SOURCE, wait_until
from harness.web_servers import Nginx, Proxy


@pytest.fixture(scope="module")
def one(shared):
    return shared.one()[0]


def refresh(host, *forwarded):
    headers = [("X-Forwarded-For", f) for f in forwarded]
    return httpx.post(f"http://{host}/refresh", headers=headers, verify=False, trust_env=False, timeout=30).status_code


@pytest.mark.parametrize("forwarded, status", [
    ((), 200),
    (("10.1.2.3",), 200),
    (("192.168.0.9:4711",), 200),
    (("::1, fd00::7",), 200),
    (("203.0.113.5",), 403),
    (("10.0.0.1, 203.0.113.5",), 403),   # the client made the first one up
    (("203.0.113.5, 10.0.0.1",), 403),   # a private proxy in between
    (("10.0.0.1", "203.0.113.5"), 403),  # in two lines
    (("203.0.113.5:4711",), 403),
    (("2001:db8::1",), 403),
    (("unknown",), 403),
])
def test_behind_another_proxy_the_clients_address_counts(one, forwarded, status):
    assert refresh(one.nginx.root, *forwarded) == status


@pytest.mark.parametrize("server", ["lighttpd", "apache"])
def test_other_servers_make_nobody_admin_who_came_through_a_proxy(one, server):
    host = one.host_of(server)
    assert refresh(host) == 200
    assert refresh(host, "10.1.2.3") == 403
    assert refresh(host, "203.0.113.5") == 403


@pytest.mark.parametrize("forwarded, status", [
    ((), 200),
    (("10.1.2.3",), 200),
    (("fd00::7",), 200),
    (("203.0.113.5",), 403),
    (("10.0.0.1, 203.0.113.5",), 403),
    (("10.0.0.1", "203.0.113.5"), 403),
    (("203.0.113.5:4711",), 403),
    (("[2001:db8::1]:4711",), 403),
    (("2001:db8::1",), 403),
    (("unknown",), 403),
])
@pytest.mark.parametrize("server", ["lighttpd", "apache"])
def test_a_module_for_proxies_goes_by_the_clients_address(behind_proxy, server, forwarded, status):
    """mod_extforward, mod_remoteip"""
    assert refresh(behind_proxy[server].host, *forwarded) == status


@pytest.fixture(scope="module")
def behind_proxy(one):
    return {"lighttpd": one.start_lighttpd(proxy="127.0.0.1"), "apache": one.start_apache(proxy="127.0.0.1")}


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_a_client_may_read_the_metrics_and_nothing_else(one, testbed, server):
    if server == "nginx":
        host = testbed.keep(Nginx(testbed, "nginx", one.socket, monitor="127.0.0.2")).root
    else:
        host = getattr(one, f"start_{server}")(monitor="127.0.0.2").host
    may = {}
    for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
        with httpx.Client(transport=httpx.HTTPTransport(local_address=address, verify=False), timeout=30) as client:
            may[address] = [client.get(f"http://{host}/metrics").status_code, client.post(f"http://{host}/refresh").status_code,
                            client.get(f"http://{host}/metrics", headers={"X-Forwarded-For": "unknown"}).status_code]
    assert may == {"127.0.0.1": [200, 200, 403], "127.0.0.2": [200, 403, 403], "127.0.0.3": [403, 403, 403]}


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_nobody_names_himself_a_user(one, server):
    """Without a password check a user in the request is not passed on: both see one thread."""

    def say(message, user):
        credentials = {"Authorization": httpx.BasicAuth(user, "x")._auth_header}
        body = {"message": message + ' [[{"echo": "users"}]]', "thread_id": f"a-thread-of-all-{server}"}
        return Turn(Exchange(one.host_of(server), "POST", "/poll_requests", body, headers=credentials)).text

    say("first", "anna")
    assert "first" in say("second", "bert")


class Dying:
    """In the place of the service: takes a request and closes, so often, and then answers."""

    def __init__(self, testbed, deaths):
        self.listener = testbed.client(socket.socket(socket.AF_UNIX))
        self.listener.bind(str(testbed.directory / "dying.sock"))
        self.listener.listen()
        self.deaths, self.requests = deaths, 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                self.requests += 1
                if self.requests > self.deaths:
                    text = b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nwhole"
                    connection.sendall(fastcgi.record(fastcgi.STDOUT, text) + fastcgi.record(fastcgi.STDOUT)
                                       + fastcgi.record(fastcgi.END, bytes(8)))


@pytest.mark.parametrize("deaths", range(5))
@pytest.mark.parametrize("server", ["root", "prefix"])
def test_three_workers_may_die_over_one_request(testbed, server, deaths):
    dying = Dying(testbed, deaths)
    nginx = testbed.keep(Nginx(testbed, "nginx", testbed.directory / "dying.sock"))
    answer = httpx.post(f"http://{getattr(nginx, server)}/agent/poll_requests", content=b"{}", verify=False, trust_env=False)
    if deaths < 4:
        assert (answer.status_code, answer.text) == (200, "whole")
    else:
        assert answer.status_code == 502 and "does not answer" in answer.json()["detail"]
    assert dying.requests == min(deaths + 1, 4)


@pytest.mark.parametrize("server", ["nginx", "apache"])
def test_a_server_that_compresses_leaves_the_stream_alone(one, server):
    rest = one.nginx.prefix if server == "nginx" else one.start_apache("tt-agent.conf").host
    compressed = httpx.get(f"http://{rest}/rest", headers={"Accept-Encoding": "gzip"}, verify=False, trust_env=False)
    assert compressed.headers["content-encoding"] == "gzip"  # the rest of this server
    turn = Turn(Exchange(one.host_of(server), "POST", "/poll_requests", {"message": "Hi", "thread_id": "z"},
                         headers={"Accept-Encoding": "gzip"}))
    assert turn.whole and "content-encoding" not in turn.headers


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_a_server_in_front_learns_not_to_buffer(one, server):
    turn = Turn(Exchange(one.host_of(server), "POST", "/poll_requests", {"message": "Hi", "thread_id": "z"}))
    assert turn.whole and turn.headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_events_pass_another_nginx_in_front_at_once(testbed, server):
    """One that collects answers still has all of them when the others have arrived."""
    service, _ = testbed.one()
    proxy = testbed.keep(Proxy(testbed, "proxy", service.host_of(server)))
    collected = testbed.client(socket.create_connection(proxy.collecting.split(":")))
    collected.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    stream = testbed.client(EventStream(proxy.plain))
    assert stream.exchange.status == 200
    stream.event("selected")
    for command, kind in ("drain", "drained"), ("undrain", "undrained"):
        service.ctl(command, "d1")
        stream.event(kind)
    collected.setblocking(False)
    try:
        assert b"data:" not in collected.recv(65536)
    except BlockingIOError:
        pass


def chunked(size):
    """(headers, body) of a request that doesn't say its length."""
    return ({"Content-Length": None, "Transfer-Encoding": "chunked"},
            b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size))


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
@pytest.mark.parametrize("size", [2 << 20, 9 << 20, 70 << 20])
def test_too_long_bodies_are_refused_in_the_form_of_a_turn(one, server, size):
    turn = one.chat("x" * size, host=one.host_of(server))
    assert turn.status == 200 and turn.whole and turn.text.startswith("This message is too long"), turn.raw[:3]
    assert turn.headers["x-request-id"]


def test_too_long_bodies_without_a_length_are_refused_by_apache(one):
    headers, body = chunked(9 << 20)
    turn = Turn(Exchange(one.host_of("apache"), "POST", "/poll_requests", body, headers=headers))
    assert turn.status == 200 and turn.whole and turn.text.startswith("This message is too long"), turn.raw[:3]
    assert one.chat("[plain]", host=one.host_of("apache")).text.startswith("Hello, world!")


def test_too_long_bodies_are_refused_wherever_nginx_has_the_service(one):
    headers, body = chunked(9 << 20)
    for host, path in ((one.nginx.root, ""), (one.nginx.prefix, "/agent")):
        turn = Turn(Exchange(host, "POST", f"{path}/poll_requests", body, headers=headers))
        assert turn.status == 200 and turn.whole and turn.text.startswith("This message is too long"), turn.raw[:3]
        assert one.chat("x" * (9 << 20), host=host, path=f"{path}/poll_requests").whole
        assert Exchange(host, "POST", f"{path}/nope", body, headers=headers).head().status == 404
    assert one.chat("[plain]").text.startswith("Hello, world!")


@pytest.mark.parametrize("size", [2 << 20, 9 << 20])
def test_too_long_bodies_get_413_where_the_status_is_strict(testbed, size):
    service, _ = testbed.one(sets=["http.strict_status=true"])
    for host in map(service.host_of, ["nginx", "lighttpd", "apache"]):
        turn = service.chat("x" * size, host=host)
        assert turn.status == 413 and "too long" in json.loads(turn.body)["detail"] and turn.headers["x-request-id"]


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_a_dead_worker_costs_no_request(testbed, server):
    service, _ = testbed.one(workers=2)
    host = service.host_of(server)
    for _ in range(5):
        assert service.chat("Hi", host=host).whole
        killed = service.worker_pids()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        if server == "apache":  # which does not ask twice: it has to see that its connections are closed
            wait_until(lambda: not set(killed) & set(service.worker_pids()), "they are dead")
        assert httpx.get(f"http://{host}/status", verify=False, trust_env=False).status_code == 200
        wait_until(lambda: len(service.worker_pids()) == 2, "both workers")


@pytest.mark.parametrize("server, status, new_id", [("nginx", 502, "[0-9]+-[0-9]+-[0-9.]+"), ("apache", 503, "[A-Za-z0-9+/@-]{10,}")])
def test_an_absent_service_is_said_in_json(testbed, server, status, new_id):
    service = testbed.service()
    root, prefix = service.host_of(server), service.nginx.prefix
    if server == "apache":
        prefix = service.start_apache("tt-agent.conf").host
    service.responder.stop()
    for host, path in ((root, "/"), (prefix, "/agent"), (prefix, "/agent/status")):
        answer = httpx.get(f"http://{host}{path}", verify=False, trust_env=False)
        assert answer.status_code == status and answer.headers["retry-after"] and answer.headers["content-type"] == "application/json"
        assert "does not answer" in answer.json()["detail"]
        assert re.fullmatch(new_id, answer.headers["x-request-id"])
        for sent, same in (("abc-123:~", True), ("a b", False), ("x" * 129, False)):
            answer = httpx.get(f"http://{host}{path}", headers={"X-Request-Id": sent}, verify=False, trust_env=False)
            assert (answer.headers["x-request-id"] == sent) == same
    long = service.chat("x" * (9 << 20), host=root)
    assert long.status == status and long.headers["x-request-id"]


def test_apache_passes_on_the_services_own_503(testbed):
    service, llm = testbed.one(sets=["http.strict_status=true", "limits.turns=1"])
    first = service.ask("[[" + json.dumps({"first_delay_us": 60000000}) + "]]")
    wait_until(lambda: llm.stats()["active"], "a turn runs")
    answer = Exchange(service.host_of("apache"), "POST", "/poll_requests", {"message": "Hi", "thread_id": "x"}).head()
    assert answer.status in (429, 503) and answer.headers["retry-after"] and "does not answer" not in answer.read().decode()
    first.close()


@pytest.mark.parametrize("unit, most", [("tt-agentd", 1.2), ("tt-agent-fcgi", 1.2), ("tt-agent-runner", 2.3),
                                        ("tt-agent-user-config@", 2.5)])
def test_units_are_hardened(tmp_path, unit, most):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    source, = (SOURCE / "deploy" / "systemd").glob(f"{unit}.service*")
    text = source.read_text()
    for name in ("sbindir", "bindir", "libexecdir"):
        text = text.replace(f"@{name}@", "/bin")
    assert "@" not in text.replace("@system-service", "").replace("@privileged", "").replace("@resources", "").replace(
        "@mount", "")
    file = tmp_path / f"{unit.replace('@', '@volume')}.service"
    file.write_text(text)
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", f"--threshold={int(most * 10)}", file],
                          capture_output=True, text=True)
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd-analyze is too old")
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


def test_the_unit_of_the_sandbox_lets_bubblewrap_open_files():
    """bubblewrap 0.12 calls openat2, to which these options answer that there is no such call."""
    unit = (SOURCE / "deploy" / "systemd" / "tt-agent-runner.service.in").read_text()
    assert not re.search("^(DynamicUser|RestrictSUIDSGID)=", unit, re.M)
    assert re.search("^User=tt-agent-runner$", unit, re.M)
    assert re.search("^u tt-agent-runner ", (SOURCE / "deploy" / "systemd" / "tt-agent.sysusers.in").read_text(), re.M)
