# SPDX-License-Identifier: Apache-2.0
"""Which faults are injected, where, for how long, and how they are undone."""

import heapq
import os
import signal
import time

from harness.process import PATIENCE, wait_until


class Fault:
    def __init__(self, name, victim, harm, heal=None, lasts=(0.2, 1.5), deadly=False):
        self.name, self.victim, self.harm, self.heal, self.lasts, self.deadly = name, victim, harm, heal, lasts, deadly


# --- mocks: LLM 1 and 2, and the backend ---

def kill(world, x):
    x.die()


def born(world, x):
    x.born()


def freeze(world, x):
    x.process.send(signal.SIGSTOP)


def go_on(world, x):
    x.process.send(signal.SIGCONT)


def calm(world, x):
    x.behave()


def behaving(make):
    return lambda world, x: x.behave(**make(world.random))


SCRIPTS = {
    "cut": lambda r: {"cut_after": r.randrange(0, 30)},
    "reset": lambda r: {"reset_after": r.randrange(0, 30)},
    "stall": lambda r: {"stall_after": r.randrange(0, 30)},
    "error event": lambda r: {"error_after": r.randrange(0, 30)},
    "slow": lambda r: {"delay_us": 100000, "first_delay_us": 300000},
    "busy": lambda r: {"status": r.choice([429, 500, 503])},
    "wrong protocol": lambda r: {"raw": "gibberish\r\n\r\n"},
    "sick": lambda r: {"health_status": 503},
    "pieces": lambda r: {"pieces": r.randrange(1, 40), "comments": True, "line_end": "crlf"},
}

LISTS = {
    "list fails": lambda r: {"status": 500},
    "list malformed": lambda r: {"body": r.choice(["[]", "{\"d1\":", "", "null", "{\"d1\":{\"name\":5}}" * 2])},
    "list cut": lambda r: {"cut": r.randrange(1, 200)},
    "list stalls": lambda r: {"stall": True},
    "list slow": lambda r: {"delay_us": 300000},
}


def undeploy(world, x):
    left = dict(world.list)
    del left[world.random.choice(["d1", "d2"])]
    x.behave(deployed=left)


# --- the daemon ---

def daemon_killed(world, _):
    world.service.daemon.kill()


def daemon_ended(world, _):
    world.service.daemon.stop()


def daemon_born(world, _):
    world.service.start_daemon()


def daemon_frozen(world, _):
    world.service.daemon.send(signal.SIGSTOP)


def daemon_goes_on(world, _):
    world.service.daemon.send(signal.SIGCONT)


def daemon_reloads(world, _):
    world.service.daemon.send(signal.SIGHUP)


# --- workers ---

def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def worker_killed(world, _):
    pids = world.service.worker_pids()
    if pids:
        world.deaths_ns.append(time.monotonic_ns())
        send(world.random.choice(pids), signal.SIGKILL)


def worker_frozen(world, _):
    world.frozen = world.random.choice(world.service.worker_pids() or [0])
    if world.frozen:
        send(world.frozen, signal.SIGSTOP)


def worker_goes_on(world, _):
    if world.frozen:
        send(world.frozen, signal.SIGCONT)


def parent_killed(world, _):
    """Its workers serve what they have begun, and end."""
    responder = world.service.responder
    responder.expected_exit = {-signal.SIGKILL}
    os.kill(responder.pid, signal.SIGKILL)
    responder.wait()


def parent_frozen(world, _):
    world.service.responder.send(signal.SIGSTOP)


def parent_frozen_over_a_death(world, _):
    """Nobody replaces the worker for a while."""
    parent_frozen(world, _)
    worker_killed(world, _)


def parent_goes_on(world, _):
    world.service.responder.send(signal.SIGCONT)


def parent_ended(world, _):
    world.service.responder.send(signal.SIGTERM)


def parent_born(world, _):
    world.service.start_responder()


def reexecute(world, _):
    world.service.responder.send(signal.SIGHUP)


FAULTS = []
for victim in ("llm1", "llm2", "backend"):
    FAULTS += [Fault(f"{victim} killed", victim, kill, born), Fault(f"{victim} stopped", victim, freeze, go_on, (0.2, 2.5))]
    for name, make in (LISTS if victim == "backend" else SCRIPTS).items():
        FAULTS.append(Fault(f"{victim} {name}" if victim != "backend" else name, victim, behaving(make), calm))
FAULTS += [
    Fault("model undeployed", "backend", undeploy, calm),
    Fault("daemon killed", "daemon", daemon_killed, daemon_born, (0.0, 2.0), deadly=True),
    Fault("daemon restarted", "daemon", daemon_ended, daemon_born, (0.0, 0.5), deadly=True),
    Fault("daemon stopped", "daemon", daemon_frozen, daemon_goes_on, (0.2, 2.0)),
    Fault("daemon reloaded", "daemon", daemon_reloads),
    Fault("worker killed", "responder", worker_killed, None, (0.5, 1.0), deadly=True),
    Fault("worker stopped", "responder", worker_frozen, worker_goes_on, (0.1, 1.0)),
    Fault("parent stopped", "responder", parent_frozen, parent_goes_on, (0.2, 2.0)),
    Fault("parent stopped over a death", "responder", parent_frozen_over_a_death, parent_goes_on, (0.2, 1.0), deadly=True),
    Fault("responder killed", "responder", parent_killed, parent_born, (0.0, 0.5), deadly=True),
    Fault("responder ended", "responder", parent_ended, parent_born, (0.0, 0.5), deadly=True),
    Fault("responder re-executed", "responder", reexecute, None, (0.5, 1.0), deadly=True),
]


class Schedule:
    """Each victim suffers one fault at a time, then has a moment of peace."""

    def __init__(self, world, faults):
        self.world, self.counts, self.deaths_ns = world, {}, []
        world.deaths_ns, world.frozen = self.deaths_ns, 0
        self.faults = {}
        for fault in faults:
            self.faults.setdefault(fault.victim, []).append(fault)
        self.suffering = {}

    def _victim(self, name):
        return {"llm1": self.world.llms[0], "llm2": self.world.llms[1], "backend": self.world.backend}.get(name)

    def _end(self, name):
        fault = self.suffering.pop(name, None)
        if fault and fault.heal:
            fault.heal(self.world, self._victim(name))

    def run(self, seconds):
        chance = self.world.random
        begin = time.monotonic()
        queue = [(begin + 0.5 + chance.random(), name) for name in self.faults]
        heapq.heapify(queue)
        while queue:
            due, name = heapq.heappop(queue)
            if due > begin + seconds:
                break
            time.sleep(max(0.0, due - time.monotonic()))
            if name in self.suffering:
                self._end(name)
                heapq.heappush(queue, (time.monotonic() + chance.uniform(0.1, 1.0), name))
                continue
            fault = chance.choice(self.faults[name])
            self.counts[fault.name] = self.counts.get(fault.name, 0) + 1
            fault.harm(self.world, self._victim(name))
            self.suffering[name] = fault
            heapq.heappush(queue, (time.monotonic() + chance.uniform(*fault.lasts) * min(PATIENCE, 2), name))
        for name in list(self.suffering):
            self._end(name)

    def heal(self):
        """Everything works again, and is known to."""
        world = self.world
        wait_until(lambda: len(world.service.worker_pids()) == 2, "two workers, old ones gone", 60)
        world.service.wait_status(
            lambda s: s["status"] == "ready" and len(s["available_models"]) == 3
            and all(m["status"] == "healthy" for m in s["available_models"]), "three healthy models", 60)
