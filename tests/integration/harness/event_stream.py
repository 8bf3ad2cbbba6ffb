# SPDX-License-Identifier: Apache-2.0
"""GET /events, read as a browser reads Server-Sent Events."""

import json
import time

from . import fastcgi
from .http_client import Cut, Exchange
from .process import PATIENCE

DEADLINE = 120  # seconds: the stream itself goes on for ever


class EventStream:
    """One connection, over HTTP, or (host is the path of a socket) over FastCGI. Everything that came is in
    `messages`: (event, data, id)."""

    def __init__(self, host, path="/events", last_id=None, params=None, **more):
        self.exchange = None
        if ":" in str(host):
            headers = {"Accept": "text/event-stream", "Content-Type": None, "Content-Length": None}
            if last_id:
                headers["Last-Event-ID"] = last_id
            self.exchange = Exchange(host, "GET", path, headers=headers, **more)
            self.exchange.head()
            self.chunks, self.close = self.exchange.chunks(), self.exchange.close
        else:
            sock = fastcgi.connect(host)
            sock.sendall(fastcgi.request("GET", path, **(params or {})))
            self.chunks, self.close = fastcgi.body_pieces(sock), sock.close
        self.messages, self.retries, self.comments = [], [], []
        self.text = ""
        self.ended = self.cut = False

    def _take(self, block):
        event, data, number = "message", [], None
        for line in block.split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "":
                self.comments.append(value)
            elif field == "event":
                event = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                number = value
            elif field == "retry":
                self.retries.append(int(value))
            else:
                raise AssertionError(f"no such field: {line}")
        if data:
            self.messages.append((event, json.loads("\n".join(data)), number))

    def more(self):
        """Waits for the next piece; False: the stream has ended."""
        try:
            piece = next(self.chunks, None)
        except Cut:
            piece, self.cut = None, True
        if piece is None:
            self.ended = True
            return False
        self.text += piece.decode()
        *blocks, self.text = self.text.split("\n\n")
        for block in blocks:
            self._take(block)
        return True

    def until(self, found, what="it"):
        """The first true value of found(self), which is tried after each piece."""
        end = time.monotonic() + DEADLINE * PATIENCE
        while not (value := found(self)):
            assert time.monotonic() < end, f"{what} did not come: {self.messages[-5:]}"
            assert self.more(), f"the stream ended before {what} came: {self.messages[-5:]}"
        return value

    def of(self, event):
        return [data for name, data, _ in self.messages if name == event]

    @property
    def status(self):
        return self.of("status")[-1] if self.of("status") else None

    def event(self, kind, **more):
        """Waits for an event of that kind, with these members."""
        def found(stream):
            return next((e for e in stream.of("event") if e["kind"] == kind and
                         all(e[k] == v for k, v in more.items())), None)

        return self.until(found, f"{kind} {more}")

    def last_id(self):
        return [number for name, _, number in self.messages if name == "event"][-1]

    def end(self):
        """Everything up to its end."""
        while self.more():
            pass
        return self
