# SPDX-License-Identifier: Apache-2.0
"""The responder's parent: answers that outlive their time, a new program that does not run,
and what continues while the parent itself is stopped."""

import json
import os
import shutil
import signal
import time

import pytest

from harness import fastcgi
from harness.http_client import Turn
from harness.llm_script import PLAIN, said, words
from harness.process import BUILD, PATIENCE, WRAP, wait_until
from harness.process_usage import holds
from harness.tool_mocks import SEARCH, call, calls, rounds, search, search_env

ENDLESS = words(3000, delay_us=50000)  # 150 s
SECONDS = 1  # for which workers may drain


def stopped(pid):
    return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T"


def stop_process(pid):
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: stopped(pid), f"{pid} is stopped")


# --- the time to drain ----------------------------------------------------------------------


def draining(testbed, **more):
    """(service, LLM, an exchange whose answer has begun and does not end by itself)"""
    service, llm = testbed.one(options=("--drain", SECONDS), **more)
    exchange = service.ask(ENDLESS).head()
    return service, llm, exchange


STOPPED = "The answer broke off here because the service is being stopped or restarted. Please ask again in a moment."


def told(turn):
    """Its text until then."""
    assert turn.whole and turn.text.endswith(STOPPED), turn.chunks[-3:]
    return turn.text.removesuffix(STOPPED).removesuffix("\n\n")


def test_an_answer_that_outlives_the_time_to_drain_is_ended(testbed):
    service, llm, exchange = draining(testbed, workers=2)
    began = time.monotonic()
    service.responder.send(signal.SIGTERM)
    turn = Turn(exchange)
    took = time.monotonic() - began
    assert said(3000).startswith(told(turn))
    assert service.responder.wait() == 0
    assert SECONDS * 0.9 < took < time.monotonic() - began < SECONDS + 2 + 2 * PATIENCE
    log = service.responder.log()
    assert log.count("WARNING worker_drain_timeout active=1") == 1 and "worker_died" not in log
    wait_until(lambda: llm.stats()["active"] == 0, "the LLM is left alone")


@pytest.mark.parametrize("again", [False, True], ids=["while it starts", "during a re-execution"])
def test_a_stop_is_obeyed_at_any_moment(testbed, again):
    """libfcgi has a handler of its own for SIGTERM, which only notes it."""
    if again and WRAP:
        pytest.skip("valgrind loses signals that wait within exec")
    tries, longest = (200, 0.012) if PATIENCE == 1 else (10, 0.5)
    for n in range(tries):
        service = testbed.service(start=False)
        responder = service.start_responder()
        if again:
            responder.wait_log("worker_started")
            responder.send(signal.SIGHUP)
        elif WRAP:
            responder.wait_log("listening")  # what libraries hold before main, valgrind takes for lost
        else:
            responder.expected_exit.add(-signal.SIGTERM)  # before main
        time.sleep(n / tries * longest)  # the moment is what this is about
        assert responder.stop(deadline=5) in responder.expected_exit, responder.log()


def test_whoever_waits_when_the_time_to_drain_is_over_is_told(testbed):
    """For the first word, for a tool, or for more of the text."""
    service, llm = testbed.one(workers=1, options=("--drain", SECONDS), env=search_env(search(testbed, tavily={"delay_us": 60000000})))
    exchanges = [service.ask("[[" + json.dumps({"first_delay_us": 60000000}) + "]]") for _ in range(3)]
    exchanges.append(service.ask(rounds(calls(call(SEARCH, query="x")))))
    exchanges.append(service.ask(ENDLESS, receive_buffer=4096))
    wait_until(lambda: len(llm.chats()) >= 5, "all turns run")
    service.responder.send(signal.SIGTERM)
    turns = [Turn(e) for e in exchanges]
    assert [t.text for t in turns[:3]] == [STOPPED] * 3 and all(t.whole for t in turns[:3])
    for turn in turns[3:]:
        told(turn)
    assert service.responder.wait() == 0
    wait_until(lambda: llm.stats()["active"] == 0, "the LLM is left alone")


def test_a_client_that_reads_nothing_holds_no_stop_up(testbed):
    service, llm = testbed.one(workers=1, options=("--drain", SECONDS))
    exchange = service.ask("[[" + json.dumps({"tokens": 20000, "token": "x" * 999, "tokens_per_write": 20}) + "]]", receive_buffer=4096)
    exchange.head()
    assert service.responder.stop(deadline=20) == 0
    assert "worker_drain_timeout active=1" in service.responder.log()


def test_an_answer_may_take_as_long_as_workers_may_drain(testbed):
    service, llm = testbed.one(options=("--drain", 60))
    exchange = service.ask(words(20, delay_us=50000)).head()
    began = time.monotonic()
    service.responder.send(signal.SIGTERM)
    turn = Turn(exchange)
    assert turn.whole and turn.text == said(20)
    assert service.responder.wait() == 0 and "worker_drain_timeout" not in service.responder.log()
    assert time.monotonic() - began < 10 * PATIENCE, "nobody waits for the rest of that time"


def test_old_workers_that_give_up_leave_the_new_ones_alone(testbed):
    service, llm, exchange = draining(testbed, workers=1)
    old = service.worker_pids()
    service.responder.send(signal.SIGHUP)
    service.responder.wait_log("worker_draining")  # from now on it accepts nothing
    body = json.dumps({"message": words(60, delay_us=50000), "thread_id": "fresh"}).encode()
    with fastcgi.connect(service.socket) as fresh:  # nginx may still have kept connections to the old one
        fresh.sendall(fastcgi.request("POST", "/poll_requests", body))
        assert said(3000).startswith(told(Turn(exchange)))
        service.responder.wait_log("WARNING worker_drain_timeout active=1")
        wait_until(lambda: not set(old) & set(service.worker_pids()), "the old worker ended", SECONDS + 2)
        assert fastcgi.read_answer(fresh)[1].decode().startswith(said(60) + "[STATS]")


def test_a_worker_that_dies_while_it_drains_is_reported(testbed):
    service, llm, exchange = draining(testbed, workers=1)
    old = service.worker_pids()[0]
    service.responder.send(signal.SIGHUP)
    service.responder.wait_log("worker_draining")
    os.kill(old, signal.SIGKILL)
    service.responder.wait_log(f"ERROR worker_died pid={old} signal=Killed")
    turn = Turn(exchange)
    assert turn.whole and "broke off" in turn.text


def test_a_worker_that_does_not_end_is_killed(testbed):
    service, llm, exchange = draining(testbed, workers=2)
    stuck = service.worker_pids()[0]
    stop_process(stuck)
    began = time.monotonic()
    service.responder.send(signal.SIGTERM)
    assert service.responder.wait() == 0
    assert SECONDS + 1 < time.monotonic() - began < SECONDS + 2 + 3 * PATIENCE
    assert not os.path.exists(f"/proc/{stuck}")
    exchange.close()


def test_a_second_signal_ends_it_at_once(testbed):
    service, llm = testbed.one(options=("--drain", 3600))
    exchange = service.ask(ENDLESS).head()
    service.responder.send(signal.SIGTERM)
    service.responder.wait_log("worker_draining")
    service.responder.send(signal.SIGTERM)
    assert service.responder.wait() == 0
    turn = Turn(exchange)
    assert turn.whole and "broke off" in turn.text


def test_workers_hold_nothing_of_the_starts_of_others(testbed):
    service, llm = testbed.one(workers=8)
    wait_until(lambda: service.responder.log().count("worker_started") == 8, "eight workers")
    pipes = [holds(pid)["descriptors"]["pipe"] for pid in service.worker_pids()]
    assert len(pipes) == 8 and len(set(pipes)) == 1, pipes


# --- another program in its place -----------------------------------------------------------


def script(text, mode=0o755):
    def put(path):
        path.write_text(text)
        path.chmod(mode)
    return put


BROKEN = {
    "says an error": script("#!/bin/sh\necho 'a library is missing' >&2\nexit 127\n"),
    "dies": script("#!/bin/sh\nkill -ABRT $$\n"),
    "hangs": script("#!/bin/sh\nexec sleep 600\n"),
    "is no program": script("\x7fELF and nothing more"),
    "may not be run": script("#!/bin/sh\nexit 0\n", 0o644),
    "is not there": None,
}


@pytest.fixture
def own_program(testbed, request):
    """(service, put): the responder runs from a file of its own, in whose place put(make) puts another.
    Its parameter: how many workers."""
    path = testbed.directory / "bin" / "tt-agent-fcgi"
    path.parent.mkdir()
    shutil.copy(BUILD / "tt-agent-fcgi", path)

    def put(make):
        fresh = path.with_suffix(".new")
        if make is None:
            return path.unlink()
        make(fresh)
        os.rename(fresh, path)

    llm = testbed.llm()
    service = testbed.service(start=False, backend=testbed.backend({"d1": llm.deployment()}),
                            workers=getattr(request, "param", 2), options=("--drain", SECONDS))
    service.program = path
    return service.start().wait_ready(), put


@pytest.mark.parametrize("how", BROKEN)
def test_a_new_program_that_does_not_run_changes_nothing(own_program, how):
    service, put = own_program
    responder, pids = service.responder, service.worker_pids()
    put(BROKEN[how])
    responder.send(signal.SIGHUP)
    line = responder.wait_log(r"ERROR reexec_failed error=.*", 10)[0]
    assert f"{service.program} does not run" in line and "continues" in line
    assert responder.alive() and service.worker_pids() == pids and "worker_draining" not in responder.log()
    assert service.chat("[plain]").text == PLAIN
    # Nor has it forgotten anything: a worker that dies is back, and a program that runs is taken.
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: len(service.worker_pids()) == 2 and pids[0] not in service.worker_pids(), "two workers")
    put(lambda path: shutil.copy(BUILD / "tt-agent-fcgi", path))
    responder.send(signal.SIGHUP)
    responder.wait_log("old_workers_draining")
    assert service.chat("[plain]").text == PLAIN
    wait_until(lambda: len(service.worker_pids()) == 2 and not set(pids) & set(service.worker_pids()), "only new workers")


@pytest.mark.skipif(bool(WRAP), reason="valgrind wants more descriptors than these")
@pytest.mark.parametrize("own_program", [1, 2], indirect=True)
def test_old_workers_serve_on_while_new_ones_die_at_their_start(own_program):
    service, put = own_program
    pids = service.worker_pids()
    put(script(f'#!/bin/sh\n[ "$1" = --version ] || ulimit -n 10\nexec {BUILD}/tt-agent-fcgi "$@"\n'))
    service.responder.send(signal.SIGHUP)
    wait_until(lambda: service.responder.log().count("worker_died") >= 4, "new workers die")
    assert "worker_started" not in service.responder.log().split("reexecuting")[1]
    assert "draining" not in service.responder.log() and set(pids) <= set(service.worker_pids())
    assert service.chat("[plain]").text == PLAIN


# --- a parent that is stopped -----------------------------------------------------------------


def test_a_stopped_parent_stops_nobody(testbed):
    service, llm = testbed.one(workers=2, options=("--drain", SECONDS))
    parent, (victim, other) = service.responder, service.worker_pids()
    exchanges = [service.ask(words(20, delay_us=20000)) for _ in range(10)]
    stop_process(parent.pid)
    try:
        turns = [Turn(exchange) for exchange in exchanges]
        assert all(t.whole and t.text == said(20) for t in turns)
        os.kill(victim, signal.SIGKILL)  # nobody replaces it now
        wait_until(lambda: open(f"/proc/{victim}/stat").read().rsplit(")", 1)[1].split()[0] == "Z", "it is dead")
        turns = [service.chat("[plain]") for _ in range(10)]
        assert all(t.text == PLAIN for t in turns)
        parent.send(signal.SIGHUP)  # waits as well
    finally:
        parent.send(signal.SIGCONT)
    parent.wait_log("old_workers_draining")
    wait_until(lambda: len(service.worker_pids()) == 2 and not {victim, other} & set(service.worker_pids()), "two new workers")
    assert f"worker_died pid={victim} signal=Killed" in parent.log()
    assert service.chat("[plain]").text == PLAIN


def test_a_stopped_parent_ends_its_workers_when_it_goes_on(testbed):
    service, llm = testbed.one(workers=2)
    stop_process(service.responder.pid)
    service.responder.send(signal.SIGTERM)
    assert service.chat("[plain]").text == PLAIN
    service.responder.send(signal.SIGCONT)
    assert service.responder.wait() == 0


# --- what all its processes see ---------------------------------------------------------------


def test_that_nothing_is_published_is_said_once(testbed):
    service = testbed.service(start=False, workers=3)
    log = service.start_responder().log
    wait_until(lambda: log().count("worker_started") == 3, "all workers run")
    assert log().count("status_stale") == 1
    service.start_daemon()
    service.responder.wait_log("status_fresh")
    service.daemon.stop()
    (service.run / "status.v3").unlink()
    wait_until(lambda: log().count("status_stale") == 2, "the state is missed")
    service.responder.stop()
    assert log().count("status_stale") == 2 and log().count("status_fresh") == 1
