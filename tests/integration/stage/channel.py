# SPDX-License-Identifier: Apache-2.0
"""The daemon alone, and its command channel spoken by hand."""

import json
import os
import signal
import socket
import time

from .process import PATIENCE, wait_until


class Channel:
    """One connection to command.sock."""

    def __init__(self, run, timeout=40.0):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout * PATIENCE)
        self.socket.connect(str(run / "command.sock"))
        self.file = self.socket.makefile("rwb")
        self.last = 0

    def send(self, command, **args):
        self.last += 1
        self.raw(json.dumps({"v": 1, "id": self.last, "command": command, "args": args}).encode() + b"\n")
        return self.last

    def raw(self, line):
        self.file.write(line)
        self.file.flush()

    def receive(self):
        line = self.file.readline()
        return json.loads(line) if line else None

    def call(self, command, **args):
        self.send(command, **args)
        answer = self.receive()
        assert answer and answer["ok"], answer
        return answer["result"]

    def refused(self, command, **args):
        self.send(command, **args)
        answer = self.receive()
        assert answer and not answer["ok"], answer
        return answer["error"]

    def close(self):
        self.file.close()
        self.socket.close()


class Daemon:
    """tt-agentd alone: what it is asked on its channel."""

    def __init__(self, stage, **more):
        self.stage = stage
        self.service = stage.service(start=False, **more)
        self.run = self.service.run
        self.start()

    def start(self):
        self.process = self.service.start_daemon()
        wait_until(self._answers, "an answer on the command channel")
        return self

    def _answers(self):
        if not self.process.alive():
            raise AssertionError(f"{self.process.name} ended:\n{self.process.log()}")
        try:
            self.ask("ping")
        except OSError:
            return False
        return True

    def channel(self):
        return self.stage.client(Channel(self.run))

    def ask(self, command, **args):
        channel = Channel(self.run)
        try:
            return channel.call(command, **args)
        finally:
            channel.close()

    def refused(self, command, **args):
        channel = Channel(self.run)
        try:
            return channel.refused(command, **args)
        finally:
            channel.close()

    def status(self):
        return self.ask("status")

    def models(self):
        return {m["deploy_id"] or m["kind"]: m for m in self.ask("models")["models"]}

    def current(self):
        """deploy_id or kind of the current LLM, or None."""
        for name, model in self.models().items():
            if model["current"]:
                return name
        return None

    def wait_current(self, name, deadline=10.0):
        wait_until(lambda: self.current() == name, f"{name} is current", deadline)
        return self

    def wait_health(self, name, health, deadline=10.0):
        wait_until(lambda: self.models().get(name, {}).get("status") == health, f"{name} {health}", deadline)
        return self

    def wait_log(self, pattern, deadline=10.0):
        return self.process.wait_log(pattern, deadline)

    def log(self):
        return self.process.log()

    def stop(self, number=signal.SIGTERM):
        return self.process.stop(number)

    def restart(self, kill=False):
        if kill:
            self.process.kill()
        else:
            self.stop()
        return self.start()

    def report(self, name, outcome="refused", status=0, began_ms=None):
        began = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000) if began_ms is None else began_ms
        return self.ask("report", report={"instance": self.models()[name]["instance"], "began_boot_ms": began,
                                          "outcome": outcome, "status": status})


def replace(path, text):
    """Renamed into place, as TT-Studio writes its files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(text)
    os.chmod(temporary, 0o600)
    os.rename(temporary, path)
