# SPDX-License-Identifier: Apache-2.0
"""Draws tables as SVG. The same figures make the same file, and it can be read on a light and on a dark page."""

import math
import os
import re

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot, ticker

INK, PAPER, LINES = "#24292f", "#ffffff", "#d0d7de"
DARK = {INK: "#e6edf3", PAPER: "#0d1117", LINES: "#30363d"}
# Of middle brightness, for both pages; ours is the first.
OURS, NGINX, OTHERS = "#2f81d6", "#848d97", ("#c2702f", "#8f62cc", "#3d9450", "#c2506f")
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "tt-agent", "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"],
         "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": LINES, "xtick.color": INK, "ytick.color": INK,
         "axes.facecolor": PAPER, "figure.facecolor": PAPER, "savefig.facecolor": PAPER, "axes.spines.top": False, "axes.spines.right": False,
         "axes.grid": True, "grid.color": LINES, "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.titlesize": 11, "axes.titlelocation": "left"}


class Plot:
    """Of one table. rows: (key, label) of its lines; for bars, (key, title) of groups, in which each column of the table has a bar.
    x: label of the columns, which are numbers; log: where that axis is logarithmic."""

    def __init__(self, table, title, unit, rows, x=None, log=False):
        self.table, self.title, self.unit, self.rows, self.x, self.log = table, title, unit, rows, x, log


def by_store(key):
    return [(f"{key}.memory", "memory"), (f"{key}.SQLite", "SQLite"), (f"{key}.Redis", "Redis")]


def by_side(key):
    return [(f"{key}.agent", "tt-agent"), (f"{key}.proxy", "nginx")]


PLOTS = {
    "gateway-crowd": Plot("gateway-latency", "Time to the first token, 100 requests at once", "ms, median",
                          [("ttft100.0.median", "warm"), ("ttft100.0.2.median", "after 0.2 s of idleness"),
                           ("ttft100.1.5.median", "after 1.5 s"), ("ttft100.5.median", "after 5 s")]),
    "gateway-token": Plot("gateway-latency", "A token's way from the LLM to the client", "ms, median",
                          [("way1", "1 stream"), ("way100", "100 streams, spread evenly"), ("way100.batch", "100 that began together")]),
    "gateway-chats": Plot("gateway-load", "Whole short chats of 32 clients", "chats a second", [("chats", "")]),
    "gateway-cpu": Plot("gateway-load", "CPU time, with the web server where one is needed", "µs",
                        [("chat.cpu.all", "a short chat"), ("token.cpu.all", "a token, 200 streams")]),
    "streams-memory": Plot("streams", "Memory of each stream", "KiB", [*by_side("memory"), ("memory.all.agent", "tt-agent and nginx")],
                           x="streams at once", log=True),
    "streams-ttft": Plot("streams", "Time to the first token beyond the LLM's own, 99 of 100", "ms", by_side("ttft.p99"),
                         x="streams at once", log=True),
    "turns": Plot("turns", "CPU time of a short chat by the length of its thread", "µs", by_store("cpu"), x="turns in the thread"),
    "workers": Plot("workers", "Whole short chats of 32 clients", "chats a second", [("chats", "")], x="workers"),
    "models": Plot("models", "A refresh over all models, each of which answers in 20 ms", "ms", [("refresh", "")], x="deployed models", log=True),
    "models-memory": Plot("models", "Memory by the number of models", "MiB", [("memory", "tt-agentd"), ("responder", "tt-agent-fcgi")],
                          x="deployed models", log=True),
    "threads": Plot("threads", "CPU time of SQLite by the number of threads", "µs", [("append", "store a turn"), ("load", "load 10 turns"), ("new", "find none")],
                    x="threads in the database", log=True),
}


def plain(value, _=None):
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:g}"


def short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def colour(name, number):
    return NGINX if name == "nginx" else OURS if number == 0 else OTHERS[number - 1]


def lines(plot, table, rows, axes):
    xs = [float(c) for c in table["columns"]]
    ends, most = [], 0
    for i, (row, label) in enumerate(rows):
        points = [(x, y) for x, y in zip(xs, row["values"]) if y is not None]
        most = max(most, *(y for _, y in points), 0)
        c = colour(label, i)
        axes.plot(*zip(*points), color=c, linewidth=2.2 if i == 0 else 1.8, marker="o", markersize=4)
        ends.append((points[-1], label, c))
    if plot.log:
        axes.set_xscale("log")
    axes.set_ylim(0, most * 1.08)
    axes.yaxis.set_major_locator(ticker.MaxNLocator(6))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(plain))
    axes.set_xticks([x for x in xs if not plot.log or math.log10(x) % 1 == 0])
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(plain))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.unit)
    # Labels stand beside the ends of their lines, pushed apart where these are close.
    axes.figure.canvas.draw()
    least, last = 13 * axes.figure.dpi / 72, None
    for (x, y), label, c in sorted(ends, key=lambda e: e[0][1]):
        at_x, at_y = axes.transData.transform((x, y))
        at_y = at_y if last is None else max(at_y, last + least)
        last = at_y
        text = f"{label} {short(y)}".strip()
        axes.annotate(text, (x, y), xytext=(at_x + 8, at_y), textcoords="figure pixels", va="center", color=c, annotation_clip=False)


def bars(plot, table, rows, axes):
    names = [c for c in table["columns"]]
    at, ticks, most = 0, [], max(v for row, _ in rows for v in row["values"] if v is not None)
    for row, title in rows:
        if title:
            axes.text(0, at, title, va="center", fontweight="bold")
            at += 1
        for i, (name, value) in enumerate(zip(names, row["values"])):
            if value is None:
                continue
            c = OURS if name in ("tt-agent", "its /v1") else NGINX if name in ("nginx", "LLM alone") else OTHERS[i % len(OTHERS)]
            axes.barh(at, value, 0.72, color=c)
            axes.text(value + most * 0.012, at, short(value), va="center")
            ticks.append((at, "tt-agent, /v1" if name == "its /v1" else name))
            at += 1
        at += 0.4
    axes.set_yticks([t for t, _ in ticks], [n for _, n in ticks])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, most * 1.12)
    axes.set_ylim(at - 0.6, -0.8)
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(plain))
    axes.set_xlabel(plot.unit)
    return at


def both_pages(svg):
    """Other colours where the reader's page is dark; no date and no comments."""
    rules = "".join(f'[style*="fill: {light}"]{{fill:{dark} !important}}[style*="stroke: {light}"]{{stroke:{dark} !important}}'
                    for light, dark in DARK.items())
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.S)
    return svg.replace("<defs>", f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>\n <defs>", 1)


def draw_one(plot, table, path):
    by_key = {row["key"]: row for row in table["rows"]}
    rows = [(by_key[key], label) for key, label in plot.rows if key in by_key and any(v is not None for v in by_key[key]["values"])]
    if not rows:
        return False
    with pyplot.rc_context(STYLE):
        count = sum(bool(title) + 0.4 + sum(v is not None for v in row["values"]) for row, title in rows)
        figure, axes = pyplot.subplots(figsize=(7.4, 3.6 if plot.x else 1.1 + 0.26 * count))
        figure.subplots_adjust(left=0.12 if plot.x else 0.17, right=0.75 if plot.x else 0.97, top=0.9 if plot.x else 1 - 0.35 / figure.get_figheight(),
                               bottom=0.15 if plot.x else 0.5 / figure.get_figheight())
        axes.set_title(plot.title, x=0 if plot.x else -0.15)
        (lines if plot.x else bars)(plot, table, rows, axes)
        figure.savefig(path + ".new", format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        pyplot.close(figure)
    with open(path + ".new") as f:
        svg = both_pages(f.read())
    os.remove(path + ".new")
    with open(path, "w") as f:
        f.write(svg)
    return True


def draw(tables, directory):
    """The files that were drawn: of each plot whose table there is."""
    os.makedirs(directory, exist_ok=True)
    paths = ((plot, f"{directory}/{name}.svg") for name, plot in PLOTS.items() if plot.table in tables)
    return [path for plot, path in paths if draw_one(plot, tables[plot.table], path)]
