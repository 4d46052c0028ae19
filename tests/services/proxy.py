"""An HTTP proxy in threads of its own: it forwards requests, and opens tunnels; it tells who it was asked for."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Proxy:
    """*requests* are their first lines, and what stood in Proxy-Authorization."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None]] = []
        proxy = self

        class Mine(_Relay):
            the_proxy = proxy

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
        self.server.daemon_threads = True
        self.port = int(self.server.server_address[1])


@contextmanager
def proxying() -> Iterator[Proxy]:
    proxy = Proxy()
    thread = threading.Thread(target=proxy.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        thread.join()
        proxy.server.server_close()


class _Relay(BaseHTTPRequestHandler):
    the_proxy: Proxy

    def do_GET(self) -> None:
        self._note()
        target = urlsplit(self.path)
        connection = http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=30)
        connection.request("GET", target.path, headers={"Accept-Encoding": "identity"})
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        connection.close()

    def do_CONNECT(self) -> None:
        self._note()
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=30) as there:
            self.send_response(200)
            self.end_headers()
            up = threading.Thread(target=_pump, args=(self.connection, there))
            up.start()
            _pump(there, self.connection)
            up.join()
        self.close_connection = True

    def _note(self) -> None:
        self.the_proxy.requests.append((f"{self.command} {self.path}", self.headers.get("Proxy-Authorization")))

    def log_message(self, *arguments: Any) -> None:
        """Silence."""


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
