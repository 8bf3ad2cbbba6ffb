# SPDX-License-Identifier: Apache-2.0
"""An LLM's server that answers with bytes as a test writes them, cuts and pauses included."""

import contextlib
import json
import socket
import struct
import threading

from .mocks import Llm

ANSWERED = ("/v1/embeddings", "/v1/completions", "/v1/chat/completions", "/v1/messages/count_tokens")
RESET = object()  # the connection ends with RST


def whole(body, status=200, kind="application/json", **headers):
    """An answer whose length is told."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Type": kind, "Content-Length": len(body), **{k.replace("_", "-"): v for k, v in headers.items()}}
    return [head(status, lines), body]


def head(status=200, lines=None):
    fields = "".join(f"{k}: {v}\r\n" for k, v in (lines or {}).items())
    return f"HTTP/1.1 {status} Whatever\r\n{fields}\r\n".encode()


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def chunked(*pieces, status=200, kind="application/json", end=(b"0\r\n\r\n",)):
    """An answer in chunks: bytes, or what is done between them; end=(): it is cut off."""
    return [head(status, {"Content-Type": kind, "Transfer-Encoding": "chunked"}),
            *(chunk(p) if isinstance(p, bytes) else p for p in pieces), *end]


def events(*pieces, **more):
    return chunked(*pieces, kind="text/event-stream; charset=utf-8", **more)


class RawLlm:
    """answer: of a request (path, headers, body), the parts of its answer: bytes, seconds to wait, a threading.Event to
    wait for, a function to call, or RESET. The connection closes after it."""

    deployment = Llm.deployment

    def __init__(self, testbed, answer):
        self.answer, self.requests, self.left, self.lock = answer, [], 0, threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.url = f"http://{self.host}"
        self.closing = threading.Event()
        testbed.client(self)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self.closing.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _serve(self):
        while not self.closing.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    @staticmethod
    def _request(connection):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return None
            data += more
        top, body = data.split(b"\r\n\r\n", 1)
        line, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (entry.split(":", 1) for entry in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(1 << 20)
        return line.split()[1], headers, body

    def _answer(self, connection):
        with connection:
            request = self._request(connection)
            if request is None:
                return
            path = request[0]
            if path not in ANSWERED:
                parts = whole({"status": "ok"}, 200 if path == "/health" else 404)
            else:
                with self.lock:
                    self.requests.append(request)
                parts = self.answer(*request)
            for part in parts:
                if not self._do(connection, part):
                    return
            with contextlib.suppress(OSError):  # the other side left
                connection.shutdown(socket.SHUT_WR)

    def _do(self, connection, part):
        """False: the connection is over."""
        if part is RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if isinstance(part, threading.Event):
            part.wait(60)
        elif isinstance(part, (int, float)):
            self.closing.wait(part)
        elif callable(part):
            part()
        else:
            try:
                connection.sendall(part)
            except OSError:  # the other side left
                with self.lock:
                    self.left += 1
                return False
        return True

    def wants(self, path):
        with self.lock:
            return [r for r in self.requests if r[0] == path]
