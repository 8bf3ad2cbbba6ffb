# SPDX-License-Identifier: Apache-2.0
"""A worker that is killed, crashes or hangs: another one resumes its answers where an LLM can continue them, else
their clients are told that they broke off."""

import json
import os
import random
import re
import resource
import signal
import threading

import pytest

from harness.http_client import Turn
from harness.process import PATIENCE, WRAP, wait_until
from harness.tool_mocks import SEARCH, call, calls, rounds, search, search_env

pytestmark = pytest.mark.skipif(bool(WRAP), reason="valgrind cannot follow a keeper")

KNOBS = {"tokens": 1000, "token": "w# ", "numbered": True, "delay_us": 20000}
ANSWER = "[[" + json.dumps(KNOBS) + "]]"
REASONING = "[[" + json.dumps({"tokens": 10, "reasoning": [f"r{n} " for n in range(200)], "delay_us": 10000}) + "]]"
WORDS_400 = "[[" + json.dumps({**KNOBS, "tokens": 400, "delay_us": 10000}) + "]]"
SENTENCE = "The answer broke off here because the part of the service that was writing it ended unexpectedly. Please ask again."


class Answers:
    """Answers that are read as they come, all of one worker."""

    def __init__(self, exchanges):
        self.turns = []
        self.threads = [threading.Thread(target=lambda e=e: self.turns.append(Turn(e))) for e in exchanges]
        for e in exchanges:
            e.head()  # it comes with the first word
        for t in self.threads:
            t.start()

    def ended(self):
        for t in self.threads:
            t.join()
        return self.turns


def words(text):
    numbers = [int(n) for n in re.findall(r"w(\d+) ", text)]
    assert numbers == list(range(len(numbers))), text
    return numbers


def told(turn):
    """A whole end: the words so far, the sentence, and the statistics alone in their chunk."""
    assert turn.whole, turn.chunks[-3:]
    text, _, sentence = turn.text.partition("\n\n")
    assert sentence == SENTENCE and text == "".join(f"w{n} " for n in words(text)), turn.text[-300:]
    assert 0 <= turn.stats["ttft"] <= turn.stats["total_time"] and turn.stats["tokens_decoded"] > 0
    return True


def one(testbed, **more):
    service, llm = testbed.one(**more)
    wait_until(lambda: any(m["context_length"] for m in service.ctl("models")["models"]), "what the LLM tells of itself")
    return service, llm


def whole(turn, count):
    assert turn.whole and turn.text == "".join(f"w{n} " for n in range(count)), turn.chunks[-3:]
    return True


def all_resumed(turns, count):
    """Also those of which the worker was writing a record when it died."""
    assert all(whole(t, count) for t in turns)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV", "SIGABRT"])
@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_clients_of_a_dead_worker_are_told(testbed, server, how):
    if PATIENCE != 1 and how != "SIGKILL":
        pytest.skip("sanitizers take the signal for a fault of their own finding")
    service, llm = one(testbed, workers=1, sets=["llm.continue=false"])
    host = service.host_of(server)
    answers = Answers([service.ask(ANSWER, host=host) for _ in range(40)])
    os.kill(service.worker_pids()[0], getattr(signal, how))
    assert all(told(t) for t in answers.ended())
    wait_until(lambda: llm.stats()["active"] == 0, "the LLM's connections are closed")
    wait_until(lambda: "answers_broke_off answers=40" in service.responder.log(), "the keeper's line")


@pytest.mark.parametrize("server", ["nginx", "lighttpd", pytest.param("apache", marks=pytest.mark.long)])
def test_clients_of_a_worker_that_hangs_are_told(testbed, server):
    service, llm = one(testbed, workers=1, sets=["limits.hang_time=2"])
    host = service.host_of(server)
    answers = Answers([service.ask(WORDS_400, host=host) for _ in range(20)])
    os.kill(service.worker_pids()[0], signal.SIGSTOP)
    all_resumed(answers.ended(), 400)
    wait_until(lambda: "worker_hangs" in service.responder.log(), "the reason")
    assert service.chat("[plain]").whole


def test_an_idle_worker_does_not_hang(testbed):
    service, _ = one(testbed, workers=1, sets=["limits.hang_time=2"])
    pid = service.worker_pids()
    threading.Event().wait(5)
    assert service.worker_pids() == pid and service.chat("[plain]").whole


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_another_worker_resumes_the_answers(testbed, server, workers):
    service, llm = one(testbed, workers=workers)
    host = service.host_of(server)
    answers = Answers([service.ask(WORDS_400, host=host) for _ in range(60)])
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    turns = answers.ended()
    all_resumed(turns, 400)
    assert all(0 < t.stats["ttft"] < 2 * PATIENCE for t in turns)
    assert all(t.stats["total_time"] > 4 for t in turns)
    wait_until(lambda: llm.stats()["active"] == 0, "no connection to the LLM is left")


def test_a_resumed_answer_is_in_the_history_once(testbed):
    service, llm = one(testbed, workers=2)
    answers = Answers([service.ask(WORDS_400, thread_id=f"t{n}") for n in range(8)])
    for pid in service.worker_pids():
        os.kill(pid, signal.SIGKILL)
    all_resumed(answers.ended(), 400)
    for n in range(8):
        assert service.chat("[plain]", thread_id=f"t{n}").whole
        messages = llm.chats()[-1]["body"]["messages"]
        assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"], messages
        assert words(messages[2]["content"] + " ")


def test_reasoning_begins_again(testbed):
    service, _ = one(testbed, workers=1)
    answers = Answers([service.ask(REASONING) for _ in range(10)])
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    for turn in answers.ended():
        assert turn.whole and turn.answer == "word " * 10, turn.chunks[-3:]
        assert turn.body.count("<think>") == turn.body.count("</think>") == 1
        assert turn.body.count("[interrupted, starting again]") == 1


def test_an_answer_is_handed_over_once(testbed):
    """It may be what kills workers."""
    service, _ = one(testbed, workers=1)
    answers = Answers([service.ask(ANSWER) for _ in range(10)])
    killed = set()
    for _ in range(2):
        pid, = wait_until(lambda: set(service.worker_pids()) - killed, "a worker")
        threading.Event().wait(1)
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
    assert all(told(t) for t in answers.ended())


def test_an_answer_that_used_tools_is_not_handed_over(testbed):
    """What they found was in the memory of the worker."""
    service, llm = one(testbed, workers=1, env=search_env(search(testbed)))
    answers = Answers([service.ask(rounds(calls(call(SEARCH, query="x")), KNOBS)) for _ in range(5)])
    wait_until(lambda: len(llm.chats()) == 10, "the second requests")
    threading.Event().wait(0.5)
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    for turn in answers.ended():
        assert turn.whole and SENTENCE in turn.text


def test_a_worker_that_dies_before_the_first_word_costs_nothing(testbed):
    """The web server asks another worker."""
    service, llm = one(testbed, workers=2)
    slow = "[[" + json.dumps({"tokens": 3, "token": "w# ", "numbered": True, "first_delay_us": 1500000}) + "]]"
    exchanges = [service.ask(slow) for _ in range(20)]
    wait_until(lambda: llm.stats()["active"] == 20, "20 turns run")
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    turns = [Turn(e) for e in exchanges]
    assert all(t.whole and t.text == "w0 w1 w2 " for t in turns), [t.text for t in turns]


def test_no_process_is_left(testbed):
    service, _ = one(testbed, workers=2)
    for _ in range(3):
        answers = Answers([service.ask(ANSWER) for _ in range(8)])
        old = service.worker_pids()
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        assert all(t.whole for t in answers.ended())
        wait_until(lambda: len(service.worker_pids()) == 2 and not set(old) & set(service.worker_pids()), "new workers")
    wait_until(lambda: len(keepers(service)) == 2, "a keeper for each worker")
    left = service.worker_pids() + keepers(service)
    assert service.responder.stop() == 0
    for pid in left:
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "they ended")


def test_a_worker_whose_keeper_died_is_replaced(testbed):
    service, _ = one(testbed, workers=1)
    host = service.host_of("lighttpd")  # each request is a new connection, which only the new worker accepts
    old = service.worker_pids()
    before = Answers([service.ask(WORDS_400, host=host) for _ in range(5)])
    os.kill(keepers(service)[0], signal.SIGKILL)
    service.responder.wait_log("WARNING keeper_died")
    assert all(whole(t, 400) for t in before.ended())
    new, = wait_until(lambda: set(service.worker_pids()) - set(old), "a new worker")
    answers = Answers([service.ask(WORDS_400, host=host) for _ in range(5)])
    os.kill(new, signal.SIGKILL)
    all_resumed(answers.ended(), 400)


def keepers(service):
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and comm(p) == "tt-agent-keeper" and descends(p, service.responder.pid)]


def comm(pid):
    try:
        with open(f"/proc/{pid}/comm") as f:
            return f.read().strip()
    except OSError:
        return ""


def descends(pid, ancestor):
    while int(pid) > 1:
        if int(pid) == ancestor:
            return True
        try:
            with open(f"/proc/{pid}/stat") as f:
                pid = f.read().rsplit(")", 1)[1].split()[1]
        except OSError:
            return False
    return False


def test_a_stop_waits_until_clients_are_told(testbed):
    """The worker dies just before the service is stopped: a new one may have taken its answers over already."""
    service, _ = one(testbed, workers=1)
    answers = Answers([service.ask(WORDS_400) for _ in range(20)])
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    service.responder.send(signal.SIGTERM)
    assert all(len(words(t.text)) == 400 and whole(t, 400) or told(t) for t in answers.ended())
    service.responder.wait()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_no_answer_is_left_between_workers(testbed, how):
    """A worker dies while the other one has no room for its answers and ends, too, as the last one."""
    service, _ = one(testbed, workers=2, responder_limits={resource.RLIMIT_NOFILE: 96})
    first, second = service.worker_pids()
    answers = Answers([service.ask(WORDS_400) for _ in range(40)])
    parent = service.responder.popen.pid
    os.kill(parent, signal.SIGSTOP)  # it starts no other worker
    try:
        os.kill(first, signal.SIGKILL)
        service.responder.wait_log("answers_broke_off")
        os.kill(second, getattr(signal, how))
    finally:
        service.responder.send(signal.SIGTERM)
        os.kill(parent, signal.SIGCONT)
    turns = answers.ended()
    service.responder.wait()
    begun = [t for t in turns if "as many chats as it can" not in t.text]
    assert len(turns) == 40 and len(begun) > 30
    for turn in begun:
        assert turn.whole, turn.chunks[-3:]
        assert len(words(turn.text)) == 400 or told(turn)


@pytest.mark.long
@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
def test_no_stream_ends_silently_however_often_workers_die(testbed, server, how):
    service, llm = one(testbed, workers=2, sets=["limits.hang_time=2"])
    host = service.host_of(server)
    count = {True: 0, False: 0}
    for _ in range(20):
        wait_until(lambda: len(service.worker_pids()) == 2, "two workers")
        short = "[[" + json.dumps({**KNOBS, "tokens": 150}) + "]]"
        answers = Answers([service.ask(short, host=host) for _ in range(200)])
        os.kill(random.choice(service.worker_pids()), getattr(signal, how))
        for turn in answers.ended():
            count[len(words(turn.text)) == 150] += 1
            assert turn.whole and (len(words(turn.text)) == 150 or told(turn)), turn.chunks[-3:]
    assert count[True] >= 0.99 * 4000, count
