"""What runs short: descriptors and memory of a process that runs, room on a disk."""

import contextlib
import os
import resource
import subprocess


def leave_descriptors(pid, count):
    """From now on pid can open `count` more descriptors. Returns the limit that was."""
    taken = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    limit = 0
    while count > 0 or limit <= min(taken):
        count -= limit not in taken
        limit += 1
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    return resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
