# SPDX-License-Identifier: Apache-2.0
"""What restarts, reloads and deaths cost under load: nothing, or only what died."""

import json
import os
import signal
import statistics
import threading
import time

import pytest

from harness.http_client import Turn
from harness.load import many_turns
from harness.process import PATIENCE, wait_until
from harness.process_usage import holds

WORD, WORDS = "c{i}w# ", 30
MESSAGE = '[[{"tokens":%d,"token":"%s","numbered":true,"delay_us":10000}]]' % (WORDS, WORD)
LONG = "[[" + json.dumps({"tokens": 60, "token": "word# ", "numbered": True, "delay_us": 20000}) + "]]"
LONG_TEXT = "".join(f"word{n} " for n in range(60))


class Load:
    """Clients that ask all the time, each word checked, until it is ended."""

    def __init__(self, service, clients=60, seconds=4):
        self.report = {}
        self.thread = threading.Thread(target=lambda: self.report.update(
            many_turns(service.host, clients, 1, MESSAGE, word=WORD, words=WORDS, seconds=max(1, int(seconds)), spread_ms=300)))

    def __enter__(self):
        self.thread.start()
        time.sleep(0.5)  # the load itself is what is waited for
        return self

    def __exit__(self, *failed):
        self.thread.join()

    def all_whole(self):
        assert self.report["turns"] > 0 and self.report["whole"] == self.report["turns"], self.report


def two_llms(testbed, **more):
    llms = [testbed.llm(), testbed.llm()]
    backend = testbed.backend({"d1": llms[0].deployment(), "d2": llms[1].deployment("Qwen3-8B", name="c-d2")})
    service = testbed.service(backend=backend, **more).wait_ready()
    service.wait_status(lambda s: len(s["available_models"]) == 2, "two models")
    service.wait_status(lambda s: s["current_llm"]["llm_info"]["deploy_id"] == "d1", "d1 is current")
    return service, *llms


# --- the responder ------------------------------------------------------------------------


def test_reexecution_under_load_loses_no_stream_and_refuses_nobody(testbed):
    service, _ = testbed.one(workers=2)
    with Load(service, seconds=4) as load:
        for count in range(1, 6):
            service.responder.send(signal.SIGHUP)
            wait_until(lambda: service.responder.log().count("old_workers_draining") == count, "old workers drain")
    load.all_whole()
    wait_until(lambda: len(service.worker_pids()) == 2, "the old workers ended", 20)


def test_a_killed_worker_ends_only_its_own_streams(testbed):
    service, llm = testbed.one(workers=2, sets=["llm.continue=false"])
    exchanges = [service.ask(LONG) for _ in range(60)]
    wait_until(lambda: llm.stats()["active"] == 60, "60 streams")
    for e in exchanges:
        e.head()  # it comes with the first word
    victim, other = service.worker_pids()
    own = holds(victim)["descriptors"]["tcp"]
    os.kill(victim, signal.SIGKILL)
    fresh = [service.chat("[plain]") for _ in range(10)]
    assert all(t.whole for t in fresh)
    turns = [Turn(e) for e in exchanges]
    broken = [t for t in turns if t.text != LONG_TEXT]
    assert len(broken) == own and other in service.worker_pids()
    for t in turns:
        assert t.text == LONG_TEXT or "broke off" in t.text and LONG_TEXT.startswith(t.text[: t.text.index("\n\nThe answer")])


def test_workers_that_die_again_and_again_refuse_nobody(testbed):
    """With a worker die its kept connections, and nginx learns of it a moment later. It tries a
    turn four times before its first word: that word must come sooner than four workers die."""
    service, _ = testbed.one(workers=2)
    pause = 0.2 * PATIENCE
    with Load(service, clients=100 if PATIENCE == 1 else 40, seconds=12 * pause + 1.6) as load:
        for _ in range(12):
            pids = service.worker_pids()
            if pids:
                os.kill(pids[0], signal.SIGKILL)
            time.sleep(pause)
    bad = {k: load.report[k] for k in ("refused", "no_answer", "unanswered", "waiting", "wrong", "silent_end") if load.report[k]}
    assert not bad and load.report["whole"] > 0, load.report


def test_a_stop_and_a_start_behind_systemds_socket_refuse_nobody(testbed):
    service, _ = testbed.one(workers=2)
    service.responder.stop()
    service.listen()
    service.start_responder()
    with Load(service, seconds=4) as load:
        for _ in range(3):
            assert service.responder.stop() == 0
            service.start_responder()
    load.all_whole()


def test_a_killed_parent_behind_systemds_socket_ends_no_stream_and_refuses_nobody(testbed):
    service, _ = testbed.one(workers=2)
    service.responder.stop()
    service.listen()
    service.start_responder()
    with Load(service, seconds=3) as load:
        for _ in range(3):
            os.kill(service.responder.pid, signal.SIGKILL)
            service.responder.expected_exit = {-signal.SIGKILL}
            service.responder.wait()
            time.sleep(0.1)  # in which nobody accepts
            service.start_responder()
            time.sleep(0.4)
    load.all_whole()


def test_a_parent_that_leaves_holds_no_request_and_ends_no_stream(testbed):
    service, llm = testbed.one(workers=2)
    service.responder.stop()
    service.listen()
    service.start_responder()
    exchanges = [service.ask(LONG) for _ in range(20)]
    wait_until(lambda: llm.stats()["active"] == 20, "20 streams")
    service.responder.send(signal.SIGUSR1)
    assert service.responder.wait() == 0
    assert llm.stats()["active"] == 20, "the workers go on"
    service.start_responder()
    assert service.chat("[plain]").whole
    assert llm.stats()["active"] == 20, "the new answer waited for none of the old ones"
    turns = [Turn(e) for e in exchanges]
    assert all(t.whole and t.text == LONG_TEXT for t in turns)


def test_a_stop_lets_streams_end_and_takes_no_new_ones(testbed):
    service, llm = testbed.one(workers=2)
    exchanges = [service.ask(LONG) for _ in range(20)]
    wait_until(lambda: llm.stats()["active"] == 20, "20 streams")
    service.responder.send(signal.SIGTERM)
    service.responder.wait_log("worker_draining")
    turns = [Turn(e) for e in exchanges]
    assert all(t.whole and t.text == LONG_TEXT for t in turns)
    assert service.responder.wait() == 0
    assert service.http.get("/").status_code == 502


# --- the daemon ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["killed", "stopped", "hangs"])
def test_no_turn_fails_without_the_daemon(testbed, how):
    service, a, b = two_llms(testbed, workers=2)
    with Load(service, seconds=3) as load:
        if how == "killed":
            service.daemon.kill()
        elif how == "stopped":
            service.daemon.stop()
        else:
            service.daemon.send(signal.SIGSTOP)
        a.process.kill()  # now nobody but the workers can learn of it
        a.process.expected_exit = {-signal.SIGKILL}
        time.sleep(1)
        if how == "hangs":
            service.daemon.send(signal.SIGCONT)
        else:
            service.start_daemon()
    report = load.report
    assert report["unanswered"] + report["waiting"] + report["refused"] + report["no_answer"] + report["wrong"] == 0, report
    assert report["whole"] + report["reported"] == report["turns"], report
    service.wait_status(lambda s: s["current_llm"]["llm_info"]["deploy_id"] == "d2", "d2 is current")


# --- an LLM -------------------------------------------------------------------------------------


def test_an_llm_killed_costs_the_next_turn_no_more_than_50_ms(testbed):
    service, a, b = two_llms(testbed)
    times, usual = [], []
    for _ in range(10):
        turn = service.chat("[plain]")
        assert turn.whole
        usual.append(turn.times[0])
    a.process.kill()
    turn = service.chat("[plain]")
    assert turn.whole and "Hello" in turn.text, turn.text
    assert turn.times[0] - statistics.median(usual) < 0.05 * PATIENCE, (turn.times[0], usual)
    assert len(b.chats()) == 1
    for _ in range(20):  # and no turn after it pays
        turn = service.chat("[plain]")
        times.append(turn.times[0])
        assert turn.whole and "Hello" in turn.text
    assert statistics.median(times) < statistics.median(usual) + 0.02 * PATIENCE
