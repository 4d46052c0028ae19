"""Small requests with bodies or many paths, which wrk alone cannot send: one epoll loop over keep-alive connections.

Run as ``python -m tests.bench.hammer`` with an `Order` as JSON on standard input; prints an `Outcome` as JSON.
"""

from __future__ import annotations

import json
import random
import re
import select
import socket
import sys
import time
from collections.abc import Iterator

from attrs import asdict, define, field, frozen

from tests.bench.processes import HOST

_MIB = 1024**2
_IDENTIFIER = re.compile(rb'"id": ?"([0-9a-f-]{36})"')


@frozen(kw_only=True)
class Order:
    """What to send. Without *paths*, *path* is asked again and again until *seconds* have passed.

    In *body*, ``{number}`` becomes a number of its own for each request. With *content*, the size of what *path* has,
    each request asks for a MiB from somewhere in it, whose bytes the kernel throws away: to copy them costs a client as
    much as to send them costs a server.
    """

    port: int
    method: str
    path: str = ""
    paths: tuple[str, ...] = ()
    body: str = ""
    content: int = 0
    content_type: str = "application/json"
    token: str = ""
    connections: int = 16
    seconds: float = 5.0


@define(kw_only=True)
class Outcome:
    """What came back. *latencies* are seconds, *identifiers* the ``id`` of each JSON answer."""

    seconds: float = 0.0
    latencies: list[float] = field(factory=list)
    identifiers: list[str] = field(factory=list)
    failures: dict[str, int] = field(factory=dict)


def _requests(order: Order) -> Iterator[bytes]:
    """Each request's bytes, until the paths are used up, or for ever."""
    number = 0
    while not order.paths or number < len(order.paths):
        path = order.paths[number] if order.paths else order.path
        body = order.body.replace("{number}", str(number)).encode()
        head = f"{order.method} {path} HTTP/1.1\r\nHost: {HOST}:{order.port}\r\n"
        if order.token:
            head += f"X-Auth-Token: {order.token}\r\n"
        if order.content:
            first = random.randrange(order.content // _MIB) * _MIB
            head += f"Range: bytes={first}-{first + _MIB - 1}\r\n"
        if body:
            head += f"Content-Type: {order.content_type}\r\nContent-Length: {len(body)}\r\n"
        yield head.encode() + b"\r\n" + body
        number += 1


def _missing(answer: bytes) -> int:
    """How many bytes are missing, at least, until the answer is whole: by its length, or its last chunk."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return 1
    lowered = head.lower()
    if b"\r\ntransfer-encoding: chunked" in lowered:
        return 0 if body.endswith(b"0\r\n\r\n") else 1
    _, found, rest = lowered.partition(b"\r\ncontent-length:")
    return max(0, int(rest.partition(b"\r\n")[0]) - len(body)) if found else 0


class _Hammer:
    """Sends the next request on a connection as soon as the one before is answered."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._requests = _requests(order)
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._answers: dict[int, bytes] = {}
        self._missing: dict[int, int] = {}
        self._waste = bytearray(_MIB)
        self._sent: dict[int, float] = {}
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Until the requests or the time are used up; those under way are waited for a little longer."""
        began = time.monotonic()
        self._deadline = began + self._order.seconds
        for _ in range(self._order.connections):
            self._next(None)
        while self._sockets and time.monotonic() < self._deadline + 5:
            for descriptor, _ in self._epoll.poll(1):
                self._readable(descriptor)
        self.outcome.seconds = time.monotonic() - began
        for connection in self._sockets.values():
            connection.close()
        return self.outcome

    def _next(self, connection: socket.socket | None) -> None:
        """Send one more request, on *connection* or a new one; close it when there is none to send."""
        request = next(self._requests, None) if time.monotonic() < self._deadline else None
        if request is None:
            if connection is not None:
                self._close(connection)
            return
        if connection is None:
            connection = socket.create_connection((HOST, self._order.port), timeout=5)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[connection.fileno()] = connection
            self._epoll.register(connection.fileno(), select.EPOLLIN)
        self._answers[connection.fileno()] = b""
        self._missing[connection.fileno()] = 0
        self._sent[connection.fileno()] = time.monotonic()
        connection.sendall(request)

    def _close(self, connection: socket.socket) -> None:
        self._epoll.unregister(connection.fileno())
        del self._sockets[connection.fileno()]
        connection.close()

    def _readable(self, descriptor: int) -> None:
        connection = self._sockets[descriptor]
        try:
            received = self._receive(connection)
        except ConnectionResetError:
            received = False
        if received and self._missing[descriptor]:
            return
        answer = b"" if self._missing[descriptor] else self._answers[descriptor]
        self._record(descriptor, answer)
        if received and b"\r\nconnection: close" not in answer.lower():
            self._next(connection)
        else:
            self._close(connection)
            self._next(None)

    def _receive(self, connection: socket.socket) -> bool:
        """Take what there is; False if nothing comes any more."""
        descriptor = connection.fileno()
        if self._order.content and b"\r\n\r\n" in self._answers[descriptor]:
            gone = connection.recv_into(self._waste, min(_MIB, self._missing[descriptor]), socket.MSG_TRUNC)
            self._missing[descriptor] -= gone
            return gone > 0
        received = connection.recv(1024 if self._order.content else 65536)
        answer = self._answers[descriptor] = self._answers[descriptor] + received
        self._missing[descriptor] = _missing(answer)
        return bool(received)

    def _record(self, descriptor: int, answer: bytes) -> None:
        status = answer[9:12].decode() or "closed"
        if not status.startswith("2"):
            self.outcome.failures[status] = self.outcome.failures.get(status, 0) + 1
            return
        self.outcome.latencies.append(time.monotonic() - self._sent[descriptor])
        if found := _IDENTIFIER.search(answer):
            self.outcome.identifiers.append(found[1].decode())


def main() -> None:
    """Read the order, carry it out, print the outcome."""
    fields = json.load(sys.stdin)
    fields["paths"] = tuple(fields["paths"])
    json.dump(asdict(_Hammer(Order(**fields)).run()), sys.stdout)


if __name__ == "__main__":
    main()
