# SPDX-License-Identifier: Apache-2.0
"""The world of the soak: the service with all its mocks, and each kind of load on it."""

import json

from leaks import footprint
from harness.load import many_turns
from harness.process import wait_until
from harness.testbed import Testbed
from harness.tool_mocks import CODE, E2b, Search, call, calls, e2b_env, rounds, search_env

PLAIN = "Hello, world! Grüße 😀\nBye."
LONG = '[[{"tokens":200,"token":"w# ","numbered":true,"delay_us":2000}]]'
RECORD = ("--record", "64")  # or the mocks would be what grows


class World:
    def __init__(self, clients):
        self.clients, self.testbed = clients, Testbed()
        testbed = self.testbed
        try:
            self.llm = testbed.llm(*RECORD)
            search = testbed.keep(Search(testbed, "search", {}, RECORD))
            e2b = testbed.keep(E2b(testbed, "e2b", {}, RECORD))
            backend = testbed.backend({"d1": self.llm.deployment("One", name="c1"), "d2": self.llm.deployment("Two", name="c2")})
            # Conversations are forgotten during the run, so that their number levels off.
            sets = ["threads.expire=60", "threads.short_id_idle=60", "llm.idle_timeout=5", "code.idle=30", "http.body_limit=65536"]
            self.service = testbed.service(backend=backend, workers=2, sets=sets, env={
                **search_env(search), **e2b_env(e2b), "AGENT_HEALTH_CHECK_INTERVAL": "1", "AGENT_DISCOVERY_INTERVAL": "1"})
            self.service.wait_ready()
        except BaseException:
            testbed.close()
            raise

    # --- the load ---

    def turns(self, message, expect=None, turns=10, **more):
        return many_turns(self.service.host, self.clients, turns, message, expect, **more)

    def refused(self):
        """What clients get wrong."""
        for body in (b"", b"{", b'{"message":1,"thread_id":"x"}', b"[" * 5000, b'{"message":"' + b"x" * 200000 + b'"}'):
            self.service.http.post("/poll_requests", content=body)

    def administer(self):
        for path in ("/refresh", "/select_model?deploy_id=d2", "/select_model?deploy_id=nope", "/refresh_config"):
            self.service.http.post(path)
        for path in ("/", "/status", "/test_llm", "/nope"):
            for _ in range(20):
                self.service.http.get(path)

    def round(self):
        """Each kind once: the turns that were made, and what was wrong with them."""
        code = rounds(calls(call(CODE, code="print(1)")))
        reports = [
            self.turns("[plain]", PLAIN),
            self.turns(LONG, turns=2, word="w# ", words=200),
            self.turns("[search]", turns=4),
            self.turns("[tworounds]", turns=2),
            self.turns(code, turns=2),
            self.turns("[reason]", turns=4),
            self.turns("[plain]", PLAIN, turns=4, close=True),
        ]
        leaving = self.turns(LONG, turns=4, word="w# ", words=200, leave=2)
        self.refused()
        self.administer()
        wrong = [f"{r['turns'] - r['whole']} turns failed: {r['examples'][:2]}" for r in reports if r["whole"] != r["turns"]]
        return sum(r["turns"] for r in [*reports, leaving]), wrong

    # --- what it holds ---

    def idle(self):
        state = self.service.ctl("status", ok=False)
        return state.returncode == 0 and json.loads(state.stdout)["counters"]["active_turns"] == 0

    def held(self):
        wait_until(self.idle, "no turn runs any more", 20)
        held = footprint(self.service)
        tables = {f"{who}, {unit}": n for who in held for unit, n in
                  (("KiB", held[who]["kib"]), ("descriptors", sum(held[who]["descriptors"].values())))}
        database = sum(f.stat().st_size for f in self.service.directory.glob("threads.db*")) // 1024
        return {**tables, "database, KiB": database}

    def close(self):
        return self.testbed.close()
