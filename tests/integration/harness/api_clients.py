# SPDX-License-Identifier: Apache-2.0
"""Clients of the OpenAI API, from the packages that tests/run installs: each in an environment of its own."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from .process import PATIENCE, SOURCE, clean_env

CLIENTS = SOURCE / "build"


def is_installed(name):
    return (CLIENTS / name / f"{name}.txt").exists() or os.environ.get("TT_REQUIRE_API_CLIENTS")


def client(name):
    """A parameter of a test, which is skipped where tests/run could not install that list."""
    return pytest.param(name, marks=pytest.mark.skipif(not is_installed(name), reason=f"not installed by tests/run (see build/{name}.log)"))


class OpenAi:
    """OpenAI's Python client: do(url, ("create", {...})) is what it saw."""

    def __init__(self, name):
        program = Path(__file__).with_name("openai_client.py")
        self.popen = subprocess.Popen([CLIENTS / name / "bin" / "python3", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True, env=clean_env())

    def do(self, url, *each, **more):
        self.popen.stdin.write(json.dumps({"url": url, "do": each, **more}) + "\n")
        self.popen.stdin.flush()
        seen = json.loads(self.popen.stdout.readline())
        return seen[0] if len(seen) == 1 else seen

    def close(self):
        self.popen.stdin.close()
        self.popen.wait(30 * PATIENCE)
