# SPDX-License-Identifier: Apache-2.0
"""A real terminal: tmux, with a server of its own."""

import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from .process import PATIENCE, clean_env, wait_until

AVAILABLE = shutil.which("tmux") is not None


class Tmux:
    """One window of width x height, in which a shell runs `command`; the shell stays after its end."""

    def __init__(self, testbed, command, width, height, env=None):
        self.socket = testbed.directory / f"tmux{len(testbed.others)}-{time.monotonic_ns()}"
        self.env = clean_env({"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PS1": "$ ", **(env or {})})
        self.run("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), "/bin/sh")
        self.run("set-option", "-g", "remain-on-exit", "on")
        testbed.client(self)
        if command:
            self.type(" ".join(shlex.quote(str(c)) for c in command))

    def run(self, *arguments):
        done = subprocess.run(["tmux", "-u", "-S", str(self.socket), *arguments], env=self.env, capture_output=True,
                              text=True, timeout=20 * PATIENCE)
        assert done.returncode == 0, f"tmux {arguments}: {done.stderr}"
        return done.stdout

    def type(self, line):
        self.run("send-keys", "-l", line)
        self.run("send-keys", "Enter")

    def keys(self, *names):
        self.run("send-keys", *names)

    def resize(self, width, height):
        self.run("resize-window", "-x", str(width), "-y", str(height))

    def screen(self):
        """Its lines, as they are shown."""
        return self.run("capture-pane", "-p").split("\n")[:-1]

    def wait(self, pattern, deadline=10.0):
        """The screen, once a line of it matches."""
        last = []

        def found():
            last[:] = self.screen()
            return any(re.search(pattern, line) for line in last)

        try:
            wait_until(found, f"{pattern!r} on the terminal", deadline)
        except AssertionError as e:
            raise AssertionError(f"{e}\n" + "\n".join(last)) from e
        return list(last)

    def flag(self, name):
        return self.run("display-message", "-p", f"#{{{name}}}").strip()

    def pid(self, program):
        """Of the program that the shell runs."""
        shell = self.flag("pane_pid")
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        return next(int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == program)

    def close(self):
        subprocess.run(["tmux", "-S", str(self.socket), "kill-server"], env=self.env, capture_output=True)
