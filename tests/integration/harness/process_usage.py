# SPDX-License-Identifier: Apache-2.0
"""What a process holds: descriptors by kind, threads, memory of its own (pages of programs
and libraries come and go)."""

import os
import re
from pathlib import Path


def inodes(path, field):
    """inode -> the line's fields, of a table in /proc/net."""
    found = {}
    for line in Path(path).read_text().splitlines()[1:]:
        parts = line.split()
        if len(parts) > field:
            found[parts[field]] = parts
    return found


def kind(link, tcp, unix):
    if not link.startswith("socket:["):
        return "anonymous" if link.startswith("anon_inode") else "pipe" if link.startswith("pipe") else "file"
    inode = link[8:-1]
    if inode in tcp:
        return "tcp, closed by the peer" if tcp[inode][3] == "08" else "tcp"
    return "unix" if inode in unix else "other socket"


def holds(pid):
    tcp, unix = inodes("/proc/net/tcp", 9), inodes("/proc/net/unix", 6)
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            k = kind(os.readlink(f"/proc/{pid}/fd/{fd}"), tcp, unix)
        except FileNotFoundError:
            continue
        found[k] = found.get(k, 0) + 1
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return {"descriptors": found, "threads": int(status["Threads"]), "kib": int(status["RssAnon"].split()[0])}


def proportional_set_kib(pid, part="Pss"):
    """Its memory, and its share of what it has in common with others; Pss_Anon: of what is of no file."""
    return int(re.search(rf"^{part}:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])
