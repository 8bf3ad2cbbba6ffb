# SPDX-License-Identifier: Apache-2.0
"""Answers of the OpenAI API as its strictest clients read them."""

import json

from .http_client import Cut, Exchange

PATH = "/v1/chat/completions"


def user(text):
    return [{"role": "user", "content": text}]


def post(host, body, path=PATH, headers=None, **more):
    """(status, headers, JSON) of an answer that is no stream."""
    exchange = Exchange(host, "POST", path, body, headers, **more)
    answer = exchange.read()
    exchange.close()
    return exchange.status, exchange.headers, json.loads(answer)


def error_of(answer, status=None):
    """The error of (status, headers, JSON), in the form that every client understands."""
    if status is not None:
        assert answer[0] == status, answer
    assert answer[1]["content-type"] == "application/json"
    assert set(answer[2]) == {"error"} and set(answer[2]["error"]) == {"message", "type", "param", "code"}, answer
    assert answer[2]["error"]["message"] and answer[2]["error"]["type"]
    return answer[2]["error"]


def join(whole, delta):
    """As the SDKs add up the members of deltas: strings are appended, so a repeated one is doubled."""
    for name, value in delta.items():
        if name == "index" or value is None:
            whole.setdefault(name, value)
        elif isinstance(value, str):
            whole[name] = (whole.get(name) or "") + value
        elif isinstance(value, dict):
            join(whole.setdefault(name, {}), value)
        elif isinstance(value, list):
            for item in value:
                if name == "tool_calls":
                    calls = whole.setdefault(name, [])
                    assert item["index"] <= len(calls), item
                    if item["index"] == len(calls):
                        calls.append({})
                    join(calls[item["index"]], item)
                else:
                    whole.setdefault(name, []).append(item)


class Stream:
    """A streamed answer, read to its end."""

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
        assert self.headers["content-type"].startswith("text/event-stream"), (self.status, self.body)
        self.comments, self.chunks, self.error, self.done, self.usage, self.finish = [], [], None, False, None, None
        self.message = {}
        for event in self.body.split("\n\n"):
            self._read(event.strip("\n"))

    def _read(self, event):
        if event == "":
            return
        if event.startswith(":"):
            self.comments.append(event)
            return
        assert event.startswith("data: ") and "\n" not in event, event
        assert not self.done and self.error is None, f"after the end: {event}"
        data = event[len("data: "):]
        if data == "[DONE]":
            self.done = True
            return
        chunk = json.loads(data)
        if "error" in chunk:
            assert set(chunk) == {"error"} and set(chunk["error"]) == {"message", "type", "param", "code"}
            self.error = chunk["error"]
            return
        assert chunk["object"] == "chat.completion.chunk"
        same = ("id", "created", "model")
        assert not self.chunks or all(chunk[m] == self.chunks[0][m] for m in same), chunk
        self.chunks.append(chunk)
        if not chunk["choices"]:
            self.usage = chunk["usage"]
            return
        choice, = chunk["choices"]
        assert choice["index"] == 0 and self.finish is None, f"after finish_reason: {event}"
        self.finish = choice["finish_reason"]
        join(self.message, choice["delta"])

    @property
    def text(self):
        return self.message.get("content") or ""

    @property
    def calls(self):
        return self.message.get("tool_calls", [])

    @property
    def whole(self):
        """What every client takes for a whole answer; one that is not is an error for every client."""
        whole = self.finish is not None and self.done
        assert self.cut or whole != (self.error is not None), self.body
        assert not self.message or self.message["role"] == "assistant"
        return whole and not self.cut


def stream(host, body, path=PATH, headers=None, **more):
    return Stream(Exchange(host, "POST", path, {**body, "stream": True}, headers, **more))
