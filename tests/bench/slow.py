"""Clients on slow lines, thousands of them in one loop of one process.

Run as ``python -m tests.bench.slow`` with a `Crowd` as JSON on standard input. Prints ``{"ready": SECONDS}`` when every
client is under way, or has had its time to be, and a `Progress` as JSON when its standard input is closed.
Each client is visited in turn, at a steady pace, and reads or writes one small piece at each visit; nothing waits.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from contextlib import suppress

from attrs import asdict, define, field, frozen

from tests.bench.processes import HOST

_BUFFER = 16 * 1024
_ROUND = 1.0
_STATUS = 12  # bytes up to the end of the status


@frozen(kw_only=True)
class Crowd:
    """What the clients do. *rate* is bytes a second for each; an upload sends *length* bytes in all.

    Clients take *paths* in turn, so a download may give a single one.
    """

    port: int
    method: str
    paths: tuple[str, ...]
    count: int
    rate: int
    length: int = 0
    patience: float = 20.0


@define(kw_only=True)
class Progress:
    """What the crowd saw. *progressing*: clients which moved bytes, or were done, after the crowd was ready."""

    connected: int = 0
    progressing: int = 0
    answered: int = 0
    failed: int = 0
    moved: int = 0


@define
class _Client:
    """One connection; *moved* counts body bytes (uploads), or all bytes received (downloads)."""

    connection: socket.socket
    moved: int = 0
    at_ready: int = 0
    status: bytes = b""
    over: bool = False


@define
class _Slow:
    """What comes is thrown away by the kernel, which copies nothing then (MSG_TRUNC)."""

    crowd: Crowd
    piece: bytes
    clients: list[_Client] = field(factory=list)
    scrap: bytearray = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.scrap = bytearray(self.crowd.rate)

    def connect(self) -> None:
        """Open every connection and send its head; a server that does not accept has *patience* seconds."""
        deadline = time.monotonic() + self.crowd.patience
        for number in range(self.crowd.count):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                connection.connect((HOST, self.crowd.port))
                connection.sendall(self._head(number))
            except OSError:
                connection.close()
                continue
            connection.setblocking(False)
            self.clients.append(_Client(connection))

    def _head(self, number: int) -> bytes:
        path = self.crowd.paths[number % len(self.crowd.paths)]
        head = f"{self.crowd.method} {path} HTTP/1.1\r\nHost: {HOST}:{self.crowd.port}\r\n"
        if self.crowd.method == "PUT":
            head += f"Content-Type: application/octet-stream\r\nContent-Length: {self.crowd.length}\r\n"
        return head.encode() + b"\r\n"

    def round(self) -> None:
        """Visit every client once; take a whole `_ROUND` for it, evenly spread."""
        began = time.monotonic()
        for number, client in enumerate(self.clients):
            if not client.over:
                self._visit(client)
            due = began + _ROUND * (number + 1) / len(self.clients)
            if number % 20 == 19 and (ahead := due - time.monotonic()) > 0:
                time.sleep(ahead)
        time.sleep(max(0.0, began + _ROUND - time.monotonic()))

    def _visit(self, client: _Client) -> None:
        try:
            if self.crowd.method == "PUT" and client.moved < self.crowd.length:
                left = self.crowd.length - client.moved
                client.moved += client.connection.send(self.piece if left >= len(self.piece) else self.piece[:left])
            elif client.status and self.crowd.method == "GET":
                received = client.connection.recv_into(self.scrap, self.crowd.rate, socket.MSG_TRUNC)
                client.moved += received
                client.over = not received
            else:
                head = client.connection.recv(self.crowd.rate)
                client.status = head[9:_STATUS]
                client.moved += len(head) if self.crowd.method == "GET" else 0
                client.over = not head or self.crowd.method == "PUT"
        except BlockingIOError:
            return
        except OSError:
            client.over, client.status = True, client.status or b"gone"

    def under_way(self) -> bool:
        """Whether every client has moved its first bytes."""
        return len(self.clients) == self.crowd.count and all(client.moved for client in self.clients)

    def progress(self) -> Progress:
        """The figures so far, and the end of all connections."""
        result = Progress(connected=len(self.clients))
        for client in self.clients:
            result.moved += client.moved
            good = client.status.startswith(b"2")
            result.answered += good
            result.failed += bool(client.status) and not good
            result.progressing += client.moved > client.at_ready or (client.over and good)
            with suppress(OSError):
                client.connection.close()
        return result


def main() -> None:
    """Read the crowd, let it work until standard input ends, print what it saw."""
    fields = json.loads(sys.stdin.readline())
    fields["paths"] = tuple(fields["paths"])
    crowd = Crowd(**fields)
    began = time.monotonic()
    slow = _Slow(crowd, bytes(crowd.rate))
    slow.connect()
    while not slow.under_way() and time.monotonic() < began + crowd.patience:
        slow.round()
    for client in slow.clients:
        client.at_ready = client.moved
    print(json.dumps({"ready": time.monotonic() - began}), flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        slow.round()
    print(json.dumps(asdict(slow.progress())), flush=True)


if __name__ == "__main__":
    main()
