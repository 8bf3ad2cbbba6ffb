# SPDX-License-Identifier: Apache-2.0
"""Replicas that are full, and services before them."""

import json
import threading

from .metrics import scrape
from .process import wait_until
from .raw_llm import RawLlm, events, whole

MODEL = "Llama-3.1-8B-Instruct"


def piece(text, finish=None):
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}).encode() + b"\n\n"


class Gate:
    """Replicas that answer a request when they are told to, and know how many they answer at once."""

    def __init__(self, testbed, count):
        self.lock = threading.Lock()
        self.begun, self.running, self.most = [], [], 0
        self.failing, self.open = set(), False
        self.llms = [RawLlm(testbed, lambda *request, n=n: self.answer(n, *request)) for n in range(count)]

    def answer(self, replica, path, headers, body):
        message = json.loads(body)["messages"][-1]["content"]
        message = message if isinstance(message, str) else message[0]["text"]
        end = threading.Event()
        entry = (message, replica, end)
        with self.lock:
            if replica in self.failing:
                return whole({"error": {"message": "down"}}, 503)
            self.begun.append(message)
            self.running.append(entry)
            self.most = max(self.most, len(self.running))
            if self.open:
                end.set()
        done = lambda: self.done(entry)
        return events(end, done, piece(f"answer to {message}"), piece("", "stop"), b"data: [DONE]\n\n")

    def done(self, entry):
        with self.lock:
            if entry in self.running:
                self.running.remove(entry)

    def end(self, message=None):
        """The oldest request, or that of a message, is answered."""
        with self.lock:
            entry = next(e for e in self.running if not e[2].is_set() and message in (None, e[0]))
        entry[2].set()
        return entry

    def end_all(self):
        with self.lock:
            self.open = True
            for entry in self.running:
                entry[2].set()

    def wait(self, count):
        wait_until(lambda: len(self.begun) >= count, f"{count} requests at the LLMs, of {self.begun}", 20)
        return self.begun[:count]


def queueing(testbed, *settings, replicas=1, capacity=1, sets=(), **more):
    """(service, gate): a service before that many replicas of one model, each with so many places."""
    gate = Gate(testbed, replicas)
    deployed = {f"d{n}": llm.deployment(MODEL, name=f"c-d{n}") for n, llm in enumerate(gate.llms)}
    service = testbed.service(backend=testbed.backend(deployed), sets=[f"balance.capacity={capacity}", "http.api=true", *settings, *sets], **more).wait_ready()
    service.wait_status(lambda s: len(s["available_models"]) == replicas, "all replicas")
    return service, gate


def waiting(service, count):
    wait_until(lambda: scrape(service).sum("queue_turns") == count, f"{count} turns wait, not {scrape(service).sum('queue_turns')}", 20)
