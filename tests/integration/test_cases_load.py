# SPDX-License-Identifier: Apache-2.0
"""Of the 37 failures (see test_cases.py) those that need a load: what is left behind, what
grows, what one request does to others."""

import random
import select
import signal
import sqlite3
import statistics
import threading
import time

from stage.channel import Channel
from stage.held import holds
from stage.load import many_turns
from stage.names import SilentNames
from stage.process import PATIENCE, wait_until
from stage.script import PLAIN, inline, said, words
from stage.tools import SEARCH, call, calls, rounds
from stage.wire import Turn

# The allocator overwrites what was freed, and keeps nothing back for whoever frees it again.
STRICT_MALLOC = ("env", "GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.perturb=201")


class Staying:
    """Clients that stay, and check each word of what they get, until the others are done."""

    MESSAGE = '[[{"tokens":40,"token":"c{i}w# ","numbered":true,"delay_us":3000}]]'

    def __init__(self, service, clients):
        self.reports, self.over = [], threading.Event()
        self.thread = threading.Thread(target=self._talk, args=(service.host, clients))

    def _talk(self, host, clients):
        while not self.over.is_set():
            self.reports.append(many_turns(host, clients, 2, self.MESSAGE, word="c{i}w# ", words=40))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *failed):
        self.over.set()
        self.thread.join()

    def all_whole(self):
        assert self.reports and all(r["whole"] == r["turns"] for r in self.reports), self.reports


def storm(service, count, seed, stay=4):
    """Clients that come and leave at random moments, in every way, beside others that stay."""
    chance = random.Random(seed)
    open_now = []
    with Staying(service, stay) as staying:
        for _ in range(count):
            kind = chance.choice([words(100, delay_us=2000), inline(first_delay_us=50000), inline(header_delay_us=50000),
                                  inline(tokens=20000, token="x" * 100), words(30, cut_after=10), "[404]"])
            open_now.append(service.ask(kind, receive_buffer=chance.choice([None, 4096])))
            while len(open_now) > chance.randrange(20):
                gone = open_now.pop(chance.randrange(len(open_now)))
                chance.choice([gone.close, gone.reset])()
        for gone in open_now:
            gone.reset()
    staying.all_whole()


def children(pid):
    return set(open(f"/proc/{pid}/task/{pid}/children").read().split())


def test_case_16_what_is_cancelled_leaves_nothing_behind(stage):
    """Cancelled streams leaked their readers (maximhq/bifrost#828)."""
    service, llm = stage.one(workers=1, sets=["limits.threads=50"])
    worker = service.worker_pids()[0]

    def after(count, seed):
        storm(service, count, seed)
        wait_until(lambda: llm.stats()["active"] == 0, "all streams ended")
        old = children(service.nginx.process.pid)
        service.nginx.process.send(signal.SIGHUP)  # the connections that it keeps go with its workers
        wait_until(lambda: not old & children(service.nginx.process.pid), "nginx's old workers ended")
        wait_until(lambda: holds(worker)["descriptors"].get("unix", 0) < 12, "nginx's connections are closed")
        return holds(worker)

    before, now = after(200, 1), after(200, 2)
    wait_until(lambda: "tcp" not in holds(worker)["descriptors"], "connections to the LLM are closed", 15)
    of = lambda held: {k: n for k, n in held["descriptors"].items() if not k.startswith("tcp")}
    assert sum(of(now).values()) <= sum(of(before).values()) + 2, (before, now)
    assert now["threads"] == before["threads"]
    if PATIENCE == 1:  # a sanitizer keeps what was freed
        assert now["kib"] - before["kib"] < 8192  # what big answers need at once depends on chance


def test_case_17_a_cancel_harms_no_other_request(stage):
    """A double release on close harmed another request (bifrost PR 4678)."""
    service, llm = stage.one(workers=2, before=STRICT_MALLOC)
    pids = service.worker_pids()
    storm(service, 400, 17, stay=10)
    assert service.worker_pids() == pids and "worker_died" not in service.responder.log()
    assert service.chat("[plain]").text == PLAIN


def test_case_18_memory_does_not_grow_with_the_turns(stage):
    """Memory grew until the service was killed (litellm#12685). tests/chaos looks for longer."""
    service, llm = stage.one(workers=1, sets=["limits.threads=100"])
    pids = {"worker": service.worker_pids()[0], "daemon": service.daemon.pid}
    kib = {who: [] for who in pids}
    for _ in range(12):
        assert many_turns(service.host, 30, 14, words(30), said(30))["failed"] == 0
        for who, pid in pids.items():
            kib[who].append(holds(pid)["kib"])
    for who, each in kib.items():
        # The first quarter fills caches; from the second to the fourth 2,500 turns are made.
        second, fourth = statistics.median(each[3:6]), statistics.median(each[9:12])
        assert PATIENCE > 1 or fourth - second < 256, (who, each)  # a sanitizer keeps what was freed


def test_case_19_a_slow_disk_or_client_stalls_nobody(stage):
    """One blocking call stalled the loop and, with it, the health checks (litellm#16716)."""
    service, llm = stage.one(workers=1)
    assert service.chat("[plain]").whole
    disk = sqlite3.connect(service.directory / "threads.db", timeout=10, isolation_level=None)
    disk.execute("BEGIN EXCLUSIVE")  # whoever writes now, waits
    slow = [service.ask(inline(tokens=20000, token="x" * 500, tokens_per_write=20), receive_buffer=4096) for _ in range(5)]
    for exchange in slow:
        exchange.head()
    try:
        asked = [service.ask(words(10, delay_us=10000)) for _ in range(3)]
        answers_at_once(service)
        turns = [Turn(exchange) for exchange in asked]
    finally:
        disk.execute("ROLLBACK")
        disk.close()
    for turn in turns:
        flows(turn, 10)
    for exchange in slow:
        exchange.reset()


def answers_at_once(service):
    began = time.monotonic()
    for _ in range(20):
        assert service.http.get("/status").status_code == 200
    assert time.monotonic() - began < 1 * PATIENCE


def flows(turn, count):
    """The turn is whole, and nothing held it up."""
    assert turn.whole and turn.text == said(count)
    gaps = [b - a for a, b in zip(turn.times, turn.times[1:])]
    assert max(gaps) < 0.4 * PATIENCE, gaps


def test_case_19_a_silent_name_server_stalls_nobody(stage):
    """The same, where the call looks up a name: an LLM's in the daemon, a tool's in the responder."""
    names, llm = SilentNames(stage), stage.llm()
    other = {**llm.deployment("Qwen3-8B"), "internal_url": "llm.silent.test:7000/v1/chat/completions",
             "health_url": "llm.silent.test:7000/health"}
    service = stage.service(backend=stage.backend({"d1": llm.deployment(), "d2": other}), before=names.before,
                            env={"TAVILY_BASE_URL": "http://tool.silent.test:7000", "AGENT_HEALTH_CHECK_INTERVAL": "0.2",
                                 "AGENT_HEALTH_CHECK_TIMEOUT": "0.3"}).wait_ready()
    wait_until(lambda: "llm.silent.test" in names.asked(), "the daemon looks up the LLM")
    searching = [service.ask(rounds(calls(call(SEARCH, query="x")))) for _ in range(3)]
    wait_until(lambda: "tool.silent.test" in names.asked(), "the responder looks up the tool")
    asked = [service.ask(words(40, delay_us=10000)) for _ in range(3)]
    answers_at_once(service)
    channel, slowest, checked = stage.client(Channel(service.run)), 0, len(llm.requests("/health"))
    for _ in range(30):
        began = time.monotonic()
        assert channel.call("ping")["pid"]
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 0.25 * PATIENCE
    searching.pop().reset()  # nor does one that gives up
    for exchange in asked:
        flows(Turn(exchange), 40)
    llm.wait_request("/health", checked + 2)
    for exchange in searching:
        exchange.reset()


QUICK = {"AGENT_HEALTH_CHECK_INTERVAL": "0.2", "AGENT_HEALTH_CHECK_TIMEOUT": "0.3", "AGENT_DISCOVERY_INTERVAL": "0.3"}
NEVER = 60_000_000  # microseconds: longer than any deadline here


def test_case_25_one_hung_model_does_not_slow_down_others(stage):
    """One hung model blocked the requests to all (vllm production-stack#749)."""
    a, b = stage.llm(), stage.llm()
    backend = stage.backend({"d1": a.deployment(), "d2": b.deployment("Qwen3-8B", name="c-d2")})
    service = stage.service(backend=backend, env=QUICK, sets=["health.completion_interval=0.3"]).wait_ready()
    current = lambda id: service.wait_status(lambda s: s["current_llm"]["llm_info"]["deploy_id"] == id, f"{id} is current")

    def usual_time():
        """Of a turn that d2 answers."""
        count, times = len(b.chats()), []
        for _ in range(40):
            turn = service.chat("[plain]")
            assert turn.whole and turn.text == PLAIN
            times.append(turn.times[-1])
        assert sum(r["body"].get("stream", False) for r in b.chats()[count:]) == 40
        return statistics.median(times)

    service.http.post("/select_model", params={"deploy_id": "d2"})
    before = usual_time()
    service.http.post("/select_model", params={"deploy_id": "d1"})
    current("d1")
    a.script(health_delay_us=NEVER, header_delay_us=NEVER, models_delay_us=NEVER)
    a.forget()
    hung = [service.ask("[plain]") for _ in range(20)]
    wait_until(lambda: sum(r["body"].get("stream", False) for r in a.chats()) == 20, "20 turns at the hung LLM")
    current("d2")
    service.wait_status(lambda s: s["available_models"][0]["status"] == "unhealthy", "d1 unhealthy")
    assert usual_time() < 2 * before + 0.02 * PATIENCE
    assert select.select([e.socket for e in hung], [], [], 0)[0] == [], "they hang all the while"
    for exchange in hung:
        exchange.reset()
    wait_until(lambda: a.stats()["active"] <= 2, "the hung LLM is left alone but for its checks")
