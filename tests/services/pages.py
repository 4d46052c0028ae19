"""A web server in a thread: every page has the same content, but for some that have none or cannot be read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONTENT = b"some image data" * 10_000


class _Pages(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        status = 404 if self.path == "/missing" else 200
        self.send_response(status)
        self.send_header("Content-Length", "0" if status == 404 or self.path == "/empty" else str(len(CONTENT)))
        self.end_headers()

    def do_GET(self) -> None:
        if self.path == "/unreadable":
            self.send_error(403)
            return
        self.do_HEAD()
        if self.path not in ("/missing", "/empty"):
            self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[int]:
    """Serve on loopback meanwhile; the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
