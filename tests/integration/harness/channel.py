# SPDX-License-Identifier: Apache-2.0
"""The command channel spoken by hand: lines on the daemon's socket."""

import json
import socket

from .process import PATIENCE


class Channel:
    """One connection to command.sock."""

    def __init__(self, run, timeout=40.0):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout * PATIENCE)
        self.socket.connect(str(run / "command.sock"))
        self.file = self.socket.makefile("rb")
        self.last = 0

    def send(self, command, **args):
        self.last += 1
        self.raw(json.dumps({"v": 1, "id": self.last, "command": command, "args": args}).encode() + b"\n")
        return self.last

    def raw(self, line):
        self.socket.sendall(line)

    def receive(self):
        """The next line as JSON, or None where the daemon has closed the connection."""
        try:
            line = self.file.readline()
        except ConnectionResetError:
            return None
        return json.loads(line) if line else None

    def command(self, name, **args):
        """The whole answer, whatever it says."""
        self.send(name, **args)
        return self.receive()

    def call(self, name, **args):
        answer = self.command(name, **args)
        assert answer and answer["ok"], answer
        return answer["result"]

    def refused(self, name, **args):
        answer = self.command(name, **args)
        assert answer and not answer["ok"], answer
        return answer["error"]

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
