# SPDX-License-Identifier: Apache-2.0
"""tt-agent-runner and what runs below it."""

import functools
import json
import os
import pwd
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from .process import BUILD, PATIENCE, Process, wait_until

LIMITS = ["--timeout", 3 if PATIENCE == 1 else 10, "--cpu", 1, "--memory", 256, "--files", 4, "--processes", 20, "--output", 64]


@functools.lru_cache
def works(program=BUILD / "tt-agent-runner"):
    """Whether a sandbox can be made on this machine at all."""
    return subprocess.run([program, "--test"], capture_output=True).returncode == 0


def children(pid):
    """Those of all of them, recursively. A process that ends meanwhile has none."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for p in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += [int(p), *children(int(p))]
    except OSError:
        pass
    return found


def lives(pid):
    """A zombie that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Runner:
    """user: the one that starts it, "root" or "nobody"; root becomes nobody by itself."""

    def __init__(self, testbed, user="root", limits=LIMITS, env=None, options=(), before=(), check=True, pass_fds=()):
        if not works():
            pytest.skip("no sandbox can be made on this machine")
        self.directory = testbed.directory / testbed._name("runner")
        self.directory.mkdir()
        self.path = self.directory / "runner.sock"
        argv = [BUILD / "tt-agent-runner"]
        if os.geteuid() == 0 and user != "root":
            # Others may not read the build directory.
            testbed.directory.chmod(0o711)
            argv = ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups",
                    shutil.copy(BUILD / "tt-agent-runner", self.directory)]
            os.chown(self.directory, pwd.getpwnam(user).pw_uid, -1)
        elif user == "root" and os.geteuid() != 0:
            pytest.skip("needs root")
        argv += ["--socket", self.path, *limits, *options]
        self.process = testbed.own(Process(self.directory.name, [*before, *argv], self.directory, env, own=not before, pass_fds=pass_fds))
        if check:
            self.process.wait_log("ready", 20)

    @property
    def pid(self):
        return self.process.pid

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30 * PATIENCE)
        s.connect(str(self.path))
        return s

    def begin(self, code, timeout_ms=0):
        s = self.connect()
        s.sendall(json.dumps({"code": code, "timeout_ms": timeout_ms}).encode() + b"\n")
        return s

    def read(self, s):
        """(output, errors' names) of a run, at its end."""
        data = b""
        while not data.endswith(b'{"type":"end_of_execution"}\n'):
            more = s.recv(65536)
            assert more, f"the runner closed the connection: {data[-500:]}"
            data += more
        s.close()
        events = [json.loads(line) for line in data.splitlines()]
        text = "".join(e["text"] for e in events if e["type"] in ("stdout", "stderr"))
        return text, [e["name"] for e in events if e["type"] == "error"]

    def run(self, code, timeout_ms=0):
        return self.read(self.begin(code, timeout_ms))

    def run_all(self, codes):
        """name -> code at once; name -> what came."""
        results = {}

        def one(name):
            results[name] = self.run(codes[name])

        threads = [threading.Thread(target=one, args=(name,)) for name in codes]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return results

    def wait_empty(self, deadline=5.0):
        wait_until(lambda: not children(self.pid), "no process below the runner", deadline)


class McpRunner:
    """tt-agent-runner --mcp with these servers, name -> settings."""

    def __init__(self, testbed, each, options=()):
        self.directory = testbed.directory / testbed._name("mcp-runner")
        self.directory.mkdir()
        self.path, self.file = self.directory / "mcp.sock", self.directory / "servers.json"
        self.write(each)
        self.process = testbed.own(Process(self.directory.name, [BUILD / "tt-agent-runner", "--mcp", self.file, "--socket", self.path,
                                                                 "--user", "root", *options], self.directory, {"UNRELATED": "s3cret"}))
        self.process.wait_log("ready", 20)

    def write(self, each):
        new = self.file.with_suffix(".new")
        new.write_text(each if isinstance(each, str) else json.dumps({"mcpServers": each}))
        new.rename(self.file)
