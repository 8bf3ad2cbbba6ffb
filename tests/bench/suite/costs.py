# SPDX-License-Identifier: Apache-2.0
"""The service against nginx's proxy_pass (for documents: its return 200), in turns, and what single features cost."""

import fcntl
import glob
import itertools
import json
import os
import re
import socket
import statistics
import struct
import subprocess
import sys
import termios
import threading
import time

from .processes import cpu_ns, loop_ns, memory_of, pss_kib, wait_until
from .service import BULK, CHAT, PACED, SINGLE, SLOW, SOURCE, STAMP, TOKEN, http_get, put_script

sys.path.insert(0, f"{SOURCE}/tests/integration")
from harness import costly, fastcgi

median = statistics.median
NGINX = "nginx", "tt-agent"
# In worker.N, core/status/counters.c.
LONGEST_AT = 24 + 8 * re.findall(r"^[A-Z]+\((\w+)", open(f"{SOURCE}/core/status/counters.def").read(), re.M).index("LONGEST_ITERATION")


def in_turns(run, bench, sides, picks, knobs, **options):
    """For each pick of a result, the medians of the sides."""
    values = {side: [] for side in sides}
    for n in run.report.rounds():
        for side in sides if n % 2 == 0 else sides[::-1]:
            values[side].append(bench.load(side, knobs, **options))
    return [[median(map(pick, values[side])) for side in sides] for pick in picks]


def difference(values, unit):
    return f"{values[1] - values[0]:+.3f} {unit}"


def latency(run):
    with run.bench() as bench:
        table = run.report.table("", NGINX)
        for streams in (1, 100):
            picks = [lambda r, k=k, q=q: r[k][q] for k in ("ttft", "way") for q in ("median_ms", "p99_ms")]
            found = in_turns(run, bench, ("proxy", "agent"), picks, PACED, clients=streams, requests=2 if streams > 1 else 3,
                             spread=0.02 if streams > 1 else 0)
            names = itertools.product(("TTFT, 20 ms to the first token", "time of a token on its way"), ("median", "p99"))
            for (name, q), values in zip(names, found):
                table.row(f"{name.split()[0]}{streams}.{q}", f"{name}, {streams} streams, {q}", values, "ms", difference(values, "ms"))


def burst(run):
    with run.bench() as bench:
        table = run.report.table("", NGINX)
        for knobs in BULK, SINGLE:
            [values] = in_turns(run, bench, ("proxy", "agent"), [lambda r: r["tokens_per_s"]], knobs, clients=64, requests=1)
            per_write = knobs["tokens_per_write"]
            table.row(f"burst{per_write}", f"burst, 64 streams, {per_write} tokens a write", values, "tokens/s")
        cpu = {"proxy": [], "agent": []}
        for _ in run.report.rounds():
            for side, pids in (("proxy", bench.nginx_workers()), ("agent", bench.workers())):
                result, [us] = bench.worked([pids], side, SLOW, clients=200, requests=2, spread=0.01)
                cpu[side].append(us / result["tokens"])
        table.row("token.cpu", "CPU a token, 200 streams (nginx worker / responder)", [median(cpu["proxy"]), median(cpu["agent"])], "us")


def chats(run):
    with run.bench() as bench:
        [values] = in_turns(run, bench, ("proxy", "agent"), [lambda r: r["requests_per_s"]], CHAT, clients=32, requests=400)
        run.report.table("", NGINX).row("chats", "whole short chats, 32 clients, one token each", values, "1/s")


def documents(run):
    """nginx alone; nginx in front of a responder that only writes a constant, which is the most that any can reach; and ours."""
    with run.bench() as bench:
        bench.start_constant()
        table = run.report.table("requests that are kept alive", ("return 200", "constant responder", "tt-agent"))
        for path in ("/agent/", "/agent/status"):
            sides = "/return", "/constant", path
            rates, cpu = {side: [] for side in sides}, []
            for n in run.report.rounds():
                for side in sides if n % 2 == 0 else sides[::-1]:
                    result, us = bench.worked([bench.nginx_workers(), bench.workers()], side, clients=32, requests=3000)
                    rates[side].append(result["requests_per_s"])
                    if side == path:
                        cpu.append([u / result["complete"] for u in us])
            nginx, responder = (median(c) for c in zip(*cpu))
            table.row(path, f"GET {path}", [median(rates[side]) for side in sides], "1/s",
                      f"CPU each: nginx {nginx:.1f} us, responder {responder:.1f} us")


def scrapes(run, count=100):
    """What /metrics costs while many streams run: the responder's CPU, and how long the answer takes."""
    streams = 500 if run.quick else 5000
    with run.bench() as bench:
        knobs = {"tokens": 12, "token": STAMP, "delay_us": 1000000, "first_delay_us": 1000000}
        with bench.loading("agent", knobs, clients=streams, requests=1, spread=2, time_limit=60):
            running = lambda: f"tt_agent_turns_active {streams}\n".encode() in http_get(bench.port, "/agent/metrics")
            wait_until(f"{streams} streams run", running, 30)
            times = []
            for _ in range(count):
                began = time.monotonic()
                _, body = fastcgi.ask(bench.socket, "GET", "/metrics")
                times.append((time.monotonic() - began) * 1e3)
        idle = []
        for _ in range(count):
            was = cpu_ns(bench.workers())
            fastcgi.ask(bench.socket, "GET", "/metrics")
            idle.append((cpu_ns(bench.workers()) - was) / 1e6)
        table = run.report.table("", ["tt-agent"])
        table.row("median", f"GET /metrics at {streams} streams, median", [median(times)], "ms", f"{len(body)} bytes")
        table.row("p95", f"GET /metrics at {streams} streams, 95 of 100", [statistics.quantiles(times, n=20)[18]], "ms")
        table.row("cpu", "GET /metrics, the responder's CPU, median", [median(idle)], "ms")


def drain(fd):
    try:
        while os.read(fd, 65536):
            pass
    except OSError:
        pass


def watched(bench, measure):
    """Its value, and the CPU time of `tt-agentctl top`, while that runs, a page listens to /events, and /metrics is read once a
    second."""
    stop = threading.Event()

    def scrape():
        while not stop.wait(1):
            http_get(bench.port, "/agent/metrics")

    terminal, of_top = os.openpty()
    fcntl.ioctl(of_top, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    top = subprocess.Popen([f"{bench.service}/tt-agentctl", "--run-dir", bench.run_dir, "top"], stdin=of_top, stdout=of_top,
                           stderr=of_top, env=os.environ | {"TERM": "xterm"})
    page = socket.create_connection(("127.0.0.1", bench.port))
    page.sendall(b"GET /agent/events HTTP/1.1\r\nHost: bench\r\n\r\n")
    readers = [threading.Thread(target=drain, args=(terminal,), daemon=True),
               threading.Thread(target=drain, args=(page.fileno(),), daemon=True), threading.Thread(target=scrape, daemon=True)]
    try:
        for r in readers:
            r.start()
        wait_until("top and the page run", lambda: top.poll() is None and cpu_ns([top.pid]) > 1e6)
        before = cpu_ns([top.pid])
        return measure(), (cpu_ns([top.pid]) - before) / 1e9
    finally:
        stop.set()
        page.shutdown(socket.SHUT_RDWR)
        top.terminate()
        top.wait()
        os.close(of_top)
        for r in readers:
            r.join()
        os.close(terminal)
        page.close()


def observers(run):
    """What watching costs."""
    seconds = 2 if run.quick else 10
    with run.bench() as bench:
        def idle():
            pids = bench.workers() + bench.nginx_workers() + [bench.daemon.pid, bench.responder.pid]
            before = cpu_ns(pids)
            time.sleep(seconds)
            return (cpu_ns(pids) - before) / 1e9

        table = run.report.table("", ("alone", "watched"))
        alone, (with_them, top) = idle(), watched(bench, idle)
        table.row("idle", "CPU of an idle service and nginx, and of top", [alone / seconds * 1e3, (with_them + top) / seconds * 1e3],
                  "ms/s", f"{(with_them - alone + top) / seconds * 100:+.2f}% of a core")
        for key, what, unit, measure in (
                ("chats", "short chats", "1/s", lambda: bench.load("agent", CHAT, clients=32, requests=400)["requests_per_s"]),
                ("burst", "burst, 20 tokens a write", "tokens/s", lambda: bench.load("agent", BULK, clients=64, requests=1)["tokens_per_s"])):
            values = [], []
            for n in run.report.rounds(share=0.5 if key == "chats" else 1):
                for i in (0, 1) if n % 2 == 0 else (1, 0):
                    values[i].append(watched(bench, measure)[0] if i else measure())
            table.row(key, what, [median(v) for v in values], unit)


def api(run):
    """What the same answers cost through /poll_requests and through the OpenAI-compatible API, in turns. Neither has a
    conversation, which only one of them would store."""
    one, many = {"clients": 1, "requests": 5}, {"clients": 100, "requests": 3, "spread": 0.02}
    rows = (
        ("ttft1", "TTFT, 1 stream, median", "ms", PACED, one, lambda r, us: r["ttft"]["median_ms"]),
        ("ttft100", "TTFT, 100 streams, median", "ms", PACED, many, lambda r, us: r["ttft"]["median_ms"]),
        ("way", "a token's way, 100 streams, median", "ms", PACED, many, lambda r, us: r["way"]["median_ms"]),
        ("token.cpu", "CPU a token, 200 streams, one each 10 ms", "us", SLOW, {"clients": 200, "requests": 2, "spread": 0.01},
         lambda r, us: us / r["tokens"]),
        ("burst.cpu", "CPU a token, burst, 20 tokens a write", "us", BULK, {"clients": 16, "requests": 1}, lambda r, us: us / r["tokens"]),
        ("chats", "whole short chats, 32 clients, one token each", "1/s", CHAT, {"clients": 32, "requests": 400},
         lambda r, us: r["requests_per_s"]),
    )
    with run.bench(sets=("http.api=true",)) as bench:
        table = run.report.table("", ("poll_requests", "api"))
        for i, (key, what, unit, knobs, options, pick) in enumerate(rows):
            # A conversation without a name is cut within words, so the stamps of its tokens are not whole.
            sides = "agent" if key == "way" else "alone", "api"
            values = {side: [] for side in sides}
            for n in run.report.rounds(share=1 / (len(rows) - i)):
                for side in sides if n % 2 == 0 else sides[::-1]:
                    result, [us] = bench.worked([bench.workers()], side, knobs, **options)
                    values[side].append(pick(result, us))
            values = [median(values[side]) for side in sides]
            table.row(key, what, values, unit, difference(values, unit) if unit == "ms" else "")


def leave(run):
    with run.bench() as bench:
        knobs = {"tokens": 1000, "token": TOKEN, "delay_us": 5000}
        delays = {"proxy": [], "agent": []}
        for _ in range(5 if run.quick else 20):
            for side in delays:
                left = bench.load(side, knobs, clients=1, requests=1, leave_after=5)["left_ns"][0]

                def closed():
                    stats = json.loads(http_get(bench.llm_port, "/_stats").split(b"\r\n\r\n", 1)[1])
                    return [d["at_ns"] for d in stats["closed"] if d["at_ns"] >= left]
                delays[side].append((min(wait_until("the LLM's connection closes", closed)) - left) / 1e6)
        table = run.report.table("", NGINX)
        table.row("median", "client gone -> LLM connection closed, median", [median(d) for d in delays.values()], "ms")
        table.row("worst", "client gone -> LLM connection closed, worst", [max(d) for d in delays.values()], "ms")


def start(run):
    times = {"tt-agentd to its first publication": [], "tt-agent-fcgi to its first connection": []}
    for _ in run.report.rounds():
        with run.bench() as bench:
            for found, ms in zip(times.values(), (bench.daemon_start_ms, bench.responder_start_ms)):
                found.append(ms)
    table = run.report.table("", ["tt-agent"])
    for what, found in times.items():
        table.row(what.split()[0], f"start of {what}", [median(found)], "ms")


def memory(run):
    with run.bench() as bench:
        pids = [bench.responder.pid] + bench.workers()
        table = run.report.table("", ["tt-agent"])
        table.row("daemon", "idle memory of tt-agentd (proportional set)", [pss_kib([bench.daemon.pid]) / 1024], "MiB")
        table.row("responder", f"idle memory of tt-agent-fcgi, all {len(pids)} processes", [pss_kib(pids) / 1024], "MiB")


def longest_us(bench, reset=False):
    """Of one iteration since the last reset, over all workers."""
    longest = 0
    for path in glob.glob(f"{bench.run_dir}/worker.*"):
        with open(path, "r+b") as f:
            f.seek(LONGEST_AT)
            longest = max(longest, *struct.unpack("<q", f.read(8)))
            if reset:
                f.seek(LONGEST_AT)
                f.write(bytes(8))
    return longest


def bodies(run):
    """How long the most costly requests hold a worker's loop, and what memory they take."""
    columns = "longest loop", "CPU, loop", "all threads", "memory/size"
    sets = "search.result_chars=100000", "search.max_results=20", "limits.tool_rounds=20", "llm.context=0"
    for threads in "threads.db", "memory":
        with run.bench(threads=threads, search=True, script={"max_model_len": 0}, sets=sets) as bench:
            table = run.report.table(f"ms of a worker, conversations in {threads}", columns, key=f"bodies {threads}")
            kinds = list(costly.measured(f"{threads}-{{}}", lambda script: put_script(bench.search_port, script)))[::10 if run.quick else 1]
            for i, (name, prepare, requests) in enumerate(kinds):
                run.report.progress(f"{name} ({i + 1} of {len(kinds)}), conversations in {threads}")
                share = 1 / (len(kinds) - i) / (1 if threads == "memory" else 2)
                table.row(name, name, costly_one(run, bench, prepare, requests, share), "")


def costly_one(run, bench, prepare, requests, share):
    """The least of some tries, as other processes may interrupt each."""
    tries = []
    for n in run.report.rounds(share):
        for r in prepare(n):
            fastcgi.ask(bench.socket, **r)
        workers = bench.workers()
        for pid in workers:
            with open(f"/proc/{pid}/clear_refs", "w") as f:
                f.write("5")
        sizes = [memory_of(pid) for pid in workers]
        loop, every = sum(map(loop_ns, workers)), cpu_ns(workers)
        longest_us(bench, reset=True)
        for r in requests(n):
            fastcgi.ask(bench.socket, **r)
        time.sleep(0.02)  # the iteration ends after its answer
        peak = max(memory_of(pid, "VmHWM") - was for pid, was in zip(workers, sizes))
        tries.append((longest_us(bench) / 1e3, (sum(map(loop_ns, workers)) - loop) / 1e6, (cpu_ns(workers) - every) / 1e6,
                      peak / max(len(r.get("body", b"")), costly.SIZE)))
    return [min(t[i] for t in tries) for i in range(3)] + [median(t[3] for t in tries)]


def compare(run):
    """Two builds of the service, both started again for each round, in alternating order: the place that a process gets in
    memory changes its figures by a tenth. Within a round each measurement is taken of both, one right after the other. The
    medians are compared."""
    one, hundred = {"clients": 1, "requests": 5}, {"clients": 100, "requests": 3, "spread": 0.02}

    def load(knobs, pick, **options):
        return lambda bench: pick(bench.load("agent", knobs, **options))

    def worked(knobs, divide_by, **options):
        """What the responder's workers worked for each token or request, in us."""
        def measure(bench):
            result, [us] = bench.worked([bench.workers()], "agent", knobs, **options)
            return us / result[divide_by]
        return measure

    def memory_of_stream(bench):
        knobs = {"tokens": 4, "token": STAMP, "delay_us": 1000000, "first_delay_us": 1000000}
        return bench.memory_of_streams([bench.workers()], "agent", 3000, knobs, spread=2)[1][0]

    more = "more is better"
    measurements = (
        ("TTFT, 20 ms to the first token, 1 stream, median", "ms", "", load(PACED, lambda r: r["ttft"]["median_ms"], **one)),
        ("a token's way, 1 stream, median", "ms", "", load(PACED, lambda r: r["way"]["median_ms"], **one)),
        ("TTFT, 20 ms to the first token, 100 streams, median", "ms", "", load(PACED, lambda r: r["ttft"]["median_ms"], **hundred)),
        ("a token's way, 100 streams, median", "ms", "", load(PACED, lambda r: r["way"]["median_ms"], **hundred)),
        ("burst, 64 streams, 20 tokens a write", "tokens/s", more, load(BULK, lambda r: r["tokens_per_s"], clients=64, requests=1)),
        ("CPU a token, burst, 64 streams, 20 tokens a write", "us", "", worked(BULK, "tokens", clients=64, requests=1)),
        ("burst, 64 streams, 1 token a write", "tokens/s", more, load(SINGLE, lambda r: r["tokens_per_s"], clients=64, requests=1)),
        ("CPU a token, burst, 64 streams, 1 token a write", "us", "", worked(SINGLE, "tokens", clients=64, requests=1)),
        ("CPU a token, 200 streams, one each 10 ms", "us", "", worked(SLOW, "tokens", clients=200, requests=2, spread=0.01)),
        ("whole short chats, 32 clients, one token each", "1/s", more, load(CHAT, lambda r: r["requests_per_s"], clients=32, requests=400)),
        ("CPU a short chat", "us", "", worked(CHAT, "complete", clients=32, requests=400)),
        ("GET /agent/status, kept alive", "1/s", more,
         lambda bench: bench.load("/agent/status", clients=32, requests=3000)["requests_per_s"]),
        ("memory of a stream, 3000 at one token a second", "KiB", "", memory_of_stream),
        ("idle memory of tt-agentd", "MiB", "", lambda bench: bench.idle_mib),
        ("start of tt-agentd", "ms", "", lambda bench: bench.daemon_start_ms),
        ("start of tt-agent-fcgi", "ms", "", lambda bench: bench.responder_start_ms),
    )
    values = {m[0]: ([], []) for m in measurements}
    for n in range(run.report.rounds_wanted):
        run.report.progress(f"round {n + 1} of {run.report.rounds_wanted}")
        order = (0, 1) if n % 2 == 0 else (1, 0)
        benches = [run.bench(service=run.against), run.bench()]
        try:
            for i in order:
                benches[i].start()
            for bench in benches:
                bench.idle_mib = pss_kib([bench.daemon.pid]) / 1024
            for name, _, _, measure in measurements:
                for i in order:
                    values[name][i].append(measure(benches[i]))
        finally:
            for bench in benches:
                bench.stop()
    table = run.report.table("two builds", ("before", "after"))
    for name, unit, note, _ in measurements:
        table.row(name, name, [median(v) for v in values[name]], unit, note)
