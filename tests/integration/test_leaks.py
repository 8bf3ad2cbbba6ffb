# SPDX-License-Identifier: Apache-2.0
"""Cancelled requests and many turns leak nothing and affect nobody else."""

import random
import signal
import threading

from harness.llm_script import PLAIN, inline, said, words
from harness.load import many_turns
from harness.process import PATIENCE, wait_until
from harness.process_usage import holds

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


def test_what_is_cancelled_leaves_nothing_behind(testbed):
    """Case 16: Cancelled streams leaked their readers (maximhq/bifrost#828)."""
    service, llm = testbed.one(workers=1, sets=["limits.threads=50", "llm.idle_timeout=5"])
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


def test_a_cancel_harms_no_other_request(testbed):
    """Case 17: A double release on close harmed another request (bifrost PR 4678)."""
    service, llm = testbed.one(workers=2, before=STRICT_MALLOC)
    pids = service.worker_pids()
    storm(service, 400, 17, stay=10)
    assert service.worker_pids() == pids and "worker_died" not in service.responder.log()
    assert service.chat("[plain]").text == PLAIN


# Of 420 turns each. SQLite's cache of pages and the one of recent threads fill until about the 80th; what
# loses 26 bytes a turn never settles.
SETTLED_ROUNDS, MAX_ROUNDS = 6, 240


def test_memory_does_not_grow_with_the_turns(testbed):
    """Case 18: Memory grew until the service was killed (litellm#12685). tests/chaos looks for longer."""
    service, llm = testbed.one(workers=1, sets=["limits.threads=100"])
    pids = {"worker": service.worker_pids()[0], "daemon": service.daemon.pid}
    kib = {who: [] for who in pids}
    grew = lambda who: kib[who][-1] - kib[who][-1 - SETTLED_ROUNDS]
    for n in range(MAX_ROUNDS if PATIENCE == 1 else 12):  # a sanitizer keeps what was freed
        assert many_turns(service.host, 30, 14, words(30), said(30))["failed"] == 0
        for who, pid in pids.items():
            kib[who].append(holds(pid)["kib"])
        if n >= SETTLED_ROUNDS and all(grew(who) < 64 for who in pids):
            return
    assert PATIENCE > 1, kib
