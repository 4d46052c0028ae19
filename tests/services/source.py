"""A web server to fetch images from, in threads of its own, which behaves as the query of a URL says.

``/x?status=404``, ``to=URL`` (with ``status=301``), ``cut=N`` (the connection dies after N bytes of an answer from the
beginning), ``cutonce=N`` (only when this is asked for first), ``cuts=N`` (of each answer), ``chunked``, ``endless``,
``close`` (no length), ``hang=S``, ``rate=B`` (bytes a second), ``noranges``, ``notag``, ``changed`` (each answer has
another tag), ``lie=N`` (so much more is announced).
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PIECE = 64 * 1024


class Source:
    """The server. *content* is what it has; *requests* are those that came, with their headers."""

    def __init__(self, content: bytes, tls: ssl.SSLContext | None = None) -> None:
        self.content = content
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.go = threading.Event()  # what hangs ends when this is set
        source = self

        class Mine(_Exchange):
            the_source = source

        self._server = _Server(("127.0.0.1", 0), Mine)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


@contextmanager
def serving(content: bytes, tls: ssl.SSLContext | None = None) -> Iterator[Source]:
    source = Source(content, tls)
    source.start()
    try:
        yield source
    finally:
        source.stop()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves early is what tests want."""


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    the_source: Source

    def do_GET(self) -> None:
        source = self.the_source
        source.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        asked: dict[str, Any] = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        try:
            self._answer(source, asked)
        except OSError:
            self.close_connection = True

    def _answer(self, source: Source, asked: dict[str, Any]) -> None:
        if "hang" in asked:
            source.go.wait(float(asked["hang"] or 3600))
        if "to" in asked or "status" in asked:
            self.send_response(int(asked.get("status", 302)))
            if "to" in asked:
                self.send_header("Location", asked["to"])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = self._start(asked, len(source.requests))
        body = source.content[start:]
        self._head(asked, start, len(source.content))
        if "chunked" in asked or "endless" in asked:
            self._chunks(body, endless="endless" in asked)
        else:
            self._body(body, asked, first=start == 0)

    def _start(self, asked: dict[str, Any], number: int) -> int:
        self.tag = f'"{number}"' if "changed" in asked else '"one"'
        wanted = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        if wanted is None or "noranges" in asked or condition not in (None, self.tag):
            return 0
        return int(wanted.removeprefix("bytes=").partition("-")[0])

    def _head(self, asked: dict[str, Any], start: int, size: int) -> None:
        self.send_response(206 if start else 200)
        if "notag" not in asked:
            self.send_header("ETag", self.tag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if "chunked" in asked or "endless" in asked:
            self.send_header("Transfer-Encoding", "chunked")
        elif "close" in asked:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(size - start + int(asked.get("lie", 0))))
        self.end_headers()

    def _chunks(self, body: bytes, *, endless: bool) -> None:
        while True:
            for place in range(0, len(body), PIECE):
                piece = body[place : place + PIECE]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if not endless:
                break
        self.wfile.write(b"0\r\n\r\n")

    def _body(self, body: bytes, asked: dict[str, Any], *, first: bool) -> None:
        cut = asked.get("cuts") or (asked.get("cut") if first else None)
        if self.the_source.paths.count(self.path) == 1:
            cut = asked.get("cutonce", cut)
        if cut is not None:
            self.wfile.write(body[: int(cut)])
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if "rate" not in asked:
            self.wfile.write(body)
            return
        piece = max(1, int(asked["rate"]) // 20)
        for place in range(0, len(body), piece):
            self.wfile.write(body[place : place + piece])
            if self.the_source.go.wait(0.05):
                return
        time.sleep(0)

    def log_message(self, *arguments: Any) -> None:
        """Silence."""
