# SPDX-License-Identifier: Apache-2.0
"""tt-agentd alone, and its files as others write them."""

import os
import signal
import time

from .channel import Channel
from .process import wait_until


class Daemon:
    """tt-agentd alone: commands on its channel."""

    def __init__(self, testbed, **more):
        self.testbed = testbed
        self.service = testbed.service(start=False, **more)
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
        return self.testbed.client(Channel(self.run))

    def ask(self, command, **args):
        with Channel(self.run) as channel:
            return channel.call(command, **args)

    def refused(self, command, **args):
        with Channel(self.run) as channel:
            return channel.refused(command, **args)

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


def replace_file(path, text):
    """Renamed into place, as TT-Studio writes its files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(text)
    os.chmod(temporary, 0o600)
    os.rename(temporary, path)
