# SPDX-License-Identifier: Apache-2.0
"""Logs: JSON lines, the line of each request, ids that lead from a client to LLMs and tools, and the
access logs of the web servers."""

import datetime
import json
import os
import re
import signal

import httpx
import pytest

from harness import fastcgi
from harness.http_client import Exchange
from harness.llm_script import inline
from harness.process import wait_until
from harness.tool_mocks import CODE, SEARCH, call, calls, e2b, e2b_env, rounds, search, search_env

SLOW = inline(tokens=1000, delay_us=100000)
# The responder starts before tt-agentd has published the format; the option holds from its first line on.
JSON = {"sets": ["log.format=json", "log.requests=true"], "options": ["--log-format", "json"]}


def lines(process):
    """Each line that is complete, as an object; a line of another kind is an error."""
    return [json.loads(line) for line in process.log().split("\n")[:-1]]


def requests(process, **fields):
    return [r for r in lines(process) if r["event"] == "request" and fields.items() <= r.items()]


def wait_line(process, **fields):
    """The line of the one request with these fields, which is written after the client has its answer."""
    wait_until(lambda: requests(process, **fields), f"a line of {fields}")
    found = requests(process, **fields)
    assert len(found) == 1, found
    return found[0]


class World:
    def __init__(self, testbed):
        self.search = search(testbed)
        self.e2b = e2b(testbed)
        self.service, self.llm = testbed.one(env={**search_env(self.search), **e2b_env(self.e2b)}, **JSON)
        self.log = self.service.responder


@pytest.fixture(scope="module")
def world(shared):
    return World(shared)


# --- lines of JSON ---


def test_every_line_of_both_programs_is_an_object(world):
    for process, program in ((world.service.daemon, "tt-agentd"), (world.service.responder, "tt-agent-fcgi")):
        found = lines(process)
        assert len(found) > 1
        for line in found:
            assert list(line)[:5] == ["time", "level", "event", "program", "pid"], line
            assert line["program"] == program and isinstance(line["pid"], int)
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
            datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
    started = [line for line in lines(world.service.responder) if line["event"] == "worker_started"][0]
    assert isinstance(started["turns_max"], int) and started["event_pid"] == started["pid"]
    assert any(line["event"] == "listening" for line in lines(world.service.responder)), "the parent's lines as well"


def test_another_format_takes_effect_with_a_reload(testbed):
    service = testbed.service(conf='log: { format = "text"; };')
    service.conf.write_text('log: { format = "json"; };')
    service.ctl("reload")
    service.ctl("reload")
    wait_until(lambda: service.daemon.log().splitlines()[-1].startswith("{"), "a daemon's line of JSON")
    service.http.get("/")  # the worker has the configuration now
    victim = service.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    service.responder.wait_log(r'^\{.*"event":"worker_died".*\}$')
    died = json.loads([line for line in service.responder.log().splitlines() if "worker_died" in line][0])
    assert died["event_pid"] == victim and died["pid"] == service.responder.pid and died["signal"] == "Killed"


def test_options_override_the_configuration(testbed):
    service = testbed.service(sets=["log.format=json"], options=["--log-format", "text"])
    assert service.daemon.log().startswith("{") and "INFO worker_started pid=" in service.responder.log()


def test_errors_before_the_configuration_is_read_are_text(testbed):
    service = testbed.service(start=False, sets=["log.format=json", "local.port=x"])
    daemon = service.start_daemon()
    daemon.expected_exit = {1}
    daemon.wait()
    assert "local.port" in daemon.log() and not daemon.log().startswith("{")


# --- one line for each request ---


def test_a_request_has_one_line(world):
    answer = httpx.get(f"{world.service.url}/status?secret=1", headers={"X-Request-Id": "one"}, verify=False, trust_env=False)
    line = wait_line(world.log, request_id="one")
    assert line["client"] == "127.0.0.1" and line["method"] == "GET" and line["path"] == "/status"
    assert line["status"] == 200 and line["bytes"] == len(answer.content) and line["outcome"] == "whole"
    assert isinstance(line["duration"], float) and 0 <= line["duration"] < 60
    assert not {"model", "ttft", "tokens", "turn"} & set(line)
    assert "secret" not in world.log.log()


@pytest.mark.parametrize("method, path, status, logged", [
    ("GET", "/nothing/here?x", 404, "/nothing/here"),
    ("DELETE", "/status", 405, "/status"),
    ("HEAD", "/agent/", 200, "/agent/"),
    ("GET", "/%22forged%09%FF", 404, "/%22forged%09%FF"),
    ("GET", "/" + "a" * 900, 404, "/" + "a" * 254),
])
def test_other_requests(world, method, path, status, logged):
    id = f"other-{status}-{len(path)}"
    answer = httpx.request(method, world.service.url + path, headers={"X-Request-Id": id}, verify=False, trust_env=False)
    line = wait_line(world.log, request_id=id)
    assert answer.status_code == status == line["status"]
    assert (line["method"], line["path"], line["outcome"]) == (method, logged, "whole")


@pytest.mark.parametrize("uri, path", [
    ("http://user:password@host/status?q", "/status"),
    ("/status\xff\x1b[31m", "/status\ufffd\x1b[31m"),
    ("http://host", ""),
    ("/a#fragment", "/a"),
])
def test_odd_targets_from_a_peer(world, uri, path):
    id = "odd-" + uri.encode("latin-1").hex()
    fastcgi.ask(world.service.socket, "GET", "/status", REQUEST_URI=uri.encode("latin-1"), HTTP_X_REQUEST_ID=id)
    assert wait_line(world.log, request_id=id)["path"] == path
    assert "password" not in world.log.log()


def test_a_turn_has_one_line_with_all_that_its_own_line_would_say(world):
    turn = world.service.chat("hello", headers={"X-Request-Id": "turn-1"})
    line = wait_line(world.log, request_id="turn-1")
    assert turn.whole and line["path"] == "/poll_requests" and line["method"] == "POST"
    assert line["outcome"] == "whole" and line["turn"] == "complete" and line["bytes"] == len(turn.body.encode())
    assert line["model"] == "meta-llama/Llama-3.1-8B-Instruct" and line["tokens"] == turn.stats["tokens_decoded"]
    assert abs(line["ttft"] - turn.stats["ttft"]) < 0.002 and line["duration"] >= line["ttft"]
    assert line["tools"] == line["failovers"] == 0
    assert not [r for r in lines(world.log) if r["event"] == "turn"]


def test_without_the_setting_a_turn_has_its_own_line_alone(testbed):
    service, _ = testbed.one()
    service.chat("hello")
    service.responder.wait_log(r"INFO turn request_id=[\w.-]+ client=127.0.0.1 model=\S+ status=complete")
    assert " request " not in service.responder.log()


def test_a_client_that_leaves(world):
    exchange = world.service.ask(SLOW,
                                 headers={"X-Request-Id": "left"})
    next(exchange.chunks())
    exchange.reset()
    line = wait_line(world.log, request_id="left")
    assert line["outcome"] == line["turn"] == "cancelled" and line["bytes"] > 0 and line["status"] == 200


def test_an_answer_that_breaks_off(testbed):
    service, llm = testbed.one({"cut_after": 3}, **JSON)
    turn = service.chat("hello", headers={"X-Request-Id": "broken"})
    line = wait_line(service.responder, request_id="broken")
    assert "broke off" in turn.text
    assert line["outcome"] == "broke_off" and line["turn"] == "broken" and line["reason"].startswith("cut")


def test_a_refused_turn(testbed):
    service, _ = testbed.one(sets=[*JSON["sets"], "limits.turns=1"], options=JSON["options"])
    first = service.ask(SLOW)
    next(first.chunks())
    service.chat("hello", headers={"X-Request-Id": "refused"})
    line = wait_line(service.responder, request_id="refused")
    assert line["outcome"] == "refused" and "as many chats as it can" in line["reason"] and "turn" not in line
    first.reset()


def test_an_answer_that_another_worker_resumes_has_the_line_of_that_one(testbed):
    service, _ = testbed.one(**JSON, workers=2)
    exchanges = [service.ask(inline(tokens=200, delay_us=5000), headers={"X-Request-Id": f"resumed-{n}"}) for n in range(6)]
    for e in exchanges:
        e.head()
    for pid in service.worker_pids():
        os.kill(pid, signal.SIGKILL)
    for e in exchanges:
        e.read()
    # One that was being written when its worker died is only told that it broke off (test_worker_death).
    found = wait_until(lambda: [line for line in requests(service.responder) if line["request_id"].startswith("resumed-")],
                       "a line of a resumed answer")
    assert all(line["outcome"] in ("whole", "broke_off") and line["path"] == "/poll_requests" for line in found)


# --- the id of a request ---


def test_the_id_goes_to_the_llm_with_a_suffix_and_to_tools_as_it_is(world):
    for mock in (world.llm, world.search, world.e2b):
        mock.forget()
    turn = world.service.chat(rounds(calls(call(SEARCH, query="x"), call(CODE, id="b", code="print(1)")), {"text": "done"}),
                              headers={"X-Request-Id": "id-of.mine"})
    assert turn.whole and turn.headers["x-request-id"] == "id-of.mine"
    sent = [r["headers"]["x-request-id"] for r in world.llm.chats()]
    assert len(sent) == 2 and len(set(sent)) == 2, "no LLM gets the same id twice"
    assert all(re.fullmatch(r"id-of\.mine-[0-9a-f]{8}", id) for id in sent)
    assert [r["headers"]["x-request-id"] for r in world.search.requests()] == ["id-of.mine"]
    assert {r["headers"].get("x-request-id") for r in world.e2b.requests()} == {"id-of.mine"}


def test_two_requests_with_one_id_are_two_at_the_llm(world):
    world.llm.forget()
    for _ in range(2):
        world.service.chat("hello", headers={"X-Request-Id": "same"})
    sent = [r["headers"]["x-request-id"] for r in world.llm.chats()]
    assert len(set(sent)) == 2 and all(id.startswith("same-") for id in sent)


@pytest.mark.parametrize("given", ["a b", "x" * 129, 'forged"', "ä", "{}", "%0a", "a,b"])
def test_an_id_that_nobody_should_log_is_replaced(world, given):
    world.llm.forget()
    turn = world.service.chat("hello", headers={"X-Request-Id": given})
    id = turn.headers["x-request-id"]
    assert re.fullmatch(r"\d+-\d+-\d+\.\d{3}", id)
    assert wait_line(world.log, request_id=id)["outcome"] == "whole"
    assert world.llm.chats()[0]["headers"]["x-request-id"].startswith(id + "-")


# --- the access logs of the web servers ---


def wait_lines(log, ids):
    """The lines of these requests."""

    def look():
        found = log.read_text(errors="replace").splitlines() if log.exists() else []
        found = [line for line in found if any(id in line for id in ids)]
        return found if len(found) >= len(ids) else None

    return wait_until(look, f"lines of {ids} in {log.name}")


def one_of_each(host):
    """A whole chat, a request without an id, one with a bad id; the ids that the client got."""
    ids = []
    for method, path, body, headers in [("POST", "/poll_requests?q=secret", {"message": "hello", "thread_id": ""}, {"X-Request-Id": "mine"}),
                                        ("GET", "/", None, {}), ("GET", "/nothing%22?q=secret", None, {"X-Request-Id": 'a"b'})]:
        exchange = Exchange(host, method, path, body, headers=headers)
        exchange.read()
        exchange.close()
        ids.append(exchange.headers["x-request-id"])
    return ids


def test_nginx_logs_what_the_service_logs(testbed):
    log = testbed.directory / "nginx-access.log"
    service, _ = testbed.one(**JSON, access_log=log)
    ids = one_of_each(service.nginx.root)
    exchange = service.ask(SLOW, headers={"X-Request-Id": "left"})
    next(exchange.chunks())
    exchange.reset()
    found = {line["request_id"]: line for line in map(json.loads, wait_lines(log, [*ids, "left"]))}
    assert set(found) == {*ids, "left"} and ids[0] == "mine" and "secret" not in log.read_text()
    for id, line in found.items():
        own = wait_line(service.responder, request_id=id)
        for key in ("client", "method", "path"):
            assert line[key] == own[key], key
        assert line["outcome"] == own["outcome"] and line["status"] in ((200, 499) if id == "left" else (own["status"],))
        if id != "left":  # nginx counts what divides an answer in chunks as well
            assert line["bytes"] >= own["bytes"]
        assert line["duration"] >= 0
    assert found["mine"]["bytes"] > 0 and float(found["mine"]["first_byte"]) >= 0


@pytest.mark.parametrize("server", ["lighttpd", "apache"])
def test_other_servers_log_what_the_service_logs(testbed, server):
    service, _ = testbed.one(**JSON)
    log = testbed.directory / f"{server}-access.log"
    other = getattr(service, f"start_{server}")(access_log=log)
    ids = one_of_each(other.host)
    other.stop()  # lighttpd writes its log every few seconds
    wanted = re.compile(r'(\S+) request request_id=(\S+) client=(\S+) method=(\S+) path="(.*)" status=(\d+) bytes=(\d+) duration_us=(\d+)')
    found = {}
    for line in wait_lines(log, ids):
        time, id, *rest = wanted.fullmatch(line).groups()
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", time)
        found[id] = rest
    assert set(found) == {*ids} and "secret" not in log.read_text()
    for id in ids:
        own = wait_line(service.responder, request_id=id)
        assert found[id][:2] == [own["client"], own["method"]] and found[id][3] == str(own["status"])
        assert int(found[id][4]) >= own["bytes"]
