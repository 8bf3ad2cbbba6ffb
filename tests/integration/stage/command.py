# SPDX-License-Identifier: Apache-2.0
"""The command channel from the other side: lines on the daemon's socket."""

import json
import socket

from .process import PATIENCE


class Channel:
    def __init__(self, run):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30 * PATIENCE)
        self.socket.connect(str(run / "command.sock"))
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        """The next line as JSON, or None where the daemon has hung up."""
        try:
            line = self.file.readline()
        except ConnectionResetError:
            return None
        return json.loads(line) if line else None

    def command(self, name, **args):
        self.send(json.dumps({"v": 1, "id": 1, "command": name, "args": args}).encode() + b"\n")
        return self.line()

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
