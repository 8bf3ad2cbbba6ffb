# SPDX-License-Identifier: Apache-2.0
"""A collector of traces (OTLP/HTTP in JSON) that does what a test scripts."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .process import wait_until

ACCEPTED = (200, b'{"partialSuccess":{}}', {})


def attributes(of):
    """A span's or a resource's, as plain values."""
    read = {"stringValue": str, "intValue": int, "doubleValue": float, "boolValue": bool}
    found = {}
    for a in of["attributes"]:
        (kind, value), = a["value"].items()
        assert a["key"] not in found
        found[a["key"]] = read[kind](value)
    return found


class Collector:
    """answers: what the next requests get, (status, body, headers) or None for a connection that is closed without
    an answer; then `then`, in the same form."""

    def __init__(self, *answers, then=ACCEPTED):
        self.answers, self.then, self.requests, self.lock = list(answers), then, [], threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with collector.lock:
                    answer = collector.answers.pop(0) if collector.answers else collector.then
                    collector.requests.append((self.path, dict(self.headers), body, answer))
                if answer is None:
                    self.close_connection = True
                    return
                status, content, headers = answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def taken(self):
        """(resource, scope, span) of each span that was accepted."""
        with self.lock:
            bodies = [json.loads(body) for _, _, body, answer in self.requests if answer and answer[0] == 200]
        return [(r["resource"], s["scope"], span)
                for body in bodies for r in body["resourceSpans"] for s in r["scopeSpans"] for span in s["spans"]]

    def wait_spans(self, count, deadline=20.0):
        """The accepted spans by name, as soon as there are `count`."""
        wait_until(lambda: len(self.taken()) >= count, f"{count} spans", deadline)
        found = [span for _, _, span in self.taken()]
        assert len(found) == count, [s["name"] for s in found]
        return found
