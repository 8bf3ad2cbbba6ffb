# SPDX-License-Identifier: Apache-2.0
"""What clients of the Model Context Protocol send, of both eras, and what they get."""

import base64
import json

from .http_client import Cut, Exchange

MODERN = "2026-07-28"
LEGACY = ["2025-11-25", "2025-06-18", "2025-03-26"]
KEYS = "io.modelcontextprotocol/"
ACCEPT = "application/json, text/event-stream"


def meta(version=MODERN, **more):
    return {KEYS + "protocolVersion": version, KEYS + "clientCapabilities": {}, KEYS + "clientInfo": {"name": "test", "version": "1"},
            **more}


def header_value(name):
    plain = name.isascii() and name.isprintable() and name == name.strip() and not name.startswith("=?base64?")
    return name if plain else f"=?base64?{base64.b64encode(name.encode()).decode()}?="


def request(method, params=None, id=1, version=MODERN, token=None, headers=None):
    """(body, headers) as a client of that version sends it."""
    params = dict(params or {})
    sent = {"Accept": ACCEPT, "MCP-Protocol-Version": version}
    if version == MODERN:
        params["_meta"] = meta()
        sent["Mcp-Method"] = method
        if method == "tools/call" and isinstance(params.get("name"), str):
            sent["Mcp-Name"] = header_value(params["name"])
    if token is not None:
        params.setdefault("_meta", {})["progressToken"] = token
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}, {**sent, **(headers or {})}


class Answer:
    """One response, read to its end: messages, the last of which answers the request unless it broke off."""

    def __init__(self, exchange):
        self.exchange = exchange
        self.cut = False
        raw = []
        try:
            for chunk in exchange.chunks():
                raw.append(chunk)
        except Cut:
            self.cut = True
        exchange.close()
        self.status, self.headers = exchange.status, exchange.headers
        self.body = b"".join(raw).decode()
        self.kind = self.headers.get("content-type", "").split(";")[0]
        self.comments, self.messages = 0, []
        if self.kind == "application/json":
            self.messages = [json.loads(self.body)] if not self.cut else []
        elif self.kind == "text/event-stream":
            *events, rest = self.body.split("\n\n")
            for event in events:
                if event.startswith(":"):
                    self.comments += 1
                    continue
                name, data = event.split("\n")
                assert name == "event: message" and data.startswith("data: "), event
                self.messages.append(json.loads(data[len("data: "):]))
            assert self.cut or rest == "", rest
        for message in self.messages:
            assert message["jsonrpc"] == "2.0"

    @property
    def answer(self):
        """The message that answers the request; None: there is none."""
        found = [m for m in self.messages if "result" in m or "error" in m]
        assert len(found) <= 1 and (not found or found[0] is self.messages[-1]), self.body
        return found[0] if found else None

    @property
    def result(self):
        assert self.answer is not None and "result" in self.answer, (self.status, self.body)
        return self.answer["result"]

    @property
    def error(self):
        assert self.answer is not None and "error" in self.answer, (self.status, self.body)
        assert isinstance(self.answer["error"]["code"], int) and self.answer["error"]["message"]
        return self.answer["error"]

    @property
    def progress(self):
        """The messages of its progress, which only grows."""
        told = [m["params"] for m in self.messages if m.get("method") == "notifications/progress"]
        numbers = [p["progress"] for p in told]
        assert numbers == sorted(set(numbers)) and len({json.dumps(p["progressToken"]) for p in told}) <= 1, told
        return [p["message"] for p in told]

    @property
    def text(self):
        return "".join(c["text"] for c in self.result["content"] if c["type"] == "text")


def begin(host, method, params=None, path="/mcp", **more):
    """The request, whose answer the caller reads."""
    body, headers = request(method, params, **more)
    return Exchange(host, "POST", path, body, headers)


def post(host, method, params=None, path="/mcp", **more):
    return Answer(begin(host, method, params, path, **more))


def call(host, tool, arguments=None, **more):
    return post(host, "tools/call", {"name": tool, "arguments": arguments or {}}, **more)


def raw(host, body, headers=None, method="POST", path="/mcp"):
    """Whatever is sent."""
    return Answer(Exchange(host, method, path, body, headers))
