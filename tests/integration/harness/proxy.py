# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy that leads every name to one port of this host."""

import base64
import socket
import threading


class Proxy:
    def __init__(self, testbed, port, credentials=None):
        self.target, self.credentials, self.heads = port, credentials, []
        self.socket = testbed.client(socket.create_server(("127.0.0.1", 0)))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._exchange, args=(connection,), daemon=True).start()

    def _exchange(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(65536)
            if not data:
                return
            head += data
        head, rest = head.split(b"\r\n\r\n", 1)
        self.heads.append(head.decode())
        if self.credentials:
            wanted = base64.b64encode(self.credentials.encode()).decode()
            if f"proxy-authorization: basic {wanted}".lower() not in head.decode().lower():
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                client.close()
                return
        server = socket.create_connection(("127.0.0.1", self.target))
        if head.startswith(b"CONNECT "):
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            server.sendall(rest)
        else:
            method, url, version = head.split(b"\r\n")[0].split()
            path = b"/" + url.split(b"/", 3)[3]
            lines = [line for line in head.split(b"\r\n")[1:] if not line.lower().startswith(b"proxy-")]
            server.sendall(b"\r\n".join([b" ".join([method, path, version]), *lines]) + b"\r\n\r\n" + rest)
        threading.Thread(target=self._copy, args=(client, server), daemon=True).start()
        self._copy(server, client)

    @staticmethod
    def _copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
