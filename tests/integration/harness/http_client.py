# SPDX-License-Identifier: Apache-2.0
"""HTTP read from the socket, so that each chunk of the answer is seen as it came."""

import json
import re
import socket
import struct
import time

from .process import PATIENCE


class Cut(Exception):
    """The connection ended before the answer did."""


class Exchange:
    """One request and its answer, chunk by chunk."""

    def __init__(self, host, method, path, body=None, headers=None, receive_buffer=None, deadline=60.0):
        address, port = host.rsplit(":", 1)
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(deadline * PATIENCE)
        self.socket.connect((address, int(port)))
        self.buffer = b""
        self.sent_ns = time.monotonic_ns()
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"Host": host, "Content-Length": str(len(data)), "Content-Type": "application/json", **(headers or {})}
        head = "".join(f"{k}: {v}\r\n" for k, v in fields.items() if v is not None)
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data)
        self.status = None
        self.headers = {}

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Cut(self.buffer)
        self.buffer += data

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _exactly(self, n):
        while len(self.buffer) < n:
            self._more()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def head(self):
        if self.status is None:
            self.status = int(self._line().split()[1])
            while line := self._line():
                name, value = line.decode().split(":", 1)
                self.headers[name.lower()] = value.strip()
        return self

    def chunks(self):
        """Each HTTP chunk as bytes; raises Cut where the connection ends too early."""
        self.head()
        if self.headers.get("transfer-encoding") != "chunked":
            length = int(self.headers.get("content-length", "0"))
            if length:
                yield self._exactly(length)
            return
        while size := int(self._line(), 16):
            yield self._exactly(size)
            self._exactly(2)
        self._line()

    def read(self):
        return b"".join(self.chunks())

    def close(self):
        self.socket.close()

    def reset(self):
        """Gone without a word (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


STATS = "[STATS]"


class Turn:
    """A whole answer of /poll_requests, in the rules of the stream (section 2 of the contract)."""

    def __init__(self, exchange):
        exchange.head()
        self.status, self.headers = exchange.status, exchange.headers
        self.raw, self.times, self.cut = [], [], False
        try:
            for chunk in exchange.chunks():
                self.raw.append(chunk)
                self.times.append((time.monotonic_ns() - exchange.sent_ns) / 1e9)
        except Cut:
            self.cut = True
        exchange.close()
        self.chunks = [c.decode(errors="surrogateescape") for c in self.raw]
        self.body = b"".join(self.raw).decode()
        self.stats = None
        if self.chunks and self.chunks[-1].startswith(STATS):
            self.stats = json.loads(self.chunks[-1][len(STATS):])
        self.text = self.body[: self.body.index(STATS)] if STATS in self.body else self.body
        # Without reasoning: what a chat user takes for the answer.
        self.answer = re.sub(r"<think>.*?</think>", "", self.text, flags=re.S)

    @property
    def whole(self):
        """Statistics at the very end, alone in their chunk, and only there."""
        return self.stats is not None and self.body.count(STATS) == 1 and not self.cut


def interrupted(exchange, interrupt):
    """The turn; interrupt() is called when its first text has arrived."""
    chunks = exchange.chunks

    def watched():
        for n, chunk in enumerate(chunks()):
            yield chunk
            if n == 0:
                interrupt()

    exchange.chunks = watched
    return Turn(exchange)


SENTENCE = re.compile(r"[A-Z][^\n]+\.")


def broke_off(turn, before=""):
    """Asserts that the answer is `before` and a sentence that it broke off."""
    assert turn.whole, turn.chunks
    assert turn.text.startswith(before), turn.text
    assert SENTENCE.fullmatch(turn.text[len(before):].lstrip("\n")), turn.text
