# SPDX-License-Identifier: Apache-2.0
"""The world that chaos.run harms: three LLMs, a backend, the service, and its clients."""

import json
import random
import re
import signal
import socket
import threading
import time

from faults import FAULTS, Schedule
from leaks import footprint
from harness.load import many_turns
from harness.mocks import Backend, Llm
from harness.process import BUILD, PATIENCE, Process, wait_until
from harness.testbed import Testbed

WORDS = 40
WORD = "c{i}w#. "
MESSAGE = '[[{"tokens":%d,"token":"%s","numbered":true}]]' % (WORDS, WORD)
CALM = {"delay_us": 25000, "first_delay_us": 10000}
WARM_SECONDS = 2
IDLE_SECONDS = 8  # after which connections that nobody uses are closed


class Mortal:
    """A mock that keeps its address and its behaviour over its deaths."""

    def __init__(self, testbed, kind, name, address, script):
        self.testbed, self.kind, self.name, self.address, self.calm = testbed, kind, name, address, script
        self.port, self.lives, self.script = 0, 0, dict(script)
        self.born()

    def born(self):
        self.lives += 1
        file = self.testbed.directory / f"{self.name}.script"
        file.write_text(json.dumps(self.script))
        argv = [BUILD / self.kind.program, "--address", self.address, "--port", self.port, "--script", file,
                "--record", 64]
        self.process = Process(f"{self.name}-{self.lives}", argv, self.testbed.directory)
        self.port = int(self.process.wait_log(r"^listening on (\d+)")[1])
        self.host = f"{self.address}:{self.port}"
        self.url = f"http://{self.host}"

    def die(self):
        self.process.kill()

    def behave(self, **script):
        """From the next request on."""
        self.script = {**self.calm, **script}
        body = json.dumps(self.script).encode()
        with socket.create_connection((self.address, self.port), timeout=5 * PATIENCE) as s:
            s.sendall(b"PUT /_script HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                      % (len(body), body))
            answer = s.recv(4096)
        assert b" 200 " in answer, answer

    def stop(self):
        if self.process.alive():
            self.process.kill()
        return 0

    deployment = Llm.deployment


class World:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.testbed = Testbed()
        try:
            self.build()
        except BaseException:
            self.testbed.close()
            raise

    def build(self):
        testbed = self.testbed
        # Addresses that no outgoing connection takes: the ports stay free over a death.
        self.llms = [self.keep(Mortal(testbed, Llm, f"llm{i}", f"127.0.1.{i}", CALM)) for i in (1, 2, 3)]
        self.list = {f"d{i}": llm.deployment(f"Model-{i}", name=f"c-d{i}") for i, llm in enumerate(self.llms, 1)}
        self.backend = self.keep(Mortal(testbed, Backend, "backend", "127.0.1.9", {"deployed": self.list}))
        env = {"AGENT_HEALTH_CHECK_INTERVAL": "0.5", "AGENT_HEALTH_CHECK_TIMEOUT": str(0.5 * PATIENCE),
               "AGENT_DISCOVERY_INTERVAL": "0.5", "AGENT_MAX_FAILURES": "2", "AGENT_LLM_POLLING_INTERVAL": "0.5"}
        sets = [f"llm.silence_timeout={1.5 * PATIENCE}", "llm.connect_timeout=2",
                "limits.threads=200", "llm.idle_timeout=5"]  # what is remembered or held for the next chat is no leak
        self.service = testbed.service(start=False, backend=self.backend, env=env, sets=sets, workers=2)
        self.service.listen()  # systemd's socket: the responder may die as well
        self.service.start().wait_ready()
        self.service.wait_status(lambda s: len(s["available_models"]) == 3, "three models")

    def keep(self, mortal):
        return self.testbed.keep(mortal)

    def load(self, clients, seconds, leave=0):
        return many_turns(self.service.host, clients, 1, MESSAGE, word=WORD, words=WORDS, seconds=max(1, int(seconds)),
                          leave=leave, timeout_s=int(60 * PATIENCE), spread_ms=500)

    def quiet(self):
        """All turns have ended."""
        def idle():
            state = self.service.ctl("status", ok=False)
            return state.returncode == 0 and '"active_turns":0' in re.sub(r"\s", "", state.stdout)
        wait_until(idle, "no turn runs any more", 20)

    def measure(self, clients):
        """What the service holds after the same load every time, and once it is idle:
        nginx's workers, and the connections that they keep, are replaced."""
        warm = self.load(clients, WARM_SECONDS)
        self.quiet()
        self.service.nginx.process.send(signal.SIGHUP)
        held, end = footprint(self.service), time.monotonic() + IDLE_SECONDS * PATIENCE
        while time.monotonic() < end and held["workers"]["descriptors"].get("tcp", 0) > 0:
            time.sleep(0.2)
            held = footprint(self.service)
        return warm, held

    def phase(self, name, seconds, clients, only=None, spare=False):
        calm = []
        if spare:
            warm, before = self.measure(clients)
            calm.append(warm)
        schedule = Schedule(self, [f for f in FAULTS if not (spare and f.deadly)
                                   and (not only or f.name in only.split(","))])
        found = {}
        clients_thread = threading.Thread(target=lambda: found.update(self.load(clients, seconds, leave=10)))
        clients_thread.start()
        schedule.run(seconds)
        clients_thread.join()
        schedule.heal()
        result = {"name": name, "load": found, "calm": calm, "held": None}
        if spare:
            warm, after = self.measure(clients)
            calm.append(warm)
            result["held"] = [before, after]
        return {**result, "faults": schedule.counts, "deaths_ns": schedule.deaths_ns}

    def close(self):
        return self.testbed.close()
