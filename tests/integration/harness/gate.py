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


def relayed(path, message, count=1):
    """The answer to a request that is no turn."""
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    if path == "/v1/embeddings":
        return {"object": "list", "model": message, "data": [{"object": "embedding", "index": 0, "embedding": [1.0]}], "usage": usage}
    said = {"text": f"answer to {message}"} if path == "/v1/completions" else {"message": {"role": "assistant", "content": f"answer to {message}"}}
    return {"id": "1", "choices": [{"index": i, "finish_reason": "stop", **said} for i in range(count)], "usage": usage}


class Gate:
    """Replicas that answer a request when they are told to, and know how many they answer at once."""

    def __init__(self, testbed, count):
        self.lock = threading.Lock()
        self.begun, self.running, self.most = [], [], 0
        self.failing, self.open = set(), False
        self.llms = [RawLlm(testbed, lambda *request, n=n: self.answer(n, *request)) for n in range(count)]

    def answer(self, replica, path, headers, body):
        if path == "/v1/messages/count_tokens":
            return whole({"input_tokens": 7})
        request = json.loads(body)
        message = request.get("input") or request.get("prompt") or request["messages"][-1]["content"]
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
        if path == "/v1/chat/completions" and "n" not in request:
            return events(end, done, piece(f"answer to {message}"), piece("", "stop"), b"data: [DONE]\n\n")
        if path == "/v1/completions" and request.get("stream"):
            choice = {"index": 0, "text": f"answer to {message}", "finish_reason": "stop"}
            return [end, done, *events(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\ndata: [DONE]\n\n")]
        return [end, done, *whole(relayed(path, message, request.get("n", 1)))]

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


def queueing(testbed, *settings, replicas=1, capacity=1, sets=(), deploy=None, others=None, **more):
    """(service, gate): a service before that many replicas of one model, each with so many places."""
    gate = Gate(testbed, replicas)
    deploy = deploy or (lambda llm, n: llm.deployment(MODEL, name=f"c-d{n}"))
    deployed = {f"d{n}": deploy(llm, n) for n, llm in enumerate(gate.llms)}
    service = testbed.service(backend=testbed.backend({**deployed, **(others or {})}), sets=[f"balance.capacity={capacity}", "http.api=true", *settings, *sets], **more).wait_ready()
    healthy = lambda: sum(m["status"] == "healthy" and m["deploy_id"] in deployed for m in service.ctl("models")["models"])
    wait_until(lambda: healthy() == replicas, "all replicas", 20)
    return service, gate


def waiting(service, count):
    wait_until(lambda: scrape(service).sum("queue_turns") == count, f"{count} turns wait, not {scrape(service).sum('queue_turns')}", 20)
