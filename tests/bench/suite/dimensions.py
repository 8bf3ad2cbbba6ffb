# SPDX-License-Identifier: Apache-2.0
"""How the service grows: with streams, turns, stores, workers, models and threads."""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from . import processes
from .processes import cpu_ns, free_port, pss_kib, wait_until
from .service import BULK, CHAT, STAMP, TOKEN, http_get

median = statistics.median
CLIENTS = 32


def streams(run):
    """Streams at one token a second. Two processes of nginx, as one may not open as many files as 10,000 of them need."""
    counts = (10, 100, 300) if run.quick else (10, 100, 1000, 10000)
    first_ms = 4000  # all have to begin before the first ends
    knobs = {"tokens": 3, "token": STAMP, "delay_us": 1000000, "first_delay_us": first_ms * 1000}
    names = {"proxy": "nginx", "agent": "tt-agent"}
    found = {}
    for count in counts:
        for side in names:
            run.report.progress(f"{count} streams, {names[side]}")
            with run.bench(nginx_workers=2) as bench:  # fresh processes, as those that had streams need less memory for new ones
                bench.load(side, CHAT, clients=4, requests=4)
                groups = {"proxy": [bench.nginx_workers()], "agent": [bench.workers(), bench.workers() + bench.nginx_workers()]}[side]
                before = cpu_ns(groups[0])
                result, kib = bench.memory_of_streams(groups, side, count, knobs, spread=max(0.1, count / 2500))
                cpu = (cpu_ns(groups[0]) - before) / 1e3
                found[count, side] = {"ttft": result["ttft"]["median_ms"] - first_ms, "ttft.p99": result["ttft"]["p99_ms"] - first_ms,
                                      "most": json.loads(http_get(bench.llm_port, "/_stats").split(b"\r\n\r\n", 1)[1])["active_most"],
                                      "way": result["way"]["median_ms"] if result["way"] else None, "cpu": cpu / result["complete"],
                                      "memory": kib[0] if count >= 100 else None, "memory.all": kib[-1] if count >= 100 else None,
                                      "errors": bench.errors[side]}
    table = run.report.table("streams at one token a second", counts)
    for key, what, unit in (("most", "at once, as the LLM counts", ""), ("ttft", "TTFT over the LLM's 4 s, median", "ms"),
                            ("ttft.p99", "TTFT over the LLM's 4 s, p99", "ms"),
                            ("way", "a token's way, median", "ms"), ("cpu", "CPU a stream of 3 tokens", "us"), ("memory", "memory a stream", "KiB"),
                            ("memory.all", "memory a stream, with the web server", "KiB"), ("errors", "failed or broken off", "")):
        for side, name in names.items():
            if key != "memory.all" or side == "agent":
                table.row(f"{key}.{side}", f"{what}, {name}", [found[count, side][key] for count in counts], unit)


@contextlib.contextmanager
def redis_server():
    """Its URL for threads.store, or None where none is installed."""
    if not shutil.which("redis-server"):
        yield None
        return
    directory, port = tempfile.mkdtemp(prefix="tt-agent-bench."), free_port()
    server = processes.start(["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", directory, "--save", "",
                              "--appendonly", "yes", "--appendfsync", "everysec"], f"{directory}/log")
    try:
        wait_until("redis-server listens", lambda: processes.listens(port))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        processes.stop([server])
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def each_store(run):
    """Name and value of `threads` of each store that this build and machine have."""
    with redis_server() as redis:
        found = {"memory": "memory", "SQLite": "threads.db"}
        if redis and subprocess.run([f"{run.build}/tt-agentd", "--test", "--set", f"threads.store={redis}"], capture_output=True).returncode == 0:
            found["Redis"] = redis
        else:
            print("(no Redis: this build has no such store, or redis-server is not installed)", flush=True)
        yield found


def stores(run):
    """The same conversations in each store, in turns."""
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(each_store(run))
        benches = {name: stack.enter_context(run.bench(threads=threads)) for name, threads in found.items()}
        values = {}
        for n in run.report.rounds():
            for name in benches if n % 2 == 0 else reversed(benches):
                bench = benches[name]
                result, [us] = bench.worked([bench.workers()], "agent", CHAT, clients=CLIENTS, requests=200)
                paced = {"tokens": 10, "token": STAMP, "delay_us": 10000, "first_delay_us": 10000}
                one = bench.load("agent", paced, clients=1, requests=3)
                many = bench.load("agent", paced, clients=100, requests=2, spread=0.02)
                for key, value in (("chats", result["requests_per_s"]), ("cpu", us / result["complete"]), ("ttft1", one["ttft"]["median_ms"]), ("total1", one["total"]["median_ms"]),
                                   ("ttft100", many["ttft"]["median_ms"]), ("way100", many["way"]["median_ms"]),
                                   ("total100", many["total"]["median_ms"])):
                    values.setdefault(key, {}).setdefault(name, []).append(value)
        table = run.report.table("conversations in", list(benches))
        for key, what, unit in (("chats", "whole short chats, 32 clients", "1/s"), ("cpu", "the responder's CPU a short chat", "us"),
                                ("ttft1", "TTFT, 10 ms to the first token, 1 stream, median", "ms"),
                                ("total1", "whole answer of 10 tokens, 1 stream, median", "ms"),
                                ("ttft100", "TTFT, 10 ms to the first token, 100 streams, median", "ms"),
                                ("way100", "a token's way, 100 streams, median", "ms"),
                                ("total100", "whole answer of 10 tokens, 100 streams, median", "ms")):
            table.row(key, what, [median(values[key][name]) for name in benches], unit)


def turns(run):
    """Chats in threads that have so many turns already. One worker, as each has its own threads in memory."""
    lengths = (0, 10, 20) if run.quick else (0, 10, 50, 200)
    measured = 1 if run.quick else 4  # turns
    found = {}
    with each_store(run) as all_stores:
        for name, threads in all_stores.items():
            with run.bench(threads=threads, workers=1, script={"max_model_len": 1000000}) as bench:
                for i, length in enumerate(lengths):
                    run.report.progress(f"{length} turns, {name}")
                    options = {"clients": CLIENTS, "threads": CLIENTS, "thread": f"turns-{{id}}"}
                    before = lengths[i - 1] + measured if i > 0 else 0
                    if length > before:
                        bench.load("agent", CHAT, requests=length - before, **options)
                    result, [us] = bench.worked([bench.workers()], "agent", CHAT, requests=measured, **options)
                    if any(bench.errors.values()):
                        sys.exit("bench: not all chats were answered, so the threads are not as long as they should be")
                    found[name, length] = {"cpu": us / result["complete"], "ttft": result["ttft"]["median_ms"]}
        table = run.report.table("turns in the thread", lengths)
        for key, what, unit in (("cpu", "the responder's CPU a short chat", "us"), ("ttft", "TTFT, 32 clients, median", "ms")):
            for name in all_stores:
                table.row(f"{key}.{name}", f"{what}, {name}", [found[name, n][key] for n in lengths], unit)


def workers(run):
    counts = 1, 2, 4
    values = {}
    with contextlib.ExitStack() as stack:
        benches = {n: stack.enter_context(run.bench(workers=n, nginx_workers=os.cpu_count())) for n in counts}
        for _ in run.report.rounds():
            for n, bench in benches.items():
                chats, [us] = bench.worked([bench.workers()], "agent", CHAT, clients=CLIENTS, requests=200)
                burst = bench.load("agent", BULK | {"tokens": 4000}, clients=64, requests=1)
                crowd = bench.load("agent", CHAT, clients=100, requests=1)
                for key, value in (("chats", chats["requests_per_s"]), ("cpu", us / chats["complete"]), ("burst", burst["tokens_per_s"]),
                                   ("ttft", crowd["ttft"]["median_ms"]), ("ttft.p99", crowd["ttft"]["p99_ms"])):
                    values.setdefault((key, n), []).append(value)
        idle = [pss_kib([b.responder.pid, *b.workers()]) / 1024 for b in benches.values()]
    table = run.report.table("workers", counts)
    for key, what, unit in (("chats", "whole short chats, 32 clients, one token each", "1/s"), ("cpu", "the responder's CPU a short chat", "us"),
                            ("burst", "64 streams at full speed, 20 tokens a write", "tokens/s"), ("ttft", "TTFT, 100 at once, median", "ms"),
                            ("ttft.p99", "TTFT, 100 at once, p99", "ms")):
        table.row(key, what, [median(values[key, n]) for n in counts], unit)
    table.row("memory", "memory of tt-agent-fcgi after that", idle, "MiB")


def models(run):
    """Deployed models, one of them the LLM that answers. Each of the others answers its probes in 20 ms."""
    counts = (1, 10) if run.quick else (1, 10, 100, 1000)
    found = {}
    for count in counts:
        with run.bench(backend={"many": count, "many_delay_us": 20000}) as bench:
            ctl = [f"{run.build}/tt-agentctl", "--run-dir", bench.run_dir]
            healthy = lambda: json.loads(subprocess.run([*ctl, "--json", "status"], capture_output=True).stdout)["discovery_summary"]["healthy"]
            wait_until(f"{count} models are healthy", lambda: healthy() >= count, 60)
            refresh, cpu = [], []
            for _ in run.report.rounds(share=0.15, most=3):
                began = time.monotonic()
                subprocess.run([*ctl, "refresh"], check=True, stdout=subprocess.DEVNULL)
                refresh.append((time.monotonic() - began) * 1e3)
                result, [us] = bench.worked([bench.workers()], "agent", CHAT, clients=CLIENTS, requests=50)
                cpu.append(us / result["complete"])
            status, [us] = bench.worked([bench.workers()], "/agent/status", clients=CLIENTS, requests=20)
            before, began = cpu_ns([bench.daemon.pid]), time.monotonic()
            time.sleep(1 if run.quick else 5)
            found[count] = {"refresh": min(refresh), "cpu": median(cpu), "status": us / status["complete"],
                            "daemon": (cpu_ns([bench.daemon.pid]) - before) / 1e6 / (time.monotonic() - began),
                            "memory": pss_kib([bench.daemon.pid]) / 1024, "responder": pss_kib([bench.responder.pid, *bench.workers()]) / 1024}
    table = run.report.table("models", counts)
    for key, what, unit in (("refresh", "refresh, each model answers its probe in 20 ms", "ms"), ("memory", "memory of tt-agentd", "MiB"),
                            ("responder", "memory of tt-agent-fcgi", "MiB"), ("daemon", "CPU of the idle tt-agentd", "ms/s"),
                            ("cpu", "the responder's CPU a short chat", "us"), ("status", "the responder's CPU a GET /status", "us")):
        table.row(key, what, [found[n][key] for n in counts], unit)


def threads(run):
    """Threads that the SQLite database has already. What takes too long is left out."""
    counts = (1, 100, 1000) if run.quick else (1, 10, 100, 1000, 10000, 100000, 1000000)
    directory = tempfile.mkdtemp(prefix="tt-agent-bench.")
    found = {}
    # On one core: else it is chance whether its two threads share one, which counts five times as much as what is measured.
    one_core = ["taskset", "--cpu-list", max(os.sched_getaffinity(0))]
    bench = processes.start([*one_core, f"{run.build}/tests/bench/store_bench", "--directory", directory, "--threads", ",".join(map(str, counts)),
                             "--turns", "10", "--processes", "1", "--text", "100", "--chats", "2000"], f"{directory}/log", stdout=subprocess.PIPE)
    stop = threading.Timer(run.report.deadline - time.monotonic(), bench.kill)
    stop.start()
    try:
        for line in bench.stdout:
            if line.startswith(b"store_bench "):
                case = dict(pair.split("=") for pair in line.decode().split()[1:])
                count = int(case["threads"])
                found.setdefault(count, {})[case["phase"]] = case
                run.report.progress(f"{count} threads")
    finally:
        stop.cancel()
        processes.stop([bench])
        with open(f"{directory}/log") as f:
            said = f.read().strip()
        shutil.rmtree(directory, ignore_errors=True)
    counts = [n for n in counts if "chat" in found.get(n, {})]
    if not counts:
        sys.exit(f"bench: {run.build}/tests/bench/store_bench gave no figures: {said or 'build it with make check'}")
    table = run.report.table("threads in the database", counts)
    for phase, what in (("new", "look for a new thread"), ("load", "load a thread of 10 turns and more"), ("append", "store a turn")):
        for key, name, unit in (("cpu_us", "CPU", "us"), ("p99_us", "99 of 100 within", "us")):
            table.row(phase if key == "cpu_us" else f"{phase}.p99", f"{what}, {name}", [float(found[n][phase][key]) for n in counts], unit)
