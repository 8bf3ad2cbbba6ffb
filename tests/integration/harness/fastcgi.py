# SPDX-License-Identifier: Apache-2.0
"""A FastCGI client as small as one: one request on a connection of its own."""

import socket
import struct

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR = 1, 2, 3, 4, 5, 6, 7


def record(kind, content=b"", request=1):
    return struct.pack(">BBHHBx", 1, kind, request, len(content), 0) + content


def length(n):
    return bytes([n]) if n < 128 else struct.pack(">I", n | 0x80000000)


def pair(name, value):
    name, value = name.encode(), value if isinstance(value, bytes) else value.encode()
    return length(len(name)) + length(len(value)) + name + value


def request(method, path, body=b"", keep=False, **params):
    """The bytes of a whole request."""
    fields = {"REQUEST_METHOD": method, "REQUEST_URI": path, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "",
              "CONTENT_LENGTH": str(len(body)) if body else "", "CONTENT_TYPE": "application/json",
              "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "TT_AGENT_ADMIN": "1", **params}
    data = record(BEGIN, struct.pack(">HB5x", 1, 1 if keep else 0))
    data += record(PARAMS, b"".join(pair(k, v) for k, v in fields.items())) + record(PARAMS)
    for at in range(0, len(body), 32768):
        data += record(STDIN, body[at:at + 32768])
    return data + record(STDIN)


def read_answer(sock):
    """(head, body) of the answer to the one request on sock."""
    buffer = out = b""
    while True:
        while len(buffer) >= 8:
            _, kind, _, size, padding = struct.unpack(">BBHHB", buffer[:7])
            if len(buffer) < 8 + size + padding:
                break
            content, buffer = buffer[8:8 + size], buffer[8 + size + padding:]
            if kind == STDOUT:
                out += content
            elif kind == END:
                head, _, body = out.partition(b"\r\n\r\n")
                return head.decode(), body
        data = sock.recv(65536)
        if not data:
            raise EOFError(f"closed after {out!r}")
        buffer += data


def body_pieces(sock):
    """The body of an answer, as its records come."""
    buffer, head = b"", b""
    while True:
        while len(buffer) >= 8 and len(buffer) >= 8 + (size := int.from_bytes(buffer[4:6], "big")) + buffer[6]:
            kind, content, buffer = buffer[1], buffer[8:8 + size], buffer[8 + size + buffer[6]:]
            if kind == END:
                return
            if kind == STDOUT and head is not None:
                head += content
                head, _, content = head.partition(b"\r\n\r\n") if b"\r\n\r\n" in head else (head, b"", b"")
                head = None if content else head
            if kind == STDOUT and content:
                yield content
        data = sock.recv(65536)
        if not data:
            return
        buffer += data


def connect(path, timeout=30):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(timeout)
    s.connect(str(path))
    return s


def ask(path, method, url, body=b"", **params):
    with connect(path) as s:
        s.sendall(request(method, url, body, **params))
        return read_answer(s)
