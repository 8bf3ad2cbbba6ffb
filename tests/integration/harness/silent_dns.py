# SPDX-License-Identifier: Apache-2.0
"""A name server that hears every question and never answers."""

import os
import random
import socket
import subprocess

import pytest


class SilentNames:
    """A process started with .before asks it for every name that /etc/hosts does not know: that
    file of names' servers is another one in its mount namespace."""

    def __init__(self, testbed):
        self.socket = testbed.client(self._listen())
        self.names = set()
        conf = testbed.directory / "resolv.conf"
        conf.write_text(f"nameserver {self.socket.getsockname()[0]}\noptions timeout:30 attempts:1\n")
        self.before = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(conf))
        if subprocess.run([*self.before, "true"], capture_output=True).returncode != 0:
            pytest.skip("no mount namespace can be made on this machine")

    @staticmethod
    def _listen():
        """The port cannot be chosen, but the loopback address can."""
        if os.geteuid() != 0:
            pytest.skip("needs root")
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setblocking(False)
        for _ in range(20):
            try:
                s.bind((f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}", 53))
                return s
            except OSError:
                pass
        s.close()
        pytest.skip("no address for a name server")

    def asked(self):
        """The names so far, in lower case."""
        try:
            while question := self.socket.recv(512)[12:]:
                labels = []
                while question and question[0]:
                    labels.append(question[1:1 + question[0]].decode().lower())
                    question = question[1 + question[0]:]
                self.names.add(".".join(labels))
        except BlockingIOError:
            pass
        return self.names
