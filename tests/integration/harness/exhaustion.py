# SPDX-License-Identifier: Apache-2.0
"""What runs short: descriptors and memory of a process that runs, room on a disk."""

import contextlib
import os
import pathlib
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


class Disk:
    """A file system so small that it can be filled."""

    def __init__(self, directory, kib):
        self.directory = directory
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=0755", "tmpfs", directory],
                       check=True, capture_output=True)

    def fill(self):
        """Not a byte is left."""
        with open(self.directory / "ballast", "ab", buffering=0) as f, contextlib.suppress(OSError):
            while True:
                f.write(bytes(4096))

    def empty(self):
        (self.directory / "ballast").unlink()

    def close(self):
        subprocess.run(["umount", "-l", self.directory], check=True)


def leave_memory(pid, kib):
    """From now on pid can have so much more address space; None: as much as it wants."""
    pages = int(open(f"/proc/{pid}/statm").read().split()[0])
    most = resource.RLIM_INFINITY if kib is None else pages * resource.getpagesize() + kib * 1024
    resource.prlimit(pid, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


class ControlGroup:
    """One of its own below the root, with a limit of memory; of either version. OSError: none can be made here."""

    def __init__(self, name):
        base = pathlib.Path("/sys/fs/cgroup")
        self.v2 = (base / "cgroup.controllers").exists()
        if self.v2:
            (base / "cgroup.subtree_control").write_text("+memory")
        else:
            base = base / "memory"
        self.base, self.directory = base, base / name
        self.directory.mkdir()
        if not (self.directory / self._file()).exists():
            self.directory.rmdir()
            raise OSError("memory is not controlled here")

    def _file(self):
        return "memory.max" if self.v2 else "memory.limit_in_bytes"

    def add(self, pid):
        (self.directory / "cgroup.procs").write_text(str(pid))

    def limit(self, size):
        (self.directory / self._file()).write_text(str(size))

    def close(self):
        """Who is still in it goes to the root."""
        for pid in (self.directory / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (self.base / "cgroup.procs").write_text(pid)
        self.directory.rmdir()
