# SPDX-License-Identifier: Apache-2.0
"""The tables that a run makes: printed as they grow, and written as JSON, from which plots and doc/performance.md are made."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time

from . import processes

WIDTH = 58


def number(value):
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def machine():
    with open("/proc/cpuinfo") as f:
        model = re.search(r"^model name\s*: (.*)", f.read(), re.M)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (f"{os.cpu_count()} x {model[1].strip() if model else platform.machine()}, {memory / 2**30:.0f} GiB, "
            f"Linux {platform.release()}")


def revision(source):
    """Where there is Git, and the sources are a clone."""
    git = shutil.which("git")
    done = subprocess.run([git, "-C", source, "describe", "--always", "--dirty"], capture_output=True, text=True) if git else None
    return done.stdout.strip() if done and done.returncode == 0 else "no Git"


class Table:
    """Of one measurement. A row has a key, by which plots find it, and a value for each column (None: not measured)."""

    def __init__(self, title, columns):
        self.title, self.columns, self.rows = title, [str(c) for c in columns], []
        print(f"\n{title:<{WIDTH}} " + " ".join(f"{c:>12}" for c in self.columns), flush=True)

    def row(self, key, what, values, unit, note=""):
        ratio = ""
        if len(self.columns) == 2 and None not in values and values[0]:
            ratio = f" x{values[1] / values[0]:.2f}"
        self.rows.append({"key": key, "what": what, "unit": unit, "values": list(values), "note": note})
        print(f"{what:<{WIDTH}} " + " ".join(f"{number(v):>12}" for v in values) + f" {unit:<8}{ratio}" +
              (f"  {note}" if note else ""), flush=True)


class Report:
    """All tables of a run by the name of their measurement, and under which conditions they were taken."""

    def __init__(self, source, rounds):
        self.rounds_wanted = rounds
        self.about = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "revision": revision(source)}
        self.tables, self.failed = {}, []
        self.name, self.place = "", ""

    def measure(self, name, place, budget_s, function, *arguments):
        """Runs one measurement and notes how long it took and what other processes used meanwhile. The others go on where one fails."""
        self.name, self.place, self.rounds_done, before = name, place, 1, set(self.tables)
        began, busy, own = time.monotonic(), processes.busy_seconds(), processes.own_seconds()
        self.deadline = began + budget_s
        self.progress("starts")
        try:
            function(*arguments)
        except (SystemExit, OSError, subprocess.SubprocessError) as e:
            self.progress("")
            print(f"{e if isinstance(e, SystemExit) else f'bench: {e}'}\n({name} failed)", file=sys.stderr, flush=True)
            self.failed.append(name)
        took = time.monotonic() - began
        others = max(0, processes.busy_seconds() - busy - processes.own_seconds() + own) / took
        self.progress("")
        print(f"({name}: {took:.0f} s; others used {others:.2f} of {os.cpu_count()} cores)", flush=True)
        for key in set(self.tables) - before:
            self.tables[key].conditions = {"seconds": round(took), "others_cores": round(others, 2), "rounds": self.rounds_done,
                                           "measurement": name}

    def table(self, title, columns, key=None):
        table = self.tables[key or self.name] = Table(title, columns)
        return table

    def rounds(self, share=1, most=None):
        """Counts rounds, and ends early where the next one would not fit into the measurement's time, of which it takes a share."""
        began = time.monotonic()
        end = began + (self.deadline - began) * share
        for n in range(min(self.rounds_wanted, most or self.rounds_wanted)):
            now = time.monotonic()
            if n > 0 and now + (now - began) / n > end:
                return
            self.progress(f"round {n + 1} of {self.rounds_wanted}")
            self.rounds_done = max(self.rounds_done, n + 1)
            yield n

    def progress(self, what):
        """On a terminal, one line that changes."""
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K" + (f"{self.place} {self.name}: {what}" if what else ""))
        elif what == "starts":
            sys.stderr.write(f"{self.place} {self.name}\n")
        sys.stderr.flush()

    def as_json(self):
        return {"about": self.about,
                "tables": {name: {"title": t.title, "columns": t.columns, "rows": t.rows} | t.conditions
                           for name, t in self.tables.items() if t.conditions["measurement"] not in self.failed}}


def write(path, data):
    with open(path + ".new", "w") as f:
        json.dump(data, f, indent=1, ensure_ascii=False)
        f.write("\n")
    os.rename(path + ".new", path)


def merge(*files):
    """All tables, each with the conditions of its own run; later ones replace earlier ones of the same name."""
    return {name: data["about"] | table for data in files for name, table in data["tables"].items()}


def read(paths):
    files = []
    for path in paths:
        with open(path) as f:
            files.append(json.load(f))
    return merge(*files)
