# SPDX-License-Identifier: Apache-2.0
"""How users share what is there."""

import json
import statistics
import subprocess
import threading

from .processes import wait_until
from .service import TOKEN

median = statistics.median
ANSWER = {"tokens": 20, "token": TOKEN, "delay_us": 15000, "first_delay_us": 300000}  # 0.6 s, half of it to the first token
GREEDY = 16


def new_key(run, bench, name):
    made = subprocess.run([f"{run.build}/tt-agentctl", "--run-dir", bench.run_dir, "--json", "keys", "create", name], capture_output=True, check=True)
    return {"header": f"Authorization: Bearer {json.loads(made.stdout)['key']}"}


def known(bench, count):
    with open(f"{bench.dir}/tt-agent-fcgi.log") as f:
        return f.read().count(f" keys={count}\n") >= len(bench.workers())


def fairness(run):
    """One stream after the other of a key, alone and while another key has 16 all the time, of which so many run as the model has
    places and the others wait; and the same as if both were of one key."""
    capacities = (4,) if run.quick else (4, 8, 32)
    values = {}
    for capacity in capacities:
        run.report.progress(f"{capacity} places")
        bench = run.bench(env={"AGENT_LOG_LEVEL": "INFO"})
        bench.sets = (f"balance.capacity={capacity}", "access.require=api", f"access.keys_file={bench.dir}/keys.jsonl", "http.api=true")
        with bench:
            greedy, modest = (new_key(run, bench, name) for name in ("greedy", "modest"))
            wait_until("the workers know both keys", lambda: known(bench, 2))
            ended = threading.Event()

            def many(key):
                while not ended.is_set():
                    bench.load("api", ANSWER, clients=GREEDY, requests=4, spread=0.6, **key)

            def one():
                return bench.load("api", ANSWER, clients=1, requests=8, **modest)["ttft"]["median_ms"]

            found = {"alone": one()}
            for name, key in (("beside", greedy), ("same", modest)):
                ended.clear()
                crowd = threading.Thread(target=many, args=[key])
                crowd.start()
                found[name] = one()
                ended.set()
                crowd.join()
            values[capacity] = found
    table = run.report.table("places at the model", capacities)
    for key, what in (("alone", "TTFT alone, median"), ("beside", f"beside {GREEDY} streams of another key"), ("same", f"beside {GREEDY} streams of the same key")):
        table.row(key, what, [values[c][key] for c in capacities], "ms")
    table.row("ratio", "beside another key, of alone", [values[c]["beside"] / values[c]["alone"] for c in capacities], "")
