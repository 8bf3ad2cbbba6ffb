# SPDX-License-Identifier: Apache-2.0
"""Fills doc/performance.md between its markers: <!-- bench NAME --> ... <!-- end -->, with the plots and the table of each
measurement, the command that made them, the machine and the date."""

import os
import re

from .figures import number, read, write
from .service import SOURCE

PATH, PLOTS, FIGURES = (f"{SOURCE}/doc/{name}" for name in ("performance.md", "performance", "performance/figures.json"))
MARKED = re.compile(r"(<!-- bench ([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.S)
MEASUREMENTS = []
if os.path.exists(PATH):
    with open(PATH) as f:
        MEASUREMENTS = [found[2] for found in MARKED.finditer(f.read())]


def cell(value):
    return "" if value is None else number(value)


def block(name, table):
    from . import plots
    images = [(f"performance/{file}.svg", plot.title) for file, plot in plots.PLOTS.items()
              if plot.table == name and os.path.exists(f"{PLOTS}/{file}.svg")]
    out = "".join(f"![{title}]({path})\n\n" for path, title in images)
    out += f"| {table['title']} | " + " | ".join(table["columns"]) + " | unit |\n|---|" + "---:|" * len(table["columns"]) + "---|\n"
    for row in table["rows"]:
        note = f" ({row['note']})" if row["note"] else ""
        out += f"| {row['what']}{note} | " + " | ".join(map(cell, row["values"])) + f" | {row['unit']} |\n"
    return out + (f"\n`tests/bench/run {name}`, {table['date']}, {table['machine']}; {table['revision']}, {table['rounds']} round{'s' * (table['rounds'] > 1)} "
                  f"in {table['seconds']} s, of which other processes used {table['others_cores']:.2f} cores.\n")


def update(tables):
    """With these tables, and those of earlier runs that are not among them."""
    from . import plots
    os.makedirs(PLOTS, exist_ok=True)
    tables = (read([FIGURES]) if os.path.exists(FIGURES) else {}) | tables
    write(FIGURES, {"about": {}, "tables": tables})
    plots.draw(tables, PLOTS)
    with open(PATH) as f:
        text = f.read()
    text = MARKED.sub(lambda m: m[1] + (block(m[2], tables[m[2]]) if m[2] in tables else m[3]) + m[4], text)
    with open(PATH, "w") as f:
        f.write(text)
