# SPDX-License-Identifier: Apache-2.0
"""Answers of the Responses API as its strictest clients read them."""

import json

from .http_client import Cut, Exchange

PATH = "/v1/responses"
ENDS = {"response.completed", "response.incomplete", "response.failed", "error"}
REQUIRED = {"id", "object", "created_at", "model", "status", "output", "error", "incomplete_details", "instructions", "metadata",
            "parallel_tool_calls", "temperature", "top_p", "tool_choice", "tools", "usage", "store", "previous_response_id"}


def check_response(response):
    assert REQUIRED <= set(response), REQUIRED - set(response)
    assert response["object"] == "response" and response["id"].startswith("resp_")


def text_of(response):
    return "".join(p["text"] for item in response["output"] if item["type"] == "message" for p in item["content"])


def calls_of(response):
    return [item for item in response["output"] if item["type"] == "function_call"]


def reasoning_of(response):
    return "".join(p["text"] for item in response["output"] if item["type"] == "reasoning" for p in item.get("content", []))


class Events:
    """A streamed answer, read to its end."""

    def __init__(self, exchange):
        self.cut = False
        raw = []
        try:
            for chunk in exchange.chunks():
                raw.append(chunk)
        except Cut:
            self.cut = True
        exchange.close()
        self.status, self.headers = exchange.status, exchange.headers
        self.body = b"".join(raw).decode(errors="replace" if self.cut else "strict")
        assert self.headers["content-type"].startswith("text/event-stream"), (self.status, self.body)
        self.comments, self.types, self.items, self.end, self.how, self.id = 0, [], [], None, None, None
        self.sequence, self.texts = -1, []
        self.annotations = []
        for event in self.body.split("\n\n"):
            self._read(event.strip("\n"))

    def _read(self, event):
        if event.startswith(":"):
            self.comments += 1
        elif event:
            lines = event.split("\n")
            if len(lines) == 2 and lines[0].startswith("event: ") and lines[1].startswith("data: "):
                try:
                    data = json.loads(lines[1][len("data: "):])
                except ValueError:
                    data = None
                if data is not None:
                    self._take(lines[0][len("event: "):], data)
                    return
            assert self.how is None, event
            self.broken = event  # the worker died within it: an error follows

    def _take(self, type, data):
        assert data["type"] == type and self.how is None, f"after the end: {type}"
        assert data["sequence_number"] > self.sequence
        self.sequence = data["sequence_number"]
        self.types.append(type)
        if "response" in data:
            check_response(data["response"])
            assert self.id in (None, data["response"]["id"])
            self.id = data["response"]["id"]
        if type in ENDS:
            self.how, self.end = type, data.get("response", data)
        elif type == "response.output_item.added":
            assert data["output_index"] == len(self.items)
            self.items.append(data["item"])
            self.texts.append("")
        elif type.endswith(".delta"):
            assert data["item_id"] == self.items[data["output_index"]]["id"]
            self.texts[data["output_index"]] += data["delta"]
        elif type == "response.output_item.done":
            item, at = data["item"], data["output_index"]
            assert item["id"] == self.items[at]["id"] and self.items[at]["status"] == "in_progress"
            whole = item.get("arguments", item.get("code", "".join(p["text"] for p in item.get("content", []))))
            assert whole == self.texts[at] or "content" not in item and item["type"] == "reasoning"
            self.items[at] = item
        elif "_call." in type:
            item = self.items[data["output_index"]]
            assert data["item_id"] == item["id"] and type.split(".")[1] == item["type"]
        elif type.endswith("annotation.added"):
            self.annotations.append(data["annotation"])

    @property
    def text(self):
        return "".join(t for t, i in zip(self.texts, self.items) if i["type"] == "message")

    @property
    def whole(self):
        """What every client takes for a whole answer."""
        assert self.cut or self.how in ENDS, self.body
        if self.how != "response.completed":
            return False
        assert self.types[:2] == ["response.created", "response.in_progress"]
        assert text_of(self.end) == self.text and self.end["status"] == "completed"
        assert [i["id"] for i in self.end["output"]] == [i["id"] for i in self.items]
        return not self.cut


def events(host, body, headers=None, **more):
    return Events(Exchange(host, "POST", PATH, {**body, "stream": True}, headers, **more))
