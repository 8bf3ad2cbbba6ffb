# SPDX-License-Identifier: Apache-2.0
"""Processes of a test: started with a log each, waited for by condition, ended and judged."""

import os
import re
import resource
import signal
import subprocess
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("TT_BUILD", SOURCE / "build"))
# Everything takes longer under a sanitizer or valgrind.
PATIENCE = float(os.environ.get("TT_PATIENCE", "1"))
# Put in front of our own programs, e.g. valgrind.
WRAP = os.environ.get("TT_WRAP", "").split()

REPORTS = re.compile(
    r"ERROR: AddressSanitizer|LeakSanitizer|WARNING: ThreadSanitizer|runtime error:|"
    r"Assertion .* failed|stack smashing|double free|Sanitizer:DEADLYSIGNAL|"
    r"^==\d+== (?!Warning)",  # valgrind, which is quiet but for errors
    re.M,
)


def wait_until(condition, what, deadline=10.0):
    """The first true value of condition(); fails with `what` after `deadline` seconds."""
    end = time.monotonic() + deadline * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline * PATIENCE:g} s: {what}")
        time.sleep(0.002)


def clean_env(extra=None):
    """An environment without anybody's AGENT_* and proxy variables."""
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "TZ") or k.endswith("SAN_OPTIONS")}
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:exitcode=99:handle_abort=1")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:exitcode=99")
    env.setdefault("TSAN_OPTIONS", "exitcode=99")
    for name, value in (extra or {}).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = str(value)
    return env


def processes_of(directory):
    """Command lines of all processes that have to do with the directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (process / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if str(directory) in line and state != "Z":
            found.append(line)
    return found


class Process:
    """One program, its log (stdout and stderr in one file) and its end."""

    def __init__(self, name, argv, directory, env=None, pass_fds=(), own=False, before_exec=None):
        self.name, self.own = name, own
        self.log_path = Path(directory) / f"{name}.log"
        self.argv = [str(a) for a in argv]
        self.exit_code = None
        self.expected_exit = {0}
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                (WRAP if own else []) + self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean_env(env),
                cwd=directory, pass_fds=pass_fds, start_new_session=True, preexec_fn=before_exec,
            )

    @property
    def pid(self):
        return self.popen.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def alive(self):
        return self.popen.poll() is None

    def wait_log(self, pattern, deadline=10.0):
        """Match object of the first line that the pattern (a regular expression) finds."""

        def look():
            found = re.search(pattern, self.log(), re.M)
            if not found and not self.alive():
                raise AssertionError(f"{self.name} ended ({self.popen.returncode}):\n{self.log()}")
            return found

        return wait_until(look, f"{pattern!r} in the log of {self.name}", deadline)

    def send(self, number):
        self.popen.send_signal(number)

    def wait(self, deadline=10.0):
        try:
            self.exit_code = self.popen.wait(deadline * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {deadline * PATIENCE:g} s") from None
        return self.exit_code

    def stop(self, number=signal.SIGTERM, deadline=10.0):
        if self.alive():
            self.send(number)
        return self.wait(deadline)

    def kill(self):
        """At once; the test wants it so."""
        self.expected_exit = {-signal.SIGKILL}
        self.kill_group()
        self.popen.wait()
        self.exit_code = self.popen.returncode

    def kill_group(self):
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def faults(self):
        """What is wrong with its exit status and its output."""
        found = []
        if self.exit_code not in self.expected_exit:
            found.append(f"{self.name} ended with {self.exit_code}, not {self.expected_exit}")
        report = REPORTS.search(self.log())
        if report:
            found.append(f"{self.name} reported:\n{self.log()[max(0, report.start() - 200):][:6000]}")
        return found


def raise_descriptor_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
