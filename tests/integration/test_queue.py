# SPDX-License-Identifier: Apache-2.0
"""Turns that wait for a place because all replicas of their model are full."""

import json
import os
import re
import signal
import threading
import time

import pytest
from harness.gate import MODEL, queueing, relayed, waiting
from harness.http_client import Cut, Exchange
from harness.metrics import scrape
from harness.openai_stream import PATH, Stream, error_of, post, user
from harness.process import PATIENCE, wait_until

def chat(service, message, stream=True, key=None, path=PATH, **more):
    """Sent; not read."""
    body = {"model": f"meta-llama/{MODEL}", "stream": stream, "messages": user(message), **more}
    return Exchange(service.host, "POST", path, body, {"Authorization": f"Bearer {key}"} if key else None)


def text_of(exchange):
    return Stream(exchange).text


# ---- who waits, and for how long -----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_turns_wait_until_there_is_a_place(testbed, workers):
    service, gate = queueing(testbed, replicas=2, capacity=2, workers=workers)
    chats = [chat(service, str(n)) for n in range(12)]
    gate.wait(4)
    waiting(service, 8)
    for n in range(8):  # each that ends makes room for one
        gate.end()
        gate.wait(5 + n)
    gate.end_all()
    assert sorted(text_of(c) for c in chats) == sorted(f"answer to {n}" for n in range(12))
    assert gate.most == 4
    waiting(service, 0)
    m = scrape(service)
    assert m.sum("queue_wait_seconds_count") == 8 and m.sum("queue_refused_total") == 0
    assert len(re.findall(r" queue_ms=[1-9][0-9.]* ", service.responder.log())) == 8


def test_nothing_waits_where_no_capacity_is_known(testbed):
    service, gate = queueing(testbed, capacity=0)
    chats = [chat(service, str(n)) for n in range(20)]
    gate.wait(20)
    gate.end_all()
    assert all(text_of(c).startswith("answer") for c in chats)
    assert not (service.run / "queue.v1").exists()


def test_what_does_not_fit_is_refused_in_each_protocol(testbed):
    service, gate = queueing(testbed, "queue.length=2", "queue.wait=60", workers=2)
    chats = [chat(service, "0")]
    gate.wait(1)
    chats += [chat(service, str(n)) for n in (1, 2)]
    waiting(service, 2)
    for stream in False, True:
        answer = post(service.host, {"model": f"meta-llama/{MODEL}", "stream": stream, "messages": user("x")})
        error = error_of(answer, 429)
        assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
        assert 1 <= int(answer[1]["retry-after"]) <= 60 and f"again in {answer[1]['retry-after']} second" in error["message"]
    answer = post(service.host, {"model": f"meta-llama/{MODEL}", "stream": True, "input": "x"}, "/v1/responses")
    assert error_of(answer, 429)["code"] == "rate_limit_exceeded" and int(answer[1]["retry-after"]) >= 1
    status, headers, body = post(service.host, {"model": f"meta-llama/{MODEL}", "stream": True, "max_tokens": 9, "messages": user("x")}, "/v1/messages")
    assert (status, body["type"], body["error"]["type"]) == (529, "error", "overloaded_error") and int(headers["retry-after"]) >= 1
    turn = service.chat("x")
    assert turn.status == 200 and turn.whole and re.fullmatch(r"All language models are busy, .* again in \d+ seconds?\.", turn.text.strip())
    assert scrape(service).sum("queue_refused_total", reason="full") == 5 == scrape(service).value("turns_total", outcome="refused")
    assert len(gate.begun) == 1
    gate.end_all()
    assert [text_of(c) for c in chats] == [f"answer to {n}" for n in range(3)]


def test_a_wait_has_an_end(testbed):
    service, gate = queueing(testbed, "queue.wait=0.3")
    first = chat(service, "0")
    gate.wait(1)
    began = time.monotonic()
    answer = post(service.host, {"model": f"meta-llama/{MODEL}", "stream": True, "messages": user("x")})
    assert error_of(answer, 429)["message"].startswith("All language models are busy. ")
    assert time.monotonic() - began >= 0.3 and int(answer[1]["retry-after"]) >= 1
    assert "All language models are busy." in service.chat("y", "a-thread").text
    assert scrape(service).sum("queue_refused_total", reason="wait") == 2
    recorded = lambda: [json.loads(line) for line in service.ctl("events", "--since", "1h", ok=False).stdout.splitlines()]
    wait_until(lambda: [e for e in recorded() if (e["kind"], e.get("model"), e.get("reason")) == ("refused", MODEL, "queue_wait")], "the event")
    gate.end_all()
    assert text_of(first) == "answer to 0"
    assert service.chat("z", "a-thread").text == "answer to z"
    assert "y" not in [m["content"] for m in json.loads(gate.llms[0].requests[-1][2])["messages"]]  # it was not stored


@pytest.mark.long
def test_a_long_wait_is_no_silence(testbed):
    """Proxies give up after 60 s without a byte."""
    service, gate = queueing(testbed, "queue.wait=110")
    chats = [chat(service, "0")]
    gate.wait(1)
    chats.append(chat(service, "1"))
    messages = Exchange(service.host, "POST", "/v1/messages", {"model": f"meta-llama/{MODEL}", "stream": True, "max_tokens": 9, "messages": user("2")})
    waiting(service, 2)
    answers = [chats[1].chunks(), messages.chunks()]
    for chunks, said in zip(answers, (b": ", b"event: ")):
        assert next(chunks).startswith(said)
    assert gate.begun == ["0"]
    gate.end_all()
    assert text_of(chats[0]) == "answer to 0"
    for n, chunks in enumerate(answers):
        assert f"answer to {n + 1}".encode() in b"".join(chunks)


# ---- who is next --------------------------------------------------------------------------------------------------


def keyed(testbed, keys, *settings, **more):
    """(service, gate, key texts by name); keys: name -> fields."""
    service, gate = queueing(testbed, "access.require=api", f"access.keys_file={testbed.directory}/keys.jsonl", *settings, **more)
    texts = {}
    for name, fields in keys.items():
        texts[name] = service.ctl("keys", "create", name, *fields)["key"]
        service.secrets.append(texts[name])
    wait_until(lambda: service.responder.log().count(f" keys={len(keys)}\n") >= service.workers, "each worker knows all keys", 20)
    return service, gate, texts


def enqueue(service, message, key, before):
    exchange = chat(service, message, key=key)
    waiting(service, before + 1)
    return exchange


@pytest.mark.parametrize("workers", [1, 2])
def test_keys_take_turns(testbed, workers):
    service, gate, keys = keyed(testbed, {"greedy": [], "modest": []}, replicas=2, capacity=2, workers=workers)
    chats = [chat(service, f"g{n}", key=keys["greedy"]) for n in range(4)]
    gate.wait(4)
    for n in range(4, 12):
        chats.append(enqueue(service, f"g{n}", keys["greedy"], n - 4))
    for n in range(3):
        chats.append(enqueue(service, f"m{n}", keys["modest"], 8 + n))
    for n in range(11):
        gate.end()
        gate.wait(5 + n)
    order = [m[0] for m in gate.begun[4:]]
    assert "".join(order) == "gmgmgmggggg" and [m for m in gate.begun[4:] if m[0] == "m"] == ["m0", "m1", "m2"], gate.begun
    gate.end_all()
    assert all(text_of(c).startswith("answer") for c in chats)


def test_one_key_does_not_take_the_whole_queue(testbed):
    service, gate, keys = keyed(testbed, {"greedy": [], "modest": []}, "queue.per_key=2", workers=2)
    chats = [chat(service, "0", key=keys["greedy"])]
    gate.wait(1)
    for n in range(2):
        chats.append(enqueue(service, f"g{n}", keys["greedy"], n))
    answer = post(service.host, {"model": f"meta-llama/{MODEL}", "messages": user("x")}, headers={"Authorization": f"Bearer {keys['greedy']}"})
    assert "of yours" in error_of(answer, 429)["message"]
    chats.append(enqueue(service, "m", keys["modest"], 2))
    assert scrape(service).sum("queue_refused_total", reason="key_full") == 1
    gate.end_all()
    assert all(text_of(c).startswith("answer") for c in chats)


def test_priorities_come_first(testbed):
    service, gate, keys = keyed(testbed, {"bulk": ["priority=low"], "usual": [], "urgent": ["priority=high"]}, "queue.wait=100")
    chats = [chat(service, "0", key=keys["usual"])]
    gate.wait(1)
    for n, name in enumerate(["bulk", "usual", "urgent", "usual", "urgent"]):
        chats.append(enqueue(service, f"{name}{n}", keys[name], n))
    for n in range(5):
        gate.end()
        gate.wait(2 + n)
    assert gate.begun[1:] == ["urgent2", "urgent4", "usual1", "usual3", "bulk0"]
    gate.end_all()
    assert all(text_of(c).startswith("answer") for c in chats)


@pytest.mark.long
def test_bulk_never_starves(testbed):
    """Urgent turns wait all the time. After two thirds of its time the other one is as urgent, and came first."""
    service, gate, keys = keyed(testbed, {"bulk": ["priority=low"], "urgent": ["priority=high"]}, "queue.wait=5", workers=2)
    stop = threading.Event()

    def urge():
        while not stop.is_set():
            text_of(chat(service, "u", key=keys["urgent"]))

    urgent = [threading.Thread(target=urge) for _ in range(4)]
    for t in urgent:
        t.start()
    gate.wait(1)
    bulk = chat(service, "bulk", key=keys["bulk"])
    while "bulk" not in gate.begun:
        count = len(gate.begun)
        gate.end()
        gate.wait(count + 1)
        time.sleep(0.02)
    assert gate.begun.index("bulk") > 1
    stop.set()
    gate.end_all()
    assert text_of(bulk) == "answer to bulk"
    for t in urgent:
        t.join()


# ---- who leaves ---------------------------------------------------------------------------------------------------


def test_who_leaves_makes_room_at_once(testbed):
    service, gate = queueing(testbed, "queue.length=3", workers=2)
    chats = [chat(service, "0")]
    gate.wait(1)
    chats += [chat(service, str(n)) for n in range(1, 4)]
    waiting(service, 3)
    chats.pop(1).close()  # it waited
    waiting(service, 2)
    chats.append(chat(service, "4"))
    waiting(service, 3)
    chats.pop(0).close()  # it had the place
    gate.wait(2)
    gate.end_all()
    assert all(text_of(c).startswith("answer") for c in chats)
    waiting(service, 0)


def test_places_and_tickets_of_a_killed_worker_are_free(testbed):
    service, gate = queueing(testbed, "queue.wait=60", replicas=2, capacity=2, workers=3)
    chats = [chat(service, str(n)) for n in range(30)]
    gate.wait(4)
    waiting(service, 26)
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    ended = []

    def read(c):
        try:
            ended.append(Stream(c).text)
        except Cut:
            ended.append(None)

    readers = [threading.Thread(target=read, args=(c,)) for c in chats]
    for r in readers:
        r.start()
    gate.end_all()
    for r in readers:
        r.join(60)
    assert len(ended) == 30
    wait_until(lambda: scrape(service).sum("queue_turns") == 0, "nothing waits")
    # All places are there, and no more.
    gate.open, begun = False, len(gate.begun)
    more = [chat(service, f"more{n}") for n in range(6)]
    gate.wait(begun + 4)
    waiting(service, 2)
    gate.end_all()
    assert sorted(text_of(c) for c in more) == [f"answer to more{n}" for n in range(6)]


def test_a_place_of_a_draining_worker_wakes_a_new_one(testbed):
    service, gate = queueing(testbed, "queue.wait=60")
    old = chat(service, "old")
    gate.wait(1)
    pids = service.worker_pids()
    os.kill(service.responder.popen.pid, signal.SIGHUP)
    wait_until(lambda: set(service.worker_pids()) - set(pids), "a new worker", 20)
    wait_until(lambda: "worker_draining" in service.responder.log(), "the old one drains", 20)
    new = chat(service, "new")
    waiting(service, 1)
    gate.end()
    gate.wait(2)
    gate.end_all()
    assert (text_of(old), text_of(new)) == ("answer to old", "answer to new")


# ---- failover -------------------------------------------------------------------------------------------------------


def test_who_fails_over_waits_for_a_place_at_the_next_one(testbed):
    service, gate = queueing(testbed, replicas=2, capacity=1)
    chats = [chat(service, str(n)) for n in range(2)]
    gate.wait(2)
    busy = gate.running[0][1]
    gate.failing.add(1 - busy)
    chats.append(chat(service, "2"))
    waiting(service, 1)
    gate.end(next(m for m, replica, _ in gate.running if replica != busy))  # its place is free, but it fails
    waiting(service, 1)
    assert len(gate.begun) == 2
    gate.end()
    gate.wait(3)
    gate.end_all()
    assert sorted(text_of(c) for c in chats) == ["answer to 0", "answer to 1", "answer to 2"]
    assert gate.most == 2


# ---- requests that are no turns: relayed to an LLM as they are ----------------------------------------------------------

EMBEDDINGS, COMPLETIONS = "/v1/embeddings", "/v1/completions"
EMBEDDER = {"model_name": "bge-large", "model_type": "embedding", "hf_model_id": "BAAI/bge-large"}


def send(service, message, path=COMPLETIONS, key=None, **more):
    """Sent; not read."""
    body = {EMBEDDINGS: {"model": EMBEDDER["hf_model_id"], "input": message}, COMPLETIONS: {"prompt": message},
            PATH: {"messages": user(message), "n": 2}}[path]
    return Exchange(service.host, "POST", path, {"model": f"meta-llama/{MODEL}", **body, **more}, {"Authorization": f"Bearer {key}"} if key else None)


def answered(exchange, path, message, count=1):
    answer = json.loads(exchange.read())
    assert (exchange.status, answer) == (200, relayed(path, message, count))


@pytest.mark.parametrize("workers", [1, 2])
def test_relayed_requests_and_turns_wait_in_one_queue(testbed, workers):
    service, gate = queueing(testbed, "log.requests=true", replicas=2, workers=workers)
    turns = [chat(service, "0"), chat(service, "1")]
    gate.wait(2)
    texts = [send(service, f"c{n}") for n in range(3)]
    several = [send(service, f"n{n}", PATH) for n in range(2)]
    waiting(service, 5)
    turns.append(chat(service, "2"))
    waiting(service, 6)
    for n in range(6):  # each that ends makes room for one
        gate.end()
        gate.wait(3 + n)
    gate.end_all()
    assert sorted(text_of(t) for t in turns) == [f"answer to {n}" for n in range(3)]
    for n, exchange in enumerate(texts):
        answered(exchange, COMPLETIONS, f"c{n}")
    for n, exchange in enumerate(several):
        answered(exchange, PATH, f"n{n}", 2)
    assert gate.most == 2
    waiting(service, 0)
    assert scrape(service).sum("queue_wait_seconds_count") == 6
    assert len(re.findall(r" queue_ms=[1-9][0-9.]* ", service.responder.log())) == 6


def test_embeddings_wait_for_a_place_at_their_own_model(testbed):
    service, gate = queueing(testbed, replicas=2, deploy=lambda llm, n: llm.deployment(name=f"c-e{n}", model_impl=EMBEDDER), workers=2,
                             others={"chat": testbed.llm().deployment(name="c-chat")})
    exchanges = [send(service, str(n), EMBEDDINGS) for n in range(5)]
    gate.wait(2)
    waiting(service, 3)
    assert scrape(service).sum("queue_turns", model="bge-large") == 3
    shown = lambda: service.status().get("waiting")  # a worker that has no turn in the queue knows of it within a second
    wait_until(lambda: shown() == {"all": 3, "models": [{"model_name": "bge-large", "waiting": 3}]}, f"/status counts them: {shown()}", 20)
    for n in range(3):
        gate.end()
        gate.wait(3 + n)
    gate.end_all()
    for n, exchange in enumerate(exchanges):
        answered(exchange, EMBEDDINGS, str(n))
    assert gate.most == 2
    wait_until(lambda: shown() is None, "nothing waits", 20)


def test_relayed_requests_that_do_not_fit_are_refused(testbed):
    service, gate = queueing(testbed, "queue.length=1", "queue.wait=60", "log.requests=true")
    turn = chat(service, "0")
    gate.wait(1)
    waits = send(service, "1")
    waiting(service, 1)
    for path, more in (COMPLETIONS, {}), (COMPLETIONS, {"stream": True}), (PATH, {}):
        exchange = send(service, "x", path, **more)
        answer = json.loads(exchange.read())
        error = error_of((exchange.status, exchange.headers, answer), 429)
        assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
        assert 1 <= int(exchange.headers["retry-after"]) <= 60
        assert re.fullmatch(rf"All language models are busy, and too many requests .* again in {exchange.headers['retry-after']} seconds?\.", error["message"])
    counted = post(service.host, {"model": f"meta-llama/{MODEL}", "messages": user("x")}, "/v1/messages/count_tokens")
    assert (counted[0], counted[2]) == (200, {"input_tokens": 7})  # no model runs for it
    assert scrape(service).sum("queue_refused_total", reason="full") == 3 == scrape(service).value("turns_total", outcome="refused")
    wait_until(lambda: service.responder.log().count("queue_full") == 3, "each is logged", 20)
    assert gate.begun == ["0"]
    gate.end_all()
    assert text_of(turn) == "answer to 0"
    answered(waits, COMPLETIONS, "1")


def test_a_relayed_request_waits_no_longer_than_it_may(testbed):
    service, gate = queueing(testbed, "queue.wait=0.3")
    turn = chat(service, "0")
    gate.wait(1)
    exchange = send(service, "x")
    answer = json.loads(exchange.read())
    assert error_of((exchange.status, exchange.headers, answer), 429)["message"].startswith("All language models are busy. ")
    assert scrape(service).sum("queue_refused_total", reason="wait") == 1
    gate.end_all()
    assert text_of(turn) == "answer to 0" and gate.begun == ["0"]


def test_a_relayed_request_whose_client_leaves_makes_room_at_once(testbed):
    service, gate = queueing(testbed, "queue.length=1", "queue.wait=60", workers=2)
    turn = chat(service, "0")
    gate.wait(1)
    left = send(service, "left")
    waiting(service, 1)
    left.close()
    waiting(service, 0)
    left = send(service, "1")
    waiting(service, 1)
    turn.close()
    gate.wait(2)
    left.close()  # it has the place
    last = send(service, "2")
    gate.wait(3)
    gate.end_all()
    answered(last, COMPLETIONS, "2")
    assert gate.begun == ["0", "1", "2"]
    waiting(service, 0)


def test_relayed_requests_are_fair_and_have_priorities(testbed):
    service, gate, keys = keyed(testbed, {"greedy": [], "modest": [], "urgent": ["priority=high"]}, "queue.wait=100", workers=2)
    first = chat(service, "0", key=keys["greedy"])
    gate.wait(1)
    exchanges = []
    for n in range(3):
        exchanges.append(send(service, f"g{n}", key=keys["greedy"]))
        waiting(service, n + 1)
    turn = enqueue(service, "m", keys["modest"], 3)
    exchanges.append(send(service, "u", key=keys["urgent"]))
    waiting(service, 5)
    for n in range(5):
        gate.end()
        gate.wait(2 + n)
    assert gate.begun in (["0", "u", "g0", "m", "g1", "g2"], ["0", "u", "m", "g0", "g1", "g2"]), gate.begun
    gate.end_all()
    assert text_of(first) == "answer to 0" and text_of(turn) == "answer to m"
    for exchange, message in zip(exchanges, ["g0", "g1", "g2", "u"]):
        answered(exchange, COMPLETIONS, message)


def test_a_relayed_request_that_fails_over_waits_for_a_place(testbed):
    service, gate = queueing(testbed, replicas=2)
    turns = [chat(service, str(n)) for n in range(2)]
    gate.wait(2)
    busy = gate.running[0][1]
    gate.failing.add(1 - busy)
    exchange = send(service, "2")
    waiting(service, 1)
    gate.end(next(m for m, replica, _ in gate.running if replica != busy))  # its place is free, but it fails
    wait_until(lambda: "attempt_failed" in service.responder.log(), "it failed", 20)
    waiting(service, 1)
    assert len(gate.begun) == 2
    gate.end()
    gate.wait(3)
    gate.end_all()
    assert sorted(text_of(t) for t in turns) == ["answer to 0", "answer to 1"]
    answered(exchange, COMPLETIONS, "2")
    assert gate.most == 2


@pytest.mark.long
def test_a_long_wait_of_a_relayed_stream_is_no_silence(testbed):
    service, gate = queueing(testbed, "queue.wait=110")
    turn = chat(service, "0")
    gate.wait(1)
    chunks = send(service, "1", stream=True).chunks()
    assert next(chunks).startswith(b": ") and gate.begun == ["0"]
    gate.end_all()
    rest = b"".join(chunks)
    assert b"answer to 1" in rest and rest.endswith(b"data: [DONE]\n\n")
    assert text_of(turn) == "answer to 0"
