# SPDX-License-Identifier: Apache-2.0
"""Processes of the bench, and what the kernel counts of any: CPU time, memory, who listens where."""

import os
import re
import signal
import socket
import subprocess
import sys
import time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(what, check, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.002)
    sys.exit(f"bench: {what} did not happen within {seconds} s")


def listens(port, address="127.0.0.1"):
    with socket.socket() as s:
        return s.connect_ex((address, port)) == 0


def start(command, log, **more):
    """In a session of its own, so that Ctrl-C reaches the bench alone, which then ends it; and ended by the kernel if the bench
    is killed."""
    with open(log, "wb") as f:
        more.setdefault("stdout", f)
        return subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *map(str, command)], stdin=subprocess.DEVNULL, stderr=f,
                                start_new_session=True, **more)


def stop(processes):
    """Ends them in order, and what is left of their sessions after them."""
    for p in processes:
        if p.poll() is None:
            p.send_signal(signal.SIGTERM)
    for p in processes:
        try:
            p.wait(10)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def children(pid):
    try:
        return [int(p) for p in open(f"/proc/{pid}/task/{pid}/children").read().split()]
    except OSError:
        return []


def family(pid):
    """The process and all that it started."""
    found = [pid]
    for p in found:
        found += children(p)
    return found


def listener(port):
    """The processes that have a listening TCP socket of this port open; empty where they are not ours to see."""
    inodes = set()
    for table in "tcp", "tcp6":
        with open(f"/proc/net/{table}") as f:
            for line in list(f)[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if any(os.readlink(f"/proc/{pid}/fd/{fd}") in inodes for fd in os.listdir(f"/proc/{pid}/fd")):
                found.append(int(pid))
        except OSError:
            pass
    return found


def cpu_ns(pids):
    """Of all their threads, finer than clock ticks. A thread that has ended is not counted."""
    return sum(int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
               for pid in pids for task in os.listdir(f"/proc/{pid}/task"))


def loop_ns(pid):
    """CPU time of the thread that runs the event loop."""
    return int(open(f"/proc/{pid}/task/{pid}/schedstat").read().split()[0])


def memory_of(pid, field="VmRSS"):
    return int(re.search(rf"^{field}:\s+(\d+)", open(f"/proc/{pid}/status").read(), re.M).group(1)) << 10


def pss_kib(pids):
    return sum(int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M).group(1)) for pid in pids)


def busy_seconds():
    """Of all processors since the system started."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    """Of this process and of the processes that it waited for, with all that they waited for."""
    return sum(os.times()[:4])
