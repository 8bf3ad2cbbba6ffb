# SPDX-License-Identifier: Apache-2.0
"""Recent events: the ring in the run directory, and GET /events."""

import json
import os
import signal

import pytest
from harness import fastcgi
from harness.event_stream import EventStream
from harness.http_client import Exchange, Turn
from harness.process import WRAP, wait_until

KEYS = ["number", "epoch", "at", "kind", "model", "deploy_id", "was", "reason", "count"]
SLOW = "[[" + json.dumps({"tokens": 150, "token": "w# ", "numbered": True, "delay_us": 10000}) + "]]"


def follow(testbed, service, host=None, path="/events", **more):
    return testbed.client(EventStream(host or service.host, path, **more))


@pytest.fixture(scope="module")
def quiet(shared):
    """For tests that change nothing."""
    service, _ = shared.one()
    return service


@pytest.fixture(scope="module")
def lively(worlds):
    """For tests after which it is as it was: one healthy LLM, and the daemon and the responder run."""
    def make(testbed):
        service, llm = testbed.one(conf='prompts: { plain = "hush"; };\n', sets=["discovery.interval=0.5"])
        service.llm = llm
        return service

    return worlds.get("lively", make)


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_the_state_then_the_events(shared, quiet, server):
    service = quiet
    stream = follow(shared, service, service.host_of(server), "/agent/events" if server == "nginx" else "/events")
    assert stream.exchange.status == 200
    assert stream.exchange.headers["content-type"] == "text/event-stream"
    assert stream.exchange.headers["cache-control"] == "no-store"
    selected = stream.event("selected")
    assert stream.retries == [2000] and stream.messages[0][0] == "status"
    status = stream.status
    live = status.pop("live")
    assert status["status"] == "ready" and status.keys() == service.status().keys()
    assert live["streams"] == 0 and live["tokens_per_s"] is None and live["models"] == []
    assert live["turns"].keys() == {"running", "begun", "complete", "broken", "cancelled", "refused"}
    assert list(selected) == KEYS and selected["model"] == "Llama-3.1-8B-Instruct" and selected["deploy_id"] == "d1"
    events = stream.of("event")
    assert [e["number"] for e in events] == list(range(1, len(events) + 1))
    assert events[0]["kind"] == "started" and len({e["epoch"] for e in events}) == 1
    assert stream.last_id() == f"{events[-1]['epoch']}-{events[-1]['number']}"


def test_what_runs_is_shown_while_it_runs(lively):
    service = lively
    stream = follow(service.testbed, service)
    before = stream.until(lambda s: s.status)["live"]["turns"]
    exchange = service.ask(SLOW.replace("150", "300"))
    exchange.head()
    stream.until(lambda s: s.status["live"]["streams"] == 1, "a running turn")
    stream.until(lambda s: (s.status["live"]["tokens_per_s"] or 0) > 0, "its tokens")
    model = stream.status["live"]["models"][0]
    assert list(model) == ["name", "running", "tokens_per_s", "ttft_ms", "errors"]
    assert model["name"] == "Llama-3.1-8B-Instruct" and model["running"] == 1 and model["tokens_per_s"] > 0
    assert 0 <= model["ttft_ms"]["p50"] <= model["ttft_ms"]["p99"] and model["errors"] == 0
    assert Turn(exchange).whole
    # It is counted as complete a moment before it no longer runs.
    live = stream.until(lambda s: s.status["live"]["streams"] == 0 and s.status["live"], "its end")
    assert live["turns"] == {**before, "begun": before["begun"] + 1, "complete": before["complete"] + 1}
    assert live["models"][0]["running"] == 0


@pytest.mark.parametrize("fault, kind", [({"status": 503}, "failover"), ({"cut_after": 5}, "continued")])
def test_an_llm_that_fails_a_turn(testbed, fault, kind):
    service, _, _ = testbed.two(fault)
    stream = follow(testbed, service)
    assert service.chat("hello").whole
    event = stream.event(kind)
    assert event["model"] == "Qwen3-8B" and event["was"] == "Llama-3.1-8B-Instruct" and event["count"] == 1
    assert event["deploy_id"] == "d2" and event["reason"]
    stream.event("ejected", model="Llama-3.1-8B-Instruct")
    stream.event("selected", model="Qwen3-8B", was="Llama-3.1-8B-Instruct")


def test_many_failovers_at_once_are_one_event(testbed):
    service, first, _ = testbed.two(workers=2)
    stream = follow(testbed, service)
    exchanges = [service.ask(SLOW) for _ in range(40)]
    for e in exchanges:
        e.head()
    first.stop()
    assert all(Turn(e).whole for e in exchanges)
    stream.until(lambda s: sum(e["count"] for e in s.of("event") if e["kind"] in ("continued", "failover")) >= 40,
                 "40 failovers")
    events = [e for e in stream.of("event") if e["kind"] in ("continued", "failover")]
    assert sum(e["count"] for e in events) == 40 and len(events) <= 4


def test_an_answer_that_nobody_continues(testbed):
    service, _ = testbed.one({"cut_after": 5})
    stream = follow(testbed, service)
    assert "broke off" in service.chat("hello").text
    assert stream.event("broke_off")["model"] == "Llama-3.1-8B-Instruct"


@pytest.mark.skipif(bool(WRAP), reason="valgrind cannot follow a keeper")
def test_a_worker_that_dies(testbed):
    service, _ = testbed.one(workers=2)
    stream = follow(testbed, service)
    stream.event("selected")
    exchange = service.ask(SLOW)
    exchange.head()
    for pid in service.worker_pids():
        os.kill(pid, signal.SIGKILL)
    service.responder.expected_exit = {0}
    assert Turn(exchange).status == 200
    assert stream.end().messages
    again = follow(testbed, service, last_id=stream.last_id())
    died = again.event("worker_died")
    assert "signal 9" in died["reason"]
    again.until(lambda s: {e["kind"] for e in s.of("event")} & {"continued", "broke_off"}, "what became of the answer")


def test_a_model_that_is_drained(lively):
    service = lively
    stream = follow(service.testbed, service)
    stream.until(lambda s: s.status)
    for command, kind in (("drain", "drained"), ("undrain", "undrained")):
        service.ctl(command, "d1")
        event = stream.event(kind)
        assert event["deploy_id"] == "d1" and event["model"] == "Llama-3.1-8B-Instruct"


def test_the_last_event_id_goes_on(lively):
    service, testbed = lively, lively.testbed
    stream = follow(testbed, service)
    stream.event("selected")
    last, number = stream.last_id(), stream.of("event")[-1]["number"]
    stream.close()
    service.ctl("select", "d1")
    service.daemon.stop()
    again = follow(testbed, service, last_id=last)
    event = again.event("stopped")
    assert again.of("event")[0]["number"] == number + 1 and event["reason"]
    other = follow(testbed, service, last_id="0123456789abcdef-3")
    assert other.until(lambda s: s.of("event"))[0]["number"] == 1
    for odd in ("", "x", "-1", f"{event['epoch']}-", f"{event['epoch']}-99999999999999999999", "a" * 2000):
        assert follow(testbed, service, last_id=odd).until(lambda s: s.status)
    beyond = follow(testbed, service, last_id=f"{event['epoch']}-{event['number'] + 50}")
    service.start_daemon()
    assert beyond.event("started")["number"] == event["number"] + 1
    service.ctl("unselect")


def test_without_the_daemon(lively):
    service, testbed = lively, lively.testbed
    stream = follow(testbed, service)
    stream.event("selected")
    service.daemon.kill()
    stream.until(lambda s: s.status.get("stale"), "it is stale")
    assert follow(testbed, service).event("selected")
    service.start_daemon()
    assert "killed" in stream.event("started", number=stream.of("event")[-1]["number"] + 1)["reason"]
    stream.until(lambda s: not s.status.get("stale"), "it is fresh")


def test_settings_that_change(lively):
    service, before = lively, lively.conf.read_text()
    stream = follow(service.testbed, service)
    stream.event("selected")
    service.conf.write_text('prompts: { plain = "a secret plan"; };\nlog: { level = "DEBUG"; };\n')
    service.ctl("reload")
    event = stream.event("config_changed")
    assert "log.level INFO -> DEBUG" in event["reason"] and "prompts.plain" in event["reason"]
    assert "plan" not in event["reason"] and "hush" not in event["reason"]
    service.conf.write_text("nonsense")
    service.ctl("reload", ok=False)
    assert "tt-agent.conf:1" in stream.event("config_refused")["reason"]
    service.conf.write_text(before)
    service.ctl("reload")


def test_the_backend_fails_and_recovers(lively):
    service, testbed = lively, lively.testbed
    stream = follow(testbed, service)
    stream.event("selected")
    backend = next(o for o in testbed.others if o.process.name.startswith("backend"))
    backend.script(status=500)
    assert "500" in stream.event("discovery_failing")["reason"]
    backend.script(deployed={"d1": service.llm.deployment()})
    stream.event("discovery_recovered")
    assert [e["kind"] for e in stream.of("event")].count("discovery_failing") == 1


def test_words_of_an_llm_are_not_recorded(testbed):
    """They may quote the prompt."""
    service, _, _ = testbed.two({"status": 500, "body": json.dumps({"error": {"message": "cannot answer: my private question"}})})
    stream = follow(testbed, service)
    assert service.chat("my private question").whole
    assert stream.event("ejected")["reason"].endswith("a chat turn got HTTP 500")
    stream.event("failover")
    stream.event("selected", model="Qwen3-8B")
    ring = (service.run / "events.v1").read_bytes()
    assert b"private" not in ring and b"a chat turn got HTTP 500" in ring
    assert not any("private" in json.dumps(e) for e in stream.of("event"))


def test_a_brief_stream(testbed):
    """The same that /status shows: to others than admins no addresses, no errors."""
    service, _, _ = testbed.two({"status": 500}, sets=["http.public_status=brief"])
    service.chat("hello")
    stream = follow(testbed, service, service.socket, params={"TT_AGENT_ADMIN": "1"})
    failover = stream.event("failover")
    assert list(failover) == KEYS and failover["model"] == "Qwen3-8B"
    assert failover["reason"] and failover["deploy_id"] == "d2" and stream.status["available_models"]
    stream = follow(testbed, service, service.socket, params={"TT_AGENT_ADMIN": ""})
    failover = stream.event("failover")
    assert list(failover) == KEYS and failover["model"] == "Qwen3-8B"
    assert stream.status.keys() == {"status", "model_name", "discovery_summary", "live"}
    assert all(e["reason"] is None and e["deploy_id"] is None for e in stream.of("event"))
    assert "127.0.0.1" not in json.dumps(stream.messages)


def test_head_and_other_methods(quiet):
    service = quiet
    head = Exchange(service.host, "HEAD", "/events").head()
    assert head.status == 200 and head.headers["content-type"] == "text/event-stream"
    answer = Exchange(service.host, "POST", "/events").head()
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD"
    foreign = Exchange(service.host, "GET", "/events", headers={"Origin": "https://evil.example"}).head()
    assert foreign.status == 403


def test_there_are_only_so_many(testbed):
    service, _ = testbed.one(sets=["limits.event_streams=3", "limits.client_event_streams=2"])
    first, second = (follow(testbed, service) for _ in range(2))
    third = Exchange(service.host, "GET", "/events").head()
    assert third.status == 429 and "retry-after" in third.headers
    first.close()
    wait_until(lambda: Exchange(service.host, "GET", "/events").head().status == 200, "a place that is free again")
    assert second.until(lambda s: s.status)


def many(testbed, count=400):
    """A service whose /status is longer than a socket's buffer."""
    llm = testbed.llm()
    backend = testbed.backend({f"d{n}": llm.deployment(f"Model-{n}", name=f"c-{n}") for n in range(count)})
    return testbed.service(backend=backend).wait_ready()


def gone(pid):
    return not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("how", ["reload", "stop"])
def test_no_stream_delays_the_end_of_a_worker(testbed, how):
    service = many(testbed)
    service.wait_status(lambda s: len(s["available_models"]) == 400, "all models")
    stream = follow(testbed, service)
    stream.until(lambda s: s.status)
    stuck = follow(testbed, service, service.socket)  # reads nothing
    silent = follow(testbed, service)
    silent.until(lambda s: s.status)
    old = service.worker_pids()
    if how == "reload":
        service.responder.send(signal.SIGHUP)
    else:
        service.responder.stop()
    wait_until(lambda: all(gone(p) for p in old), "the end of the old workers", 10)
    for s in (stream, silent):
        assert s.end().retries == [2000, 1000] and not s.cut
    if how == "reload":
        assert follow(testbed, service, last_id=stream.last_id()).until(lambda s: s.status)
    stuck.close()


def test_a_stream_that_comes_to_a_worker_that_drains(lively):
    service = lively
    exchange = service.ask(SLOW)
    exchange.head()  # the worker does not end before it
    kept = fastcgi.connect(service.socket)
    kept.sendall(fastcgi.request("GET", "/", keep=True))
    fastcgi.read_answer(kept)
    service.responder.send(signal.SIGHUP)
    service.responder.wait_log("worker_draining")
    kept.sendall(fastcgi.request("GET", "/events"))
    _, body = fastcgi.read_answer(kept)
    assert body == b"retry: 1000\n\n"
    assert Turn(exchange).whole


@pytest.mark.long
def test_a_client_that_reads_nothing_is_dropped(testbed):
    service = many(testbed)
    stuck = follow(testbed, service, service.socket)
    other = follow(testbed, service)
    other.until(lambda s: s.status)
    pid = service.worker_pids()[0]
    before = len(os.listdir(f"/proc/{pid}/fd"))
    wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) < before, "its connection is closed", 30)
    assert stuck.end().text  # cut in the middle of something
    assert other.until(lambda s: s.status)


def recorded(service, *arguments, ok=True):
    """tt-agentctl events --since: each event."""
    done = service.ctl("events", "--since", *arguments, ok=False)
    assert not ok or done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()] if ok else done


def test_recorded_events_on_the_command_line(lively):
    service = lively
    events = wait_until(lambda: [e for e in recorded(service, "1") if e["kind"] == "selected"] and recorded(service, "1"), "events")
    assert [e["number"] for e in events] == list(range(1, len(events) + 1)) and list(events[0]) == KEYS
    assert recorded(service, str(events[-1]["number"])) == events[-1:]
    assert recorded(service, "10m") == events and recorded(service, "now") == []
    assert recorded(service, f"@{int(events[-1]['at']) + 1}") == []
    service.daemon.stop()
    assert [e["kind"] for e in recorded(service, "today")][-1] == "stopped"
    service.start_daemon()
    assert recorded(service, "noon", ok=False).returncode == 2


def test_events_of_a_directory_without_a_daemon(testbed):
    service = testbed.service(start=False)
    done = recorded(service, "1", ok=False)
    assert done.returncode == 3 and "never run there" in json.loads(done.stdout)["message"]
