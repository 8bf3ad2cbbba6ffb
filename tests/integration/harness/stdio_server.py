# SPDX-License-Identifier: Apache-2.0
"""An MCP server over stdio that misbehaves as its tools' names say. A program: stdio_server.py ERA JOURNAL

ERA: modern; legacy; mute, a legacy one that does not answer server/discover; strict, a legacy one that ends where
initialize is not the first request; broken, which ends at once; deaf, which ends neither with its input nor by SIGTERM.
JOURNAL: a file that gets each message, and "started", a line each."""

import json
import os
import signal
import sys
import threading
import time

ERA, JOURNAL = sys.argv[1], sys.argv[2]
lock = threading.Lock()
cancelled = {}


def note(text):
    with open(JOURNAL, "a") as f:
        f.write(text + "\n")


def send(message):
    with lock:
        sys.stdout.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
        sys.stdout.flush()


def answer(id, result):
    send({"result": result, "jsonrpc": "2.0", "id": id})


def error(id, code, text):
    send({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": text}})


def text(id, what):
    answer(id, {"content": [{"type": "text", "text": what}]})


def late(id):
    """Answers all the same once it is cancelled."""
    cancelled[id] = threading.Event()
    cancelled[id].wait(60)
    text(id, "too late")
    note("answered late")


def wait(id):
    """Until the test lets it go on."""
    while not os.path.exists(JOURNAL + ".go"):
        time.sleep(0.02)
    text(id, "waited")


TOOLS = {
    "waits": lambda id, a: threading.Thread(target=wait, args=(id,), daemon=True).start(),
    "echo": lambda id, a: text(id, json.dumps(a, sort_keys=True)),
    "hangs": lambda id, a: None,
    "dies": lambda id, a: os._exit(3),
    "closes": lambda id, a: os.close(1),
    "is_long": lambda id, a: text(id, "x" * (10 << 20)),
    "is_long_in_front": lambda id, a: send('{"jsonrpc":"2.0","id":%d,"result":{"x":"%s"}}' % (id, "x" * (10 << 20))),
    "prints": lambda id, a: (send("Listening on stdio ..."), send('{"half":'), send("[]"), text(id, "after garbage")),
    "complains": lambda id, a: (print("caution: " + "w" * 5000, file=sys.stderr, flush=True), text(id, "complained")),
    "is_late": lambda id, a: threading.Thread(target=late, args=(id,), daemon=True).start(),
    "refuses": lambda id, a: error(id, -32602, "text is missing"),
    "environment": lambda id, a: text(id, json.dumps({"cwd": os.getcwd(), "env": dict(os.environ)})),
    "asks": lambda id, a: (send({"jsonrpc": "2.0", "id": 7, "method": "ping"}), send({"jsonrpc": "2.0", "id": 8, "method": "roots/list"}),
                           text(id, "asked")),
    "answers_another": lambda id, a: (answer(12345, {"content": []}), answer("x", {}), text(id, "mine")),
}


def on_message(m):
    id, method, params = m.get("id"), m.get("method"), m.get("params") or {}
    note(json.dumps(m))
    if method == "server/discover":
        if ERA == "strict":
            os._exit(1)
        if ERA == "modern":
            answer(id, {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"})
        elif ERA != "mute":
            error(id, -32601, "Method not found")
    elif method == "initialize":
        answer(id, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}})
    elif method == "tools/list":
        answer(id, {"tools": [{"name": n, "description": f"The tool {n}.", "inputSchema": {"type": "object", "properties": {}}} for n in TOOLS]})
    elif method == "tools/call":
        TOOLS[params["name"]](id, params.get("arguments"))
    elif method == "notifications/cancelled" and params["requestId"] in cancelled:
        cancelled[params["requestId"]].set()


note("started")
if ERA == "broken":
    sys.exit("no configuration")
if ERA == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for line in sys.stdin:
    on_message(json.loads(line))
note("input ended")
while ERA == "deaf":
    time.sleep(1)
