# SPDX-License-Identifier: Apache-2.0
"""Several deployments of one model: turns spread over them, and a thread stays with the one that answered it."""

import concurrent.futures
import json
import os
import re
import signal
import subprocess
import threading

import pytest

from harness.load import many_turns
from harness.metrics import scrape
from harness.process import BUILD, wait_until

MODEL = "Llama-3.1-8B-Instruct"
SLOW = {"tokens": 1200, "delay_us": 50000}  # until the test closes it


def replicas(testbed, count=4, scripts=None, workers=2, sets=(), **more):
    """(service, LLMs): all are healthy replicas of one model, d1 to dN."""
    llms = [testbed.llm("--record", "20000", **((scripts or {}).get(i, {}))) for i in range(count)]
    backend = testbed.backend({f"d{i + 1}": llm.deployment(name=f"c-d{i + 1}") for i, llm in enumerate(llms)})
    service = testbed.service(backend=backend, workers=workers, sets=["balance.metrics_interval=0.1", *sets], **more).wait_ready()
    known = lambda: [m["status"] for m in models(service).values()] == ["healthy"] * count
    wait_until(known, f"{count} healthy replicas", 20)
    service.ctl("ping")
    return service, llms


def models(service):
    found = service.ctl("models")["models"]
    return {m["deploy_id"]: m for m in found if m["kind"] == "discovered"}


def in_flight(service):
    return [m.get("in_flight", 0) for _, m in sorted(models(service).items())]


def threads_of(llm):
    """The numbers of threads and turns in the messages that it answered."""
    last = [next(m for m in reversed(r["body"]["messages"]) if m["role"] == "user")["content"] for r in llm.chats()]
    return [tuple(map(int, found.groups())) for found in (re.search(r"<(\d+)-(\d+)>", text) for text in last) if found]


def test_a_slow_replica_gets_fewer_turns_and_none_too_many(testbed):
    scripts = {i: {"first_delay_us": 1200000 if i == 0 else 300000} for i in range(4)}
    service, llms = replicas(testbed, scripts=scripts)
    report = many_turns(service.host, 400, 1, "[plain] <{i}>", seconds=2, one_thread=True)
    assert report["failed"] == 0, report
    stats = [llm.stats() for llm in llms]
    for s in stats:
        assert s["active_most"] <= 1.3 * 100 + 2, stats  # besides, its health and its load are read
    turns = [len(llm.chats()) for llm in llms]
    print("turns at once, and in all, at each replica:", [s["active_most"] for s in stats], turns)
    assert turns[0] < min(turns[1:]), turns
    assert max(turns[1:]) < 1.3 * sum(turns[1:]) / 3, turns


def test_threads_stay_with_their_replica(testbed):
    """While others are busy too, and however many threads there are; on any worker."""
    service, llms = replicas(testbed)
    running = [service.ask("[[" + json.dumps(SLOW) + "]]") for _ in range(8)]
    for t in running:
        t.head()
    assert in_flight(service) == [2, 2, 2, 2]
    for turn in range(4):
        for thread in range(20):
            assert service.chat(f"[plain] <{thread}-{turn}>", f"a-thread-of-its-own-{thread}").whole
    at = [{thread for thread, _ in threads_of(llm)} for llm in llms]
    assert sum(map(len, at)) == 20 and sum(map(bool, at)) > 1, at
    for t in running:
        t.close()


def test_follow_ups_of_400_threads_stay_while_balanced(testbed):
    service, llms = replicas(testbed, scripts={i: {"first_delay_us": 300000} for i in range(4)})
    report = many_turns(service.host, 400, 4, "[plain] <{i}>", one_thread=True, spread_ms=300)
    assert report["failed"] == 0, report
    at = {turn: n for n, llm in enumerate(llms) for turn in threads_of(llm)}
    follow_ups = [(thread, turn) for thread, turn in at if turn > 0]
    stayed = sum(at[thread, turn] == at[thread, turn - 1] for thread, turn in follow_ups)
    print(f"{stayed} of {len(follow_ups)} follow-ups at the replica of the turn before")
    assert len(follow_ups) == 1200 and stayed >= 0.95 * 1200, stayed
    print("turns at once at each replica:", [llm.stats()["active_most"] for llm in llms])


def test_a_shared_prompt_sends_nothing_to_one(testbed):
    """Neither with a conversation that has no name, nor with one that has."""
    service, llms = replicas(testbed, sets=["http.api=true"])
    prompt = {"role": "system", "content": "You are the assistant of everybody. " * 50}

    def ask(n):
        body = {"model": f"meta-llama/{MODEL}" + (":agent" if n % 2 else ""),
                "messages": [prompt, {"role": "user", "content": "[plain]"}]}
        return service.http.post("/v1/chat/completions", json=body).status_code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(80))) == {200}
    assert all(len(llm.chats()) > 0 for llm in llms), [len(llm.chats()) for llm in llms]


def test_places_of_a_killed_worker_are_given_back(testbed):
    service, llms = replicas(testbed, scripts={i: SLOW for i in range(4)})
    turns = [service.ask("go") for _ in range(24)]
    for t in turns:
        t.head()
    assert in_flight(service) == [6, 6, 6, 6]
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    wait_until(lambda: len(service.worker_pids()) == 2, "two workers again")
    for t in turns:
        t.close()
    wait_until(lambda: in_flight(service) == [0, 0, 0, 0], "no place is taken")
    assert all(llm.stats()["active"] <= 1 for llm in llms)


@pytest.mark.long
def test_turns_go_on_when_a_replica_dies(testbed):
    service, llms = replicas(testbed, scripts={i: {"tokens": 20, "delay_us": 10000} for i in range(4)})
    reports = []
    load = threading.Thread(target=lambda: reports.append(many_turns(service.host, 40, 1, "go", "word " * 20, seconds=2)))
    load.start()
    wait_until(lambda: llms[1].stats()["active_most"] >= 8, "turns at all of them")
    llms[1].process.kill()
    load.join()
    assert reports[0]["failed"] == 0 and reports[0]["whole"] > 80, reports
    assert in_flight(service)[1] == 0


def test_refusals_teach_a_capacity_and_are_no_fault(testbed):
    service, llms = replicas(testbed, scripts={i: {"slots": 3 if i == 0 else 0, "first_delay_us": 200000} for i in range(4)})
    report = many_turns(service.host, 40, 4, "[plain] <{i}>")
    assert report["failed"] == 0, report
    first = models(service)["d1"]
    assert first["capacity_from"] == "refused" and 1 <= first["capacity"] <= 12 and first["refused"] > 0, first
    assert first["status"] == "healthy" and first["failures"] == 0
    assert len(llms[0].chats()) < len(llms[1].chats())


def page(running, waiting):
    return "# TYPE vllm:num_requests_running gauge\n" + "".join(
        f'vllm:num_requests_{what}{{engine="0",model_name="a \\" b}}"}} {number}.0\n'
        for what, number in (("running", running), ("waiting", waiting)))


def test_a_queue_at_the_server_teaches_a_capacity(testbed):
    quiet = {"documents": {"/metrics": page(0, 0)}, **SLOW}
    service, llms = replicas(testbed, count=2, scripts={i: quiet for i in range(2)})
    turns = [service.ask("go") for _ in range(6)]
    for t in turns:
        t.head()
    assert in_flight(service) == [3, 3]
    llms[0].script(documents={"/metrics": page(1, 2)}, **SLOW)
    wait_until(lambda: models(service)["d1"]["capacity_from"] == "queued", "its queue was read", 20)
    first = models(service)["d1"]
    assert first["capacity"] == 1 and first["server"] == {"running": 1, "waiting": 2}, first
    more = [service.ask("go") for _ in range(3)]
    for t in more:
        t.head()
    assert in_flight(service) == [3, 6]
    for t in turns + more:
        t.close()


def test_a_configured_capacity_counts(testbed):
    service, llms = replicas(testbed, count=2, scripts={i: SLOW for i in range(2)},
                             sets=["balance.capacity=8", "balance.capacities=c-d1=2"])
    turns = [service.ask("go") for _ in range(10)]
    for t in turns:
        t.head()
    assert in_flight(service) == [2, 8]
    found = models(service)
    listed = {r["name"]: (r["in_flight"], r["capacity"], r["capacity_from"]) for r in service.status()["replicas"]}
    assert listed == {"c-d1": (2, 2, "configured"), "c-d2": (8, 8, "configured")}
    metrics = scrape(service)
    for of, turns_there in (("d1", 2), ("d2", 8)):
        for name in ("llm_in_flight", "llm_capacity", "llm_taken_total"):
            assert metrics.value(name, model=MODEL, deploy_id=of, kind="discovered") == turns_there
        assert metrics.value("llm_refused_total", model=MODEL, deploy_id=of, kind="discovered") == 0
    table = subprocess.run([BUILD / "tt-agentctl", "--run-dir", service.run, "models"], capture_output=True, text=True).stdout
    assert "TURNS" in table and "2 of 2 (configured)" in table
    assert [(m["capacity"], m["capacity_from"]) for m in (found["d1"], found["d2"])] == [(2, "configured"), (8, "configured")]
    for t in turns:
        t.close()


def test_a_pinned_deployment_stays_alone(testbed):
    service, llms = replicas(testbed)
    service.ctl("select", "d3")
    for _ in range(8):
        assert service.chat("[plain]").whole
    assert [len(llm.chats()) for llm in llms] == [0, 0, 8, 0]
    service.ctl("unselect")
    for _ in range(30):
        assert service.chat("[plain]").whole
    assert all(len(llm.chats()) > 0 for llm in llms)


def test_another_model_is_no_replica(testbed):
    service, first, second = testbed.two()
    for _ in range(12):
        assert service.chat("[plain]").whole
    assert len(first.chats()) == 12 and not second.chats()
    assert "replica=" not in service.responder.log() and "replicas" not in service.status()


@pytest.mark.parametrize("lacks", ["tools", "context"])
def test_one_that_can_do_less_is_no_replica(testbed, lacks):
    first = testbed.llm()
    second = testbed.llm(max_model_len=2000) if lacks == "context" else testbed.llm()
    backend = testbed.backend({"d1": first.deployment(), "d2": second.deployment(name="c-d2", tool_calling_enabled=lacks != "tools")})
    service = testbed.service(backend=backend).wait_ready()
    service.wait_capabilities()
    for _ in range(12):
        assert service.chat("[plain]").whole
    assert len(first.chats()) == 12 and not second.chats()
    assert "replicas" not in service.status()


def test_the_log_names_the_replica(testbed):
    service, llms = replicas(testbed, count=2, workers=1)
    assert service.chat("[plain]").whole
    name = service.responder.wait_log(r"replica=\"?(c-d[12])")[1]
    assert llms[0 if name == "c-d1" else 1].chats()
