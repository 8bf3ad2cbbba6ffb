# SPDX-License-Identifier: Apache-2.0
"""What attempts at LLMs took: a row for each, also of those that failed or were cancelled."""

import json
import random
import sqlite3
import threading

import pytest
from harness.http_client import Exchange, Turn
from harness.llm_script import inline, said, words
from harness.openai_stream import PATH, Stream
from harness.process import wait_until

PROMPT = 12  # tokens, as the mock counts


def rows(service, count, wanted=lambda row: True):
    """(key, model, outcome, prompt tokens, completion tokens) of each row that is wanted, as soon as there are so many."""

    def look():
        try:
            db = sqlite3.connect(f"file:{service.directory}/usage.db?mode=rw", uri=True, timeout=10)
            found = db.execute("SELECT key_id, model, outcome, prompt_tokens, completion_tokens FROM usage ORDER BY id").fetchall()
            db.close()
            found = [row for row in found if wanted(row)]
        except sqlite3.OperationalError:  # it is being made
            return None
        return found if len(found) >= count else None

    return wait_until(look, f"{count} rows of usage")


def sums(service, by):
    return {row[by]: row for row in service.ctl("usage", "--by", by)["usage"]}


def test_each_attempt_is_a_row(testbed):
    service, first, second = testbed.two({"status": 500})
    assert Turn(service.ask(words(7))).whole
    failed, answered = rows(service, 2)
    assert failed[2] == "unavailable" and failed[3:] == (None, 0)
    assert answered[2] == "complete" and answered[3:] == (PROMPT, 7)
    assert sums(service, "outcome")["complete"]["completion_tokens"] == 7
    by_model = sums(service, "model")
    assert {(row["attempts"], row["failed"]) for row in by_model.values()} == {(1, 1), (1, 0)}
    assert len(sums(service, "day")) <= 2
    service.ctl("usage", "--since", "1h")
    assert service.ctl("usage", "--since", "2100-01-01")["usage"] == []
    for wrong in ("--by", "hour"), ("--since", "soon"):
        assert service.ctl("usage", *wrong, ok=False).returncode == 1
    # GET /usage says the same, to admins, and without the daemon.
    service.daemon.stop()
    for by in "key", "subject", "model", "outcome", "day":
        told = service.http.get(f"/usage?by={by}")
        assert told.status_code == 200 and told.json() == {"by": by, "since": 0, "usage": service.ctl("usage", "--by", by)["usage"]}
    assert service.http.get("/usage").json()["by"] == "key"
    assert service.http.get("/usage?since=4102444800").json()["usage"] == []
    assert service.http.head("/usage").status_code == 200
    assert service.http.get("/usage", headers={"X-Forwarded-For": "203.0.113.7"}).status_code == 403
    for wrong in "by=hour", "by=", "by=key%27--", "since=soon", "since=-1", "since=1e300", "since=nan":
        assert service.http.get(f"/usage?{wrong}").status_code == 400


def test_each_round_of_tools_is_an_attempt(testbed):
    service, _ = testbed.one()
    assert Turn(service.ask("[search]")).whole
    assert [row[2] for row in rows(service, 2)] == ["complete"] * 2


def cancelled(service, count, **knobs):
    """So many clients that leave in the middle, each after as many words as its LLM sends; how many words."""
    lengths = [random.randrange(0, 30) for _ in range(count)]
    waiting = list(lengths)

    def leave():
        while waiting:
            try:
                length = waiting.pop()
            except IndexError:
                return
            x = service.ask(words(40, stall_after=length, **knobs))
            text = ""
            if length > 0:
                for chunk in x.chunks():
                    text += chunk.decode()
                    if text == said(length):
                        break
            else:
                begun.wait_request("/v1/chat/completions", 1)
            x.close()

    begun = service.llm
    threads = [threading.Thread(target=leave) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return lengths


@pytest.mark.parametrize("usage, count", [("asked", 60), ("none", 40), pytest.param("asked", 1000, marks=pytest.mark.long)])
def test_cancelled_streams_count_what_the_llm_sent(testbed, usage, count):
    service, llm = testbed.one(workers=2)
    service.llm = llm
    lengths = [n for n in cancelled(service, count, usage=usage) if n > 0]
    done = rows(service, len(lengths), lambda row: row[4] > 0)  # who left before the first word is no matter
    assert {row[2] for row in done} == {"cancelled"}
    assert sorted(row[4] for row in done) == sorted(lengths)
    assert sum(row[4] for row in done) == sum(lengths)


def sent(llm):
    """How many words the LLM has sent for each request that is over: all, or what had arrived when the other side left."""
    left = {d["request"]: d["steps_delivered"] for d in llm.stats()["closed"]}
    counts = []
    for r in llm.chats():
        text = r["body"]["messages"][-1]["content"]
        if not text.startswith("[["):
            continue  # the daemon's own, which is nobody's usage
        knobs = json.loads(text.strip("[]"))
        end = min([knobs["tokens"], *(knobs[k] for k in ("cut_after", "error_after", "stall_after") if k in knobs)])
        # The head is a step of its own, and so is what ends a whole stream.
        counts.append(min(end, max(0, left[r["id"]] - 1)) if r["id"] in left else end)
    return counts


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_streams_that_end_at_random_count_what_the_llm_sent(testbed, count):
    """Clients leave at any moment, LLMs die or fall silent, clients try again."""
    llm = testbed.llm("--record", str(4 * count))
    backend = testbed.backend({"d1": llm.deployment()})
    service = testbed.service(backend=backend, sets=["http.api=true", "llm.continue=false", "llm.stall_timeout=0.5", "llm.silence_timeout=1"], workers=2).wait_ready()
    dice = random.Random(count)
    kinds = [{}, {}, {}, {"cut_after": 7}, {"error_after": 4}, {"stall_after": 9}]
    orders = [({"tokens": 30, "token": "w# ", "numbered": True, "delay_us": 20000, **dice.choice(kinds)}, dice.random() * 0.8 if dice.random() < 0.7 else None)
              for _ in range(count)]

    def request():
        while orders:
            try:
                knobs, leaves_after = orders.pop()
            except IndexError:
                return
            for _ in range(2):
                body = {"model": "meta-llama/Llama-3.1-8B-Instruct", "messages": [{"role": "user", "content": inline(**knobs)}], "stream": True}
                x = Exchange(service.host, "POST", PATH, body)
                if leaves_after is not None:
                    threading.Event().wait(leaves_after)
                    x.close()
                    break
                if Stream(x).whole:
                    break

    threads = [threading.Thread(target=request) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wait_until(lambda: llm.stats()["active"] == 0, "all have ended")
    counts = sent(llm)
    begun = [n for n in counts if n > 0]
    done = rows(service, len(begun), lambda row: row[4] > 0)
    print(f"{len(counts)} attempts, {sum(counts)} words sent, {sum(row[4] for row in done)} counted")
    assert sorted(row[4] for row in done) == sorted(begun)
    assert {row[2] for row in done} >= {"complete", "cancelled"}


def test_old_rows_are_deleted(testbed):
    service, _ = testbed.one({"text": ["yes"]}, sets=["usage.max_rows=1000", "usage.retain=86400"])
    assert Turn(service.ask("hello")).whole
    rows(service, 1)
    assert service.responder.stop() == 0
    with sqlite3.connect(service.directory / "usage.db") as db:
        db.execute("UPDATE usage SET at_ms = 1, key_id = 'old'")
    db.close()
    service.start_responder()
    wait_until(service.answers, "an answer")
    assert service.wait_ready().chat("hello").whole
    wait_until(lambda: [row[0] for row in rows(service, 1)] == [""], "the old row is deleted")


@pytest.mark.parametrize("setting", ["threads.store=memory:", "usage.retain=0"])
def test_where_nothing_is_to_be_stored_nothing_is(testbed, setting):
    service, _ = testbed.one({"text": ["yes"]}, sets=[setting])
    assert Turn(service.ask("hello")).whole
    assert service.ctl("usage", ok=False).returncode == 1
    assert service.http.get("/usage").json() == {"status": "error", "message": "No usage is stored (settings usage.file and usage.retain)"}
    assert service.responder.stop() == 0
    assert not (service.directory / "usage.db").exists()


def test_a_database_that_cannot_be_written_costs_no_answer(testbed):
    service, _ = testbed.one({"text": ["yes"]}, sets=[f"usage.file={testbed.directory}/missing/usage.db"])
    assert service.chat("hello").answer == "yes"
    service.responder.wait_log("usage_not_stored .*missing/usage.db")
    told = service.http.get("/usage").json()
    assert told["status"] == "error" and "missing/usage.db" in told["message"]
    (testbed.directory / "missing").mkdir()
    wait_until(lambda: (testbed.directory / "missing/usage.db").exists(), "the row is stored later")


def test_many_who_read_it_at_once_cost_no_answer(testbed):
    """Also where it takes long, and of those who leave."""
    service, _ = testbed.one({"text": ["yes"]})
    assert service.chat("hello").answer == "yes"
    rows(service, 1)
    with sqlite3.connect(service.directory / "usage.db") as db:
        db.execute("WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 20000)"
                   " INSERT INTO usage SELECT NULL, 1, 1, 'k' || (value % 1000), 's', 'm', 'complete', 1, 1 FROM n")
    db.close()
    readers = [Exchange(service.host, "GET", "/usage") for _ in range(24)]
    for reader in readers[::3]:
        reader.close()
    assert service.chat("hello").answer == "yes"
    told = []
    for reader in (r for i, r in enumerate(readers) if i % 3):
        reader.head()
        told.append(json.loads(reader.read()))
        reader.close()
    whole = [t for t in told if "usage" in t]
    assert whole and all(len(t["usage"]) > 900 for t in whole)
    assert all(t in whole or t["message"].startswith("Too many sums") for t in told)


def test_tokens_are_charged_as_they_were_used(testbed):
    service, _ = testbed.one({"text": ["yes"]}, sets=[
        "access.require=all", f"access.keys_file={testbed.directory}/keys.jsonl", "http.strict_status=true", "llm.max_tokens=500"])
    key = service.ctl("keys", "create", "ann", "tokens=1000")["key"]
    headers = {"Authorization": f"Bearer {key}"}
    service.secrets.append(key)

    def turn():
        x = service.ask(words(88), headers=headers)
        x.head()
        x.body = x.read().decode()
        x.close()
        return x

    wait_until(lambda: turn().status == 200, "the key is known")
    left = []
    while (x := turn()).status == 200:  # 500 are reserved, 100 are used
        left.append(int(x.headers["x-ratelimit-remaining-tokens"]))
        assert len(left) < 20
    assert len(left) >= 3 and "1000 tokens per minute" in x.body
    rows(service, len(left) + 1)
    assert sums(service, "key")["ann"]["completion_tokens"] == 88 * (len(left) + 1)
