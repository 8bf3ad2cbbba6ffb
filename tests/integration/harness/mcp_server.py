# SPDX-License-Identifier: Apache-2.0
"""An MCP server over HTTP, of either era or both, whose tools misbehave as their names say."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .process import wait_until

MODERN = "2026-07-28"
META = "io.modelcontextprotocol/"
LONG = 5 << 20


def tool(name, description="", **more):
    return {"name": name, "description": description or f"The tool {name}.",
            "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}, **more}


def text(*parts, **more):
    return {"content": [{"type": "text", "text": p} for p in parts], **more}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def plain(self, status, body=b"", type="application/json", **headers):
        self.send_response(status)
        for name, value in {"Content-Type": type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def reply(self, message, status=200, **headers):
        self.plain(status, json.dumps(message).encode(), **headers)

    def error(self, code, message, status=400, **data):
        self.reply({"jsonrpc": "2.0", "id": self.id, "error": {"code": code, "message": message, **({"data": data} if data else {})}}, status)

    def begin_stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def event(self, message, id=None, retry=None):
        lines = ([f"id: {id}"] if id else []) + ([f"retry: {retry}"] if retry is not None else [])
        lines.append("data: " + (json.dumps(message) if message else ""))
        self.wfile.write(("\n".join(lines) + "\n\n").encode())
        self.wfile.flush()

    def result(self, result):
        if self.modern:
            result = {"resultType": "complete", **result}
        return {"jsonrpc": "2.0", "id": self.id, "result": result}

    def answer(self, result, **headers):
        """In the form that the server is set to."""
        if not self.mock.stream:
            return self.reply(self.result(result), **headers)
        self.begin_stream()
        for cut in (": hello\n\n", "event: message\n"):
            self.wfile.write(cut.encode())
        self.event(self.result(result))

    # --- requests ---

    def do_GET(self):
        mock = self.mock
        with mock.lock:
            mock.requests.append(("GET", dict(self.headers), None))
        if self.headers.get("Last-Event-ID") not in mock.kept:
            return self.plain(405)
        self.begin_stream()
        self.event(mock.kept.pop(self.headers["Last-Event-ID"]), id="later")

    def do_DELETE(self):
        with self.mock.lock:
            self.mock.requests.append(("DELETE", dict(self.headers), None))
        self.plain(200)

    def do_POST(self):
        mock = self.mock
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with mock.lock:
            mock.requests.append(("POST", dict(self.headers), message))
        self.id = message.get("id")
        self.modern = "Mcp-Method" in self.headers
        if mock.status:
            return self.plain(mock.status, b'{"error":"no"}', **mock.headers)
        if self.modern and "modern" in mock.eras:
            self.do_modern(message)
        elif self.modern:
            self.error(-32000, "Bad Request: Server not initialized")
        elif "legacy" in mock.eras:
            self.do_legacy(message)
        else:
            self.error(-32020, "Mcp-Method is missing")

    def do_modern(self, message):
        params, meta = message["params"], message["params"]["_meta"]
        faults = [self.headers["MCP-Protocol-Version"] != MODERN, self.headers["Mcp-Method"] != message["method"],
                  meta[META + "protocolVersion"] != MODERN, meta[META + "clientCapabilities"] != {},
                  message["method"] == "tools/call" and self.headers.get("Mcp-Name") != params["name"]]
        if any(faults):
            return self.error(-32020, f"Header mismatch {faults}")
        if message["method"] == "server/discover":
            return self.answer({"supportedVersions": [MODERN], "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private"})
        self.serve(message)

    def do_legacy(self, message):
        mock = self.mock
        if message.get("method") == "initialize":
            session = f"session-{len(mock.sessions)}"
            mock.sessions.add(session)
            version = mock.version or message["params"]["protocolVersion"]
            return self.answer({"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "mock", "version": "1"}},
                               **{"Mcp-Session-Id": session} if not mock.stream else {})
        if self.headers.get("Mcp-Session-Id") not in mock.sessions and not mock.stream:
            return self.error(-32001, "Session not found", 404)
        if "id" not in message or "method" not in message:
            return self.plain(202)
        self.serve(message)

    def serve(self, message):
        mock, params = self.mock, message.get("params", {})
        if message["method"] == "tools/list":
            mock.may_list.wait(60)
            page = int(params.get("cursor", "0"))
            with mock.lock:
                mock.lists += 1
                tools = mock.tools[page:page + mock.page]
            more = {"nextCursor": str(page + mock.page)} if page + mock.page < len(mock.tools) else {}
            return self.answer({"tools": tools, "ttlMs": mock.ttl_ms, "cacheScope": "private", **more})
        if message["method"] != "tools/call":
            return self.error(-32601, "Method not found", 404)
        self.token = params.get("_meta", {}).get("progressToken")
        do = getattr(self, "tool_" + params["name"].partition(".")[0], None)
        return do(params.get("arguments", {})) if do else self.error(-32602, f"Unknown tool: {params['name']}", 200)

    # --- tools ---

    def tool_echo(self, arguments):
        self.answer(text(json.dumps(arguments, sort_keys=True)))

    def tool_reports(self, _):
        """Tells how far it is, and of what nobody asked for."""
        self.begin_stream()
        for token, said in (("of another", "never"), (self.token, "half </think>way")):
            self.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1, "message": said}})
        self.event(self.result(text("reported")))

    def tool_mixed(self, _):
        self.answer({"content": [
            {"type": "text", "text": "Grüße 😀"}, {"type": "image", "data": "iVBO" * 1000, "mimeType": "image/png"},
            {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
            {"type": "resource", "resource": {"uri": "file:///a.txt", "text": "inside"}},
            {"type": "resource_link", "uri": "file:///b.txt", "name": "b", "description": "another"},
            {"type": "hologram", "data": "x"}]})

    def tool_structured(self, _):
        self.answer({"content": [], "structuredContent": {"degrees": 21.5}})

    def tool_nothing(self, _):
        self.answer({"content": []})

    def tool_fails(self, _):
        self.answer(text("no such row", isError=True))

    def tool_asks(self, _):
        self.answer({"resultType": "input_required", "inputRequests": {"a": {"method": "elicitation/create"}}, "requestState": "x"})

    def tool_refuses(self, _):
        self.error(-32602, "Invalid arguments: text is missing", 200)

    def tool_internal(self, _):
        self.error(-32603, "the database is down", 500)

    def tool_becomes_legacy(self, _):
        if not self.modern:
            return self.answer(text("of the other era"))
        self.mock.eras = ("legacy",)
        self.begin_stream()
        self.event({"jsonrpc": "2.0", "id": self.id, "error": {"code": -32601, "message": "Method not found"}})

    def tool_hangs(self, _):
        self.mock.hanging.wait(60)
        self.close_connection = True

    def tool_hangs_in_stream(self, _):
        self.begin_stream()
        self.tool_hangs(_)

    def tool_dies(self, _):
        self.connection.close()
        self.close_connection = True

    def tool_cuts(self, _):
        self.begin_stream()
        self.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}})

    def tool_cuts_json(self, _):
        self.plain(200, json.dumps(self.result(text("half"))).encode()[:-20])

    def tool_is_long(self, _):
        self.answer(text("x" * LONG))

    def tool_is_long_in_pieces(self, _):
        self.begin_stream()
        for _ in range(LONG // (64 << 10)):
            self.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "y" * (64 << 10)}})

    def tool_is_big(self, arguments):
        self.answer(text(*["z" * 1000 + str(i) for i in range(1500)]))

    def tool_talks_nonsense(self, _):
        self.plain(200, b'{"jsonrpc": "2.0", "id": ')

    def tool_talks_html(self, _):
        self.plain(200, b"<html><body>Welcome</body></html>", "text/html")

    def tool_is_behind_a_proxy(self, _):
        self.plain(502, b"<html>Bad Gateway</html>", "text/html")

    def tool_answers_another(self, _):
        self.reply({"jsonrpc": "2.0", "id": 4711, "result": text("not yours")})

    def tool_answers_with_a_string(self, _):
        self.reply({"jsonrpc": "2.0", "id": str(self.id), "result": text("mine")})

    def tool_answers_a_list(self, _):
        self.reply([{"jsonrpc": "2.0", "method": "notifications/message", "params": {}}, self.result(text("one of two"))])

    def tool_answers_badly(self, _):
        self.reply({"jsonrpc": "2.0", "id": self.id, "result": [1, 2]})

    def tool_redirects(self, _):
        self.plain(307, Location="http://127.0.0.1:9/elsewhere?secret=1")

    def tool_never_ends(self, _):
        self.begin_stream()
        try:
            while not self.mock.hanging.is_set():
                self.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}})
                time.sleep(0.02)
        except OSError:
            self.mock.left += 1

    def tool_leaves_open(self, _):
        self.begin_stream()
        self.event(self.result(text("at last")))
        self.mock.hanging.wait(60)

    def tool_asks_back(self, _):
        """Requests of the server, during the call."""
        self.begin_stream()
        for id, method in (("p1", "ping"), ("s1", "sampling/createMessage")):
            self.event({"jsonrpc": "2.0", "id": id, "method": method, "params": {}})
        if not self.modern:
            self.mock.wait(lambda m: m and m.get("id") == "s1" and "error" in m)
        self.event(self.result(text("asked")))

    def tool_resumes(self, _):
        self.begin_stream()
        self.event(None, id="here", retry=10)
        self.mock.kept["here"] = self.result(text("resumed"))

    def tool_forgets(self, _):
        """The first time, the session is gone."""
        if not self.mock.forgotten:
            self.mock.forgotten = True
            self.mock.sessions.clear()
            return self.error(-32001, "Session not found", 404)
        self.answer(text("remembered"))

    def tool_unauthorized(self, _):
        self.error(-32000, "Unauthorized", 401)


TOOLS = [tool(name[5:]) for name in dir(Handler) if name.startswith("tool_")]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):  # the client has left
        pass


class McpServer:
    def __init__(self, *eras, tools=None, stream=False, ttl_ms=60000, page=1000, version=None):
        self.eras, self.stream, self.ttl_ms, self.page, self.version = eras or ("modern", "legacy"), stream, ttl_ms, page, version
        self.tools = TOOLS if tools is None else tools
        self.lock, self.requests, self.sessions, self.kept = threading.Lock(), [], set(), {}
        self.hanging, self.forgotten, self.lists, self.left, self.status, self.headers = threading.Event(), False, 0, 0, None, {}
        self.may_list = threading.Event()  # else a list is not answered
        self.may_list.set()
        self.server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"mock": self}))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/mcp"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.hanging.set()
        self.may_list.set()
        self.server.shutdown()
        self.server.server_close()

    def messages(self, method=None):
        """(headers, message) of what was posted."""
        with self.lock:
            return [(h, m) for what, h, m in self.requests if what == "POST" and (method is None or m.get("method") == method)]

    def calls(self, name=None):
        return [(h, m) for h, m in self.messages("tools/call") if name is None or m["params"]["name"] == name]

    def wait(self, condition, what="a message"):
        wait_until(lambda: any(condition(m) for _, m in self.messages()), what)

    def forget(self):
        with self.lock:
            self.requests.clear()


def servers(*each):
    """The setting, for --set."""
    return "mcp.servers=" + json.dumps(list(each))
