# SPDX-License-Identifier: Apache-2.0
"""Gateways side by side before the same LLM mock: nginx proxy_pass, tt-agent, and any peer with the OpenAI-compatible API."""

import json
import re
import shlex
import statistics
import sys
import time
from urllib.parse import urlsplit

from . import processes
from .processes import cpu_ns, free_port, pss_kib, wait_until
from .service import BULK, CHAT, SINGLE, SLOW, STAMP, TOKEN

FORM = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)=(?P<url>http://[^,]+)(?P<more>(,(pid|model|key)=[^,]+)*)")
SIDES = {"direct": "LLM alone", "proxy": "nginx", "agent": "tt-agent", "api": "its /v1"}


class Peer:
    """--peer NAME=URL[,pid=N][,model=NAME][,key=KEY]: a gateway whose API begins at URL, which usually ends with /v1."""

    def __init__(self, text):
        found = FORM.fullmatch(text)
        if not found or found["name"] in SIDES:
            raise ValueError(f"--peer {text}: must be NAME=http://ADDRESS:PORT/v1[,pid=N][,model=NAME][,key=KEY]")
        more = dict(m.split("=", 1) for m in found["more"].split(",") if m)
        self.name, self.url, self.pid = found["name"], found["url"], int(more.get("pid", 0))
        self.model, self.key, self.command = more.get("model", "bench"), more.get("key"), None

    def start(self, bench):
        """Starts it, if there is a command; finds its processes."""
        command, url = self.command, self.url
        if command:
            fill = {"{port}": str(free_port()), "{llm}": f"http://127.0.0.1:{bench.llm_port}", "{dir}": bench.dir}
            for word, value in fill.items():
                command, url = command.replace(word, value), url.replace(word, value)
            own = bench.spawn(f"peer-{self.name}", *shlex.split(command))
        self.at = urlsplit(url)
        if not self.at.port:
            sys.exit(f"bench: --peer {self.name}={self.url}: the URL needs a port")
        if self.command:
            ready = lambda: own.poll() is not None or processes.listens(self.at.port, self.at.hostname)
            wait_until(f"{self.name} listens on port {self.at.port}", ready, 60)
            if own.poll() is not None:
                sys.exit(f"bench: {self.command}: ended with status {own.returncode}: "
                         + open(f"{bench.dir}/peer-{self.name}.log").read()[-2000:].strip())
        first = [self.pid or own.pid] if self.pid or self.command else processes.listener(self.at.port)
        if not first:
            sys.exit(f"bench: nobody listens on port {self.at.port} whose processes may be seen; give --peer {self.name}=URL,pid=N")
        self.pids = sorted(set().union(*map(processes.family, first)))
        bench.peers[self.name] = self

    def target(self, body):
        header = ["--header", f"Authorization: Bearer {self.key}"] if self.key else []
        return ["--address", self.at.hostname, "--port", self.at.port, "--path", self.at.path.rstrip("/") + "/chat/completions",
                "--body", json.dumps(body | {"model": self.model}), *header]


class Sides:
    """Those that are compared, with the processes of each: without its web server, and with it."""

    def __init__(self, bench, peers):
        for peer in peers:
            peer.start(bench)
        own = [bench.responder.pid, *bench.workers()]
        nginx = bench.nginx_workers()
        self.bench, self.names = bench, [*SIDES, *(p.name for p in peers)]
        self.groups = {"direct": ([], []), "proxy": (nginx, nginx), "agent": (own, own + nginx), "api": (own, own + nginx)}
        self.groups |= {p.name: (p.pids, p.pids) for p in peers}
        self.values, self.last = {}, {}
        for name in self.names:  # each has to work before anything is measured
            result = bench.load(name, CHAT, clients=1, requests=2)
            if result["failed"] or not 0 < result["complete"] == result["tokens"]:
                sys.exit(f"bench: {name} does not answer as it should: {result['why'] or 'no token came through'}")
            self.last[name] = time.monotonic()

    def columns(self):
        return [SIDES.get(name, name) for name in self.names]

    def turns(self, n):
        """In each round the other way round."""
        return self.names if n % 2 == 0 else self.names[::-1]

    def add(self, key, side, value):
        self.values.setdefault((key, side), []).append(value)

    def row(self, table, key, what, unit, pick=statistics.median):
        values = [self.values.get((key, side)) for side in self.names]
        table.row(key, what, [pick(v) if v else None for v in values], unit)

    def idle(self, side, seconds):
        time.sleep(max(0, self.last[side] + seconds - time.monotonic()))

    def load(self, side, knobs, **options):
        result = self.bench.load(side, knobs, **options)
        self.last[side] = time.monotonic()
        return result


def latency(run):
    """How long the first token and every further one is on its way."""
    with run.bench(sets=("http.api=true",), llm_port=run.llm_port) as bench:
        sides = Sides(bench, run.peers)
        pauses = 0, 0.2, 1.5, 5
        # A server with continuous batching sends the next token of all streams in one step.
        ways = {"way1": ("1 stream", 1, 0), "way100": ("100 streams spread evenly", 100, 0.02),
                "way100.batch": ("100 streams that began together", 100, 0)}
        stamped = {"tokens": 30, "token": STAMP, "delay_us": 20000, "first_delay_us": 20000}
        for n in run.report.rounds():
            for pause in pauses:
                for side in sides.turns(n):
                    if pause == 0:
                        sides.load(side, CHAT, clients=100, requests=1)
                    sides.idle(side, pause)
                    ttft = sides.load(side, CHAT, clients=100, requests=1)["ttft"]
                    sides.add(f"ttft100.{pause}.median", side, ttft["median_ms"])
                    sides.add(f"ttft100.{pause}.p99", side, ttft["p99_ms"])
            for side in sides.turns(n):
                sides.idle(side, 1.5)
                sides.add("ttft1.cold", side, sides.load(side, CHAT, clients=1, requests=1)["ttft"]["median_ms"])
            for side in sides.turns(n):
                ttft = sides.load(side, CHAT, clients=1, requests=50)["ttft"]
                sides.add("ttft1.warm", side, ttft["median_ms"])
                sides.add("ttft1.warm.p99", side, ttft["p99_ms"])
            for key, (_, streams, spread) in ways.items():
                for side in sides.turns(n):
                    way = sides.load(side, stamped, clients=streams, requests=1, spread=spread)["way"]
                    # A conversation without a name and some gateways cut the stamps.
                    sides.add(key, side, way["median_ms"] if way else None)
        table = run.report.table("milliseconds", sides.columns())
        sides.row(table, "ttft1.cold", "TTFT, 1 stream, after 1.5 s of idleness", "ms")
        sides.row(table, "ttft1.warm", "TTFT, 1 stream, warm, median", "ms")
        sides.row(table, "ttft1.warm.p99", "TTFT, 1 stream, warm, p99", "ms")
        for pause in pauses:
            when = f"after {pause} s of idleness" if pause else "warm"
            sides.row(table, f"ttft100.{pause}.median", f"TTFT, 100 at once, {when}, median", "ms")
            sides.row(table, f"ttft100.{pause}.p99", f"TTFT, 100 at once, {when}, p99", "ms")
        some = lambda v: statistics.median(x for x in v if x is not None) if any(x is not None for x in v) else None
        for key, (what, _, _) in ways.items():
            sides.row(table, key, f"a token's way, {what}, median", "ms", some)
            direct = some(sides.values[key, "direct"])
            values = [some(sides.values[key, side]) for side in sides.names]
            table.row("added." + key, "  of it added by the gateway", [v - direct if v is not None else None for v in values], "ms")
        errors(table, sides)


def load(run):
    """Tokens and chats a second, and what they cost."""
    with run.bench(sets=("http.api=true",), llm_port=run.llm_port) as bench:
        idle = {"proxy": pss_kib([bench.nginx.pid, *bench.nginx_workers()]), "agent": pss_kib([bench.daemon.pid, bench.responder.pid, *bench.workers()])}
        sides = Sides(bench, run.peers)
        idle |= {p.name: pss_kib(p.pids) for p in run.peers}
        short = {"burst20": BULK | {"tokens": 3000}, "burst1": SINGLE | {"tokens": 1000}}
        for n in run.report.rounds(share=0.7):
            for key, knobs in short.items():
                for side in sides.turns(n):
                    sides.add(key, side, sides.load(side, knobs, clients=64, requests=1)["tokens_per_s"])
            for side in sides.turns(n):
                result, cpu = bench.worked(sides.groups[side], side, CHAT, clients=32, requests=200)
                sides.add("chats", side, result["requests_per_s"])
                for key, us in zip(("chat.cpu", "chat.cpu.all"), cpu):
                    sides.add(key, side, us / result["complete"] if us else None)
            for side in sides.turns(n):
                result, cpu = bench.worked(sides.groups[side], side, SLOW | {"tokens": 50}, clients=200, requests=2, spread=0.01)
                for key, us in zip(("token.cpu", "token.cpu.all"), cpu):
                    sides.add(key, side, us / result["tokens"] if us else None)
    streams = 300 if run.quick else 1500
    knobs = {"tokens": 3, "token": TOKEN, "delay_us": 1000000, "first_delay_us": 1000000}
    for side in sides.names[1:]:
        run.report.progress(f"memory of {streams} streams, {side}")
        # Processes that had streams before need less for new ones.
        with run.bench(sets=("http.api=true",), llm_port=run.llm_port) as bench:
            fresh = Sides(bench, [p for p in run.peers if p.name == side])
            for key, kib in zip(("memory", "memory.all"), bench.memory_of_streams(fresh.groups[side], side, streams, knobs, spread=1)[1]):
                sides.add(key, side, kib)
        sides.bench.errors[side] += bench.errors[side]
    table = run.report.table("", sides.columns())
    first = lambda v: None if v[0] is None else statistics.median(v)
    sides.row(table, "burst20", "64 streams at full speed, 20 tokens a write", "tokens/s")
    sides.row(table, "burst1", "64 streams at full speed, 1 token a write", "tokens/s")
    sides.row(table, "chats", "whole short chats, 32 clients, one token each", "1/s")
    sides.row(table, "chat.cpu", "CPU a short chat", "us", first)
    sides.row(table, "chat.cpu.all", "CPU a short chat, with the web server", "us", first)
    sides.row(table, "token.cpu", "CPU a token, 200 streams, one each 10 ms", "us", first)
    sides.row(table, "token.cpu.all", "CPU a token, with the web server", "us", first)
    sides.row(table, "memory", f"memory a stream, {streams} streams", "KiB")
    sides.row(table, "memory.all", "memory a stream, with the web server", "KiB")
    table.row("idle", "idle memory of all its processes (no web server)", [idle[s] / 1024 if s in idle else None for s in sides.names], "MiB")
    errors(table, sides)


def errors(table, sides):
    table.row("errors", "failed or broken off, of all requests above", [sides.bench.errors.get(s, 0) for s in sides.names], "")
