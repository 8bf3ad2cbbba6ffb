# SPDX-License-Identifier: Apache-2.0
"""Long bodies are parsed, and long requests to LLMs made, beside the event loop: nothing may be lost or mixed up, whatever
happens meanwhile."""

import os
import signal
import threading

import pytest

from harness.costly import BODIES
from harness.http_client import Exchange, Turn
from harness.process import wait_until

TEXT = "line\n\"quoted\" \\ \x01 é 😀 \u2028 <|x|> "


def long_message(n, size=200000):
    return f"[plain] {n} " + TEXT * (size // len(TEXT))


def ask(service, message, thread):
    return Exchange(service.host, "POST", "/poll_requests", {"message": message, "thread_id": thread})


def asked(llm):
    return [[m["content"] for m in r["body"]["messages"] if m["role"] == "user"] for r in llm.chats()]


def together(exchanges):
    turns = [None] * len(exchanges)

    def read(i):
        turns[i] = Turn(exchanges[i])

    threads = [threading.Thread(target=read, args=(i,)) for i in range(len(exchanges))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return turns


def test_a_long_message_arrives_as_it_was_sent(testbed):
    service, llm = testbed.one(script={"max_model_len": 0}, sets=["llm.context=0"])
    for n in range(3):
        assert service.chat(long_message(n), "one-long-thread").whole
    assert [long_message(0)] in asked(llm) and asked(llm)[-1] == [long_message(n) for n in range(3)]
    assert service.chat("[plain] short", "one-long-thread").whole
    assert asked(llm)[-1] == [long_message(n) for n in range(3)] + ["[plain] short"]


def test_many_at_once_are_all_answered(testbed):
    service, llm = testbed.one()
    llm.forget()
    turns = together([ask(service, long_message(n, 500000), f"at-once-{n}") for n in range(60)] +
                     [ask(service, f"[plain] short {n}", f"short-{n}") for n in range(20)])
    assert all(t.whole and t.text for t in turns)
    assert {c[0].split(" ")[1] for c in asked(llm) if "short" not in c[0]} <= {str(n) for n in range(60)}


def test_clients_that_leave_meanwhile_cost_nothing_more(testbed):
    service, llm = testbed.one()
    service.chat("[plain]")
    before = len(llm.chats())
    kinds = [BODIES["controls"], BODIES["emoji"], BODIES["medium strings"], BODIES["objects"]]
    for n in range(40):
        Exchange(service.host, "POST", "/poll_requests", kinds[n % 4]).close()
        if n % 10 == 0:
            assert service.chat("[plain]").whole
    wait_until(lambda: service.ctl("status")["counters"]["active_turns"] == 0, "no turn", 30)
    assert service.chat("[plain]").whole
    assert len(llm.chats()) <= before + 5 + 20
    pid, = service.worker_pids()
    assert "worker_died" not in service.responder.log() and os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("how", ["SIGHUP", "SIGTERM"])
def test_a_worker_that_drains_answers_them(testbed, how):
    service, _ = testbed.one()
    exchanges = [ask(service, long_message(n, 500000), f"drain-{n}") for n in range(30)]
    read = threading.Thread(target=lambda: exchanges.extend(together(exchanges[:])))
    read.start()
    wait_until(lambda: service.ctl("status")["counters"]["turns"] > 0, "the first of them begins", 20)
    service.responder.send(getattr(signal, how))
    read.join()
    answered = [t for t in exchanges[30:] if t.status == 200]
    assert all(t.whole for t in answered) and len(answered) >= (30 if how == "SIGHUP" else 1)


def test_a_worker_that_dies_leaves_them_to_another_one(testbed):
    service, _ = testbed.one(workers=2)
    exchanges = [ask(service, long_message(n, 500000), f"death-{n}") for n in range(30)]
    read = threading.Thread(target=lambda: exchanges.extend(together(exchanges[:])))
    read.start()
    wait_until(lambda: service.ctl("status")["counters"]["turns"] > 0, "the first of them begins", 20)
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    read.join()
    for turn in exchanges[30:]:
        assert turn.status in (200, 502) and (turn.whole or turn.status == 502)


def test_a_client_leaves_while_its_request_is_made(testbed):
    """Of a thread whose history is long; what was said stays in it."""
    service, llm = testbed.one(script={"max_model_len": 0}, sets=["llm.context=0"])
    for n in range(6):
        assert service.chat(long_message(n, 500000), "left-thread").whole
    for n in range(10):
        x = ask(service, f"[plain] left {n}", "left-thread")
        x.close()
    assert service.chat("[plain] last", "left-thread").whole
    # The LLM may see what the others asked after it.
    last, = [messages for messages in asked(llm) if messages[-1] == "[plain] last"]
    assert last[:6] == [long_message(n, 500000) for n in range(6)]
