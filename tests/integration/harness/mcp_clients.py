# SPDX-License-Identifier: Apache-2.0
"""The Python SDK's client of the Model Context Protocol, which tests/run installs in an environment of its own."""

import json
import os
import subprocess
from pathlib import Path

from .process import PATIENCE, SOURCE, clean_env

PLACE = SOURCE / "build" / "mcp"
HERE = (PLACE / "mcp.txt").exists() or os.environ.get("TT_REQUIRE_API_CLIENTS")


class McpClient:
    """do(url, ["call", NAME, ARGUMENTS], ...) is what it saw, over one connection."""

    def __init__(self):
        program = Path(__file__).with_name("mcp_client.py")
        self.popen = subprocess.Popen([PLACE / "bin" / "python3", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True, env=clean_env())

    def do(self, url, *each, mode="auto", **more):
        self.popen.stdin.write(json.dumps({"url": url, "mode": mode, "do": each, **more}) + "\n")
        self.popen.stdin.flush()
        return json.loads(self.popen.stdout.readline())

    def close(self):
        self.popen.stdin.close()
        self.popen.wait(30 * PATIENCE)
