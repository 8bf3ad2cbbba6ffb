"""Descriptors, disk and memory run out: it is said, survived, and no LLM's fault."""

import json
import os
import re
import resource
import signal
import threading
import time

import pytest
from stage import fastcgi
from stage.channel import Daemon
from stage.held import holds
from stage.process import PATIENCE, wait_until
from stage.shortage import leave_descriptors

RARE = {"AGENT_HEALTH_CHECK_INTERVAL": "600", "AGENT_DISCOVERY_INTERVAL": "600"}
QUICK = {"AGENT_HEALTH_CHECK_INTERVAL": "0.2", "AGENT_DISCOVERY_INTERVAL": "0.3"}
FULL = "The agent is answering as many chats as it can at the moment. Please try again in a few seconds."
RAISE = "raise LimitNOFILE= of "


def two(stage):
    a, b = stage.llm(), stage.llm()
    return a, b, stage.backend({"d1": a.deployment(), "d2": {**b.deployment("Qwen3-8B"), "name": "c-d2"}})


def chats(service, count):
    """So many at once: [(seconds, turn)]."""
    found = []

    def one():
        began = time.monotonic()
        turn = service.chat("[plain]")
        found.append((time.monotonic() - began, turn))

    threads = [threading.Thread(target=one) for _ in range(count)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return found


def nobody_is_blamed(service):
    status = service.status()
    assert "ejected" not in status
    assert {m["status"] for m in status["available_models"]} == {"healthy"}
    assert not re.search("WARNING ejected|from=healthy", service.daemon.log())


# --- descriptors ---


def test_chats_that_do_not_fit_are_told_at_once(stage):
    a, b, backend = two(stage)
    service = stage.service(backend=backend, env=RARE, responder_limits={resource.RLIMIT_NOFILE: 96}).wait_ready()
    most = int(service.responder.wait_log(r"turns_max=(\d+)")[1])
    assert 16 <= most <= 24
    a.script(delay_us=20000, tokens=100)  # two seconds
    found = chats(service, 2 * most)
    served = [t for s, t in found if t.answer == "word " * 100]
    refused = [(s, t) for s, t in found if t.text == FULL]
    assert all(t.status == 200 and t.whole for s, t in found)
    assert len(served) == most and len(refused) == most
    assert all(s < 1.5 * PATIENCE for s, t in refused), "they did not wait for the others"
    nobody_is_blamed(service)
    assert len(re.findall("turns_full .*" + RAISE, service.responder.log())) == 1
    assert "no_resources" not in service.responder.log()
    assert [t.whole and t.text != FULL for s, t in chats(service, most)] == [True] * most


def test_a_full_worker_leaves_chats_to_those_with_room(stage):
    a, b, backend = two(stage)
    service = stage.service(backend=backend, env=RARE, workers=2, responder_limits={resource.RLIMIT_NOFILE: 96})
    service.wait_ready()
    most = int(service.responder.wait_log(r"turns_max=(\d+)")[1])
    a.script(delay_us=20000, tokens=100)
    body = b'{"message":"[plain]","thread_id":"resources"}'
    asked = []

    def ask(count):
        for _ in range(count):
            asked.append(stage.client(fastcgi.connect(service.socket)))
            asked[-1].sendall(fastcgi.request("POST", "/poll_requests", body))
        a.wait_request("/v1/chat/completions", len(asked))

    idle = service.worker_pids()[0]
    os.kill(idle, signal.SIGSTOP)
    ask(most)  # all of them to the other worker
    os.kill(idle, signal.SIGCONT)
    ask(most // 2)
    assert all(b"word word" in fastcgi.read_answer(s)[1] for s in asked)
    assert not re.search(RAISE, service.responder.log())


def test_a_worker_without_descriptors_blames_no_llm(stage):
    a, b, backend = two(stage)
    service = stage.service(backend=backend, env=RARE).wait_ready()
    a.script(stall_after=3)
    running = [stage.client(service.ask("[plain]")) for _ in range(2)]
    a.wait_request("/v1/chat/completions", 2)
    worker = service.worker_pids()[0]
    limit = leave_descriptors(worker, 1)  # for the web server
    found = [service.chat("[plain]") for _ in range(5)]
    assert [(t.status, t.text, t.whole) for t in found] == [(200, FULL, True)] * 5
    resource.prlimit(worker, resource.RLIMIT_NOFILE, limit)
    nobody_is_blamed(service)
    assert len(re.findall("no_resources .*" + RAISE, service.responder.log())) == 1
    a.script()
    assert service.chat("[plain]").answer.startswith("Hello")
    [e.close() for e in running]


def test_idle_connections_give_way(stage):
    """Each nginx worker keeps its own; where they are all that there may be, others must come in."""
    service = stage.service(start=False, responder_limits={resource.RLIMIT_NOFILE: 64})
    most = int(service.start_responder().wait_log(r"connections_max=(\d+)")[1])
    kept = []
    for _ in range(most):
        kept.append(stage.client(fastcgi.connect(service.socket)))
        kept[-1].sendall(fastcgi.request("GET", "/", keep=True))
        fastcgi.read_answer(kept[-1])
    for _ in range(3):
        assert b"initializing" in fastcgi.ask(service.socket, "GET", "/")[1]
    assert kept[0].recv(1) == b"", "the longest idle one"
    kept[-1].sendall(fastcgi.request("GET", "/", keep=True))
    assert b"initializing" in fastcgi.read_answer(kept[-1])[1]
    assert not re.search("connections_full|accept_failed", service.responder.log())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_daemon_with_few_descriptors_judges_no_llm_by_that(stage, host):
    """A hundred models are looked at at once, with descriptors for a few."""
    backend = stage.backend(many=100)
    deployed = backend.control.get("/models/deployed/").text.replace("127.0.0.1:", f"{host}:")
    backend.script(many=0, deployed=json.loads(deployed))
    daemon = Daemon(stage, backend=backend, env=QUICK, daemon_limits={resource.RLIMIT_NOFILE: 32})
    wait_until(lambda: daemon.ask("ping")["usable"] == 100, "all of them are usable")
    assert len(re.findall("no_resources .*" + RAISE, daemon.log())) == 1
    assert not re.search("health model=Many.*to=(unhealthy|degraded)", daemon.log())


def test_a_daemon_without_descriptors_keeps_its_verdicts(stage):
    a, b, backend = two(stage)
    daemon = Daemon(stage, backend=backend, env=RARE).wait_current("d1").wait_health("d2", "healthy")
    pid = daemon.process.pid
    wait_until(lambda: "tcp" not in holds(pid)["descriptors"], "no kept connection")
    limit = leave_descriptors(pid, 1)  # for who asks it
    a.forget()
    before = {name: (m["status"], m["failures"], m["checked"]) for name, m in daemon.models().items()}
    daemon.ask("refresh")
    assert {name: (m["status"], m["failures"], m["checked"]) for name, m in daemon.models().items()} == before
    assert daemon.current() == "d1" and a.requests() == []
    daemon.wait_log("no_resources .*" + RAISE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
    daemon.ask("refresh")
    wait_until(lambda: daemon.models()["d1"]["checked"] > before["d1"][2], "a look at it")
