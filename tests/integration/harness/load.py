# SPDX-License-Identifier: Apache-2.0
"""Many chat clients at once: tests/mock/chat_client.c."""

import json
import subprocess

from .process import BUILD, PATIENCE


def many_turns(host, clients, turns, message, expect=None, path="/poll_requests", **more):
    """Its report. {n} in message and expect is the number of the turn, {i} is client-turn."""
    name, port = host.rsplit(":", 1)
    argv = [BUILD / "chat-client", "--host", name, "--port", port, "--path", path, "--clients", clients,
            "--turns", turns, "--message", message]
    argv += ["--expect", expect] if expect else []
    for key, value in more.items():
        argv += [f"--{key.replace('_', '-')}"] + ([] if value is True else [value])
    patience = (300 + more.get("seconds", 0)) * PATIENCE
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=patience)
    assert done.stdout, f"{done.returncode}: {done.stderr}"
    return json.loads(done.stdout)
