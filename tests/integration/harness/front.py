# SPDX-License-Identifier: Apache-2.0
"""What stands in front of a service and changes what passes through, or answers in its place."""

import http.server
import json
import sys
import threading

from .doctor import doctor


class Front:
    """A web server in front: it changes what passes through. answer(method, path, body) -> (status, headers, pieces)."""

    def __init__(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.do_POST()

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, pieces = answer(self.command, self.path, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in pieces:
                    self.wfile.write(piece)
                    self.wfile.flush()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        return self.url

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()


def through(service, change, instead=lambda path: None):
    """What the service answers, changed; or (status, headers, pieces) that come instead."""
    def answer(method, path, body):
        if instead(path):
            return instead(path)
        with service.http.stream(method, path, content=body or None, headers={"Content-Type": "application/json"}) as r:
            headers = {k: v for k, v in r.headers.items() if k.lower() not in ("transfer-encoding", "connection", "content-length")}
            return (r.status_code, *change(headers, b"".join(r.iter_bytes())))
    return Front(answer)


# In a network of its own: $1 Python, $2 directory with pages, $3 address; then the command.
ALONE = """
ip link set lo up && { [ "$3" = 127.0.0.1 ] || ip address add "$3/32" dev lo; } || exit
"$1" -c 'import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(open(sys.argv[1] + {"status": "/status", "models": "/models"}.get(self.path.rsplit("/", 1)[1], "/root"), "rb").read())
    def log_message(self, *a):
        pass
http.server.HTTPServer((sys.argv[2], 8080), H).serve_forever()' "$2" "$3" &
until curl -s -o /dev/null "http://$3:8080/"; do sleep 0.02; done
shift 3
"$@"
status=$?
kill $!
exit $status
"""


def ask_alone(service, directory, address, pages, with_url=True):
    """What doctor finds in a network where these pages are all there is, at port 8080 of address."""
    for name, document in pages.items():
        (directory / name).write_text(json.dumps(document))
    before = ["unshare", "--net", "bash", "-c", ALONE, "bash", sys.executable, str(directory), address]
    return doctor(service, *(["--url", f"http://{address}:8080"] if with_url else []), before=before)
