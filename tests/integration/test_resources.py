# SPDX-License-Identifier: Apache-2.0
"""File descriptors, disk and memory run out: this is reported, survived, and not blamed on an LLM."""

import json
import os
import re
import resource
import signal
import subprocess
import threading
import time

import pytest
from harness import fastcgi
from harness.daemon import Daemon
from harness.exhaustion import Disk, leave_descriptors, leave_memory
from harness.process import PATIENCE, WRAP, wait_until
from harness.process_usage import holds

RARE = {"AGENT_HEALTH_CHECK_INTERVAL": "600", "AGENT_DISCOVERY_INTERVAL": "600"}
QUICK = {"AGENT_HEALTH_CHECK_INTERVAL": "0.2", "AGENT_DISCOVERY_INTERVAL": "0.3"}
FULL = "The agent is answering as many chats as it can at the moment. Please try again in a few seconds."
RAISE = "raise LimitNOFILE= of "


def two(testbed):
    a, b = testbed.llm(), testbed.llm()
    return a, b, testbed.backend({"d1": a.deployment(), "d2": {**b.deployment("Qwen3-8B"), "name": "c-d2"}})


def chats(service, count, message="[plain]"):
    """So many at once: [(seconds, turn)]."""
    found = []

    def one():
        began = time.monotonic()
        turn = service.chat(message)
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

few_descriptors = pytest.mark.skipif(bool(WRAP), reason="valgrind takes descriptors of its own")


def test_chats_that_do_not_fit_are_reported_at_once(testbed):
    a, b, backend = two(testbed)
    service = testbed.service(backend=backend, env=RARE, responder_limits={resource.RLIMIT_NOFILE: 96}).wait_ready()
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


@few_descriptors
def test_a_full_worker_leaves_chats_to_those_with_room(testbed):
    a, b, backend = two(testbed)
    service = testbed.service(backend=backend, env=RARE, workers=2, responder_limits={resource.RLIMIT_NOFILE: 96})
    service.wait_ready()
    most = int(service.responder.wait_log(r"turns_max=(\d+)")[1])
    a.script(delay_us=20000, tokens=100)
    body = b'{"message":"[plain]","thread_id":"resources"}'
    asked = []

    def ask(count):
        for _ in range(count):
            asked.append(testbed.client(fastcgi.connect(service.socket)))
            asked[-1].sendall(fastcgi.request("POST", "/poll_requests", body))
        a.wait_request("/v1/chat/completions", len(asked))

    idle = service.worker_pids()[0]
    os.kill(idle, signal.SIGSTOP)
    ask(most)  # all of them to the other worker
    os.kill(idle, signal.SIGCONT)
    ask(most // 2)
    assert all(b"word word" in fastcgi.read_answer(s)[1] for s in asked)
    assert not re.search(RAISE, service.responder.log())


@few_descriptors
def test_a_worker_without_descriptors_blames_no_llm(testbed):
    a, b, backend = two(testbed)
    service = testbed.service(backend=backend, env=RARE).wait_ready()
    a.script(stall_after=3)
    running = [testbed.client(service.ask("[plain]")) for _ in range(2)]
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


def test_idle_connections_give_way(testbed):
    """Each nginx worker keeps its own; where they are all that there may be, others must come in."""
    service = testbed.service(start=False, responder_limits={resource.RLIMIT_NOFILE: 64})
    most = int(service.start_responder().wait_log(r"connections_max=(\d+)")[1])
    kept = []
    for _ in range(most):
        kept.append(testbed.client(fastcgi.connect(service.socket)))
        kept[-1].sendall(fastcgi.request("GET", "/", keep=True))
        fastcgi.read_answer(kept[-1])
    for _ in range(3):
        assert b"initializing" in fastcgi.ask(service.socket, "GET", "/")[1]
    assert kept[0].recv(1) == b"", "the longest idle one"
    kept[-1].sendall(fastcgi.request("GET", "/", keep=True))
    assert b"initializing" in fastcgi.read_answer(kept[-1])[1]
    assert not re.search("connections_full|accept_failed", service.responder.log())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_daemon_with_few_descriptors_judges_no_llm_by_that(testbed, host):
    """A hundred models are looked at at once, with descriptors for a few."""
    backend = testbed.backend(many=100)
    deployed = backend.control.get("/models/deployed/").text.replace("127.0.0.1:", f"{host}:")
    backend.script(many=0, deployed=json.loads(deployed))
    daemon = Daemon(testbed, backend=backend, env=QUICK, daemon_limits={resource.RLIMIT_NOFILE: 32})
    wait_until(lambda: daemon.ask("ping")["usable"] == 100, "all of them are usable")
    assert len(re.findall("no_resources .*" + RAISE, daemon.log())) == 1
    assert not re.search("health model=Many.*to=(unhealthy|degraded)", daemon.log())


@few_descriptors
def test_a_daemon_without_descriptors_keeps_its_verdicts(testbed):
    a, b, backend = two(testbed)
    daemon = Daemon(testbed, backend=backend, env=RARE).wait_current("d1").wait_health("d2", "healthy")
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


# --- a full disk ---


@pytest.fixture
def disk(tmp_path, request):
    """Named before `testbed` by a test, it outlives what runs on it."""
    try:
        d = Disk(tmp_path, getattr(request, "param", 1024))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nobody may mount a small file system here")
    yield d
    d.close()


def said(llm):
    """The user's words of the last request to the LLM, oldest first."""
    return [m["content"] for m in llm.chats()[-1]["body"]["messages"] if m["role"] == "user"]


def remembers(service, llm, thread):
    """Whether a turn still knows the one before."""
    assert all(service.chat(word, thread).whole for word in ("first", "second"))
    return said(llm)[-2:] == ["first", "second"]


def test_a_full_disk_costs_the_memory_not_the_chat(disk, testbed):
    service, llm = testbed.one({"text": ["yes"]}, sets=[f"threads.store=sqlite:{disk.directory}/threads.db"])
    assert remembers(service, llm, "a-thread-of-its-own")
    disk.fill()
    for n in range(20):
        turn = service.chat(f"word {n} " + 2000 * "x", "a-thread-of-its-own")
        assert turn.whole and turn.answer == "yes"
    service.responder.wait_log("ERROR threads_database .*disk is full")
    disk.empty()
    wait_until(lambda: remembers(service, llm, "another-thread"), "memory again")
    service.responder.wait_log("INFO threads_database state=\"usable again\"")
    assert len(re.findall("disk is full", service.responder.log())) == 1


def test_a_disk_that_is_full_at_the_start(disk, testbed):
    disk.fill()
    service, llm = testbed.one({"text": ["yes"]}, sets=[f"threads.store=sqlite:{disk.directory}/threads.db"])
    assert service.chat("first", "a-thread-of-its-own").answer == "yes"
    disk.empty()
    wait_until(lambda: remembers(service, llm, "another-thread"), "memory again")
    assert len(re.findall("disk is full", service.responder.log())) == 1


@pytest.mark.parametrize("disk", [32768], indirect=True)
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_conversations_are_deleted_on_a_full_disk(disk, testbed, running):
    service, llm = testbed.one({"text": ["yes"]}, sets=[f"threads.store=sqlite:{disk.directory}/threads.db"])
    for n in range(40):
        assert service.chat(f"{n} " + 40000 * "x", f"a-thread-of-its-own-{n % 8}").whole
    if not running:
        service.responder.stop()
    disk.fill()
    assert service.ctl("threads", "delete", "a-thread-of-its-own-0")["message"] == "1 thread deleted"
    disk.fill()
    assert service.ctl("threads", "delete-all")["message"] == "7 threads deleted"
    size = service.ctl("threads", "stat")
    assert size["threads"] == 0 and size["disk_bytes"] < 100000
    if running:
        wait_until(lambda: remembers(service, llm, "another-thread"), "memory again")


@pytest.fixture
def small_run(disk, testbed):
    """A service of two LLMs whose run directory is on the disk; not started yet."""
    a, b, backend = two(testbed)
    service = testbed.service(start=False, backend=backend, env=QUICK, workers=2)
    service.run = disk.directory / "run"
    service.run.mkdir()
    service.preferred = a
    return service


def test_a_full_run_directory(disk, small_run):
    service = small_run.start().wait_ready()
    service.wait_status(lambda s: s["discovery_summary"]["healthy"] == 2, "both are healthy")
    disk.fill()
    service.preferred.script(health_status=500)
    service.daemon.wait_log("INFO selection .*deploy_id=d2")
    # What an earlier file had taken is filled as well.
    wait_until(lambda: disk.fill() or re.search("ERROR publish", service.daemon.log()), "nothing can be written")
    assert service.chat("[plain]").whole, "the workers go on with what they know"
    killed = service.worker_pids()[0]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(set(service.worker_pids()) - {killed}) == 2, "a new worker")
    assert [service.chat("[plain]").whole for _ in range(8)] == [True] * 8
    disk.empty()
    service.wait_status(lambda s: s["current_llm"]["llm_info"]["deploy_id"] == "d2", "the news is out")
    service.daemon.wait_log("INFO publish again=")
    assert len(re.findall("ERROR publish .*No space left on device", service.daemon.log())) == 1


def test_a_run_directory_that_is_full_at_the_start(disk, small_run):
    disk.fill()
    daemon = small_run.start_daemon()
    daemon.expected_exit = {1}  # systemd starts it again and again
    daemon.wait()
    assert re.search("CRITICAL ended error=.*/run/.*No space left on device", daemon.log())
    small_run.start_responder().wait_log("worker_started")
    assert b"initializing" in fastcgi.ask(small_run.socket, "GET", "/")[1]
    assert b"waiting" in fastcgi.ask(small_run.socket, "POST", "/poll_requests", b'{"message":"a","thread_id":"b"}')[1]
    disk.empty()
    small_run.start_daemon()
    wait_until(lambda: b'"ready"' in fastcgi.ask(small_run.socket, "GET", "/")[1], "ready")


def test_a_configuration_that_could_not_be_published_is_published_later(testbed):
    service, llm = testbed.one(conf="")
    number = max(int(f.suffix[1:]) for f in service.run.glob("config.*"))
    in_the_way = service.run / f"config.{number + 1}"
    in_the_way.mkdir()
    service.conf.write_text("limits: { client_turns = 1; };\nhttp: { strict_status = true; };\n")
    service.ctl("reload")
    service.daemon.wait_log(rf"ERROR publish error=.*replace .*config.{number + 1}: ")
    generation = service.ctl("ping")["generation"]
    service.ctl("refresh")
    wait_until(lambda: service.ctl("ping")["generation"] > generation, "the state is published all the same")
    body = b'{"message":"[[{\\"stall_after\\":1}]]","thread_id":"1"}'
    running = testbed.client(fastcgi.connect(service.socket))
    running.sendall(fastcgi.request("POST", "/poll_requests", body))
    llm.wait_request("/v1/chat/completions")
    assert service.chat("[plain]").status == 200
    in_the_way.rmdir()
    wait_until(lambda: service.chat("[plain]").status == 429, "the workers have it")
    assert len(re.findall("ERROR publish", service.daemon.log())) == 1
    service.daemon.wait_log("INFO publish again=")
    running.close()


# --- no memory ---


@pytest.mark.skipif(PATIENCE > 1, reason="a sanitizer and valgrind take address space of their own")
@pytest.mark.parametrize("kib", [0, 256, 1024, 4096])
def test_a_worker_without_memory_answers_refuses_or_is_replaced(testbed, kib):
    a, b, backend = two(testbed)
    service = testbed.service(backend=backend, env=RARE).wait_ready()
    worker = service.worker_pids()[0]
    leave_memory(worker, kib)
    a.script(tokens=2000)
    found = [t for s, t in chats(service, 60, "[plain] " + 20000 * "x")]
    if service.worker_pids() == [worker]:
        refused = [t.status for t in found if not t.whole]
        assert set(refused) <= {502}  # where not even a request fits
        assert not refused or "no memory for a request" in service.responder.log()
        leave_memory(worker, None)
    else:  # libfcgi ends it; what is not answered by the next one is said by nginx, or cut before its [STATS]
        testbed.ignore_faults.append(service.responder)
        assert {t.status for t in found if t.whole} <= {200}
        assert {t.status for t in found} <= {200, 502}
    assert service.chat("[plain]").answer == "word " * 2000
    nobody_is_blamed(service)
