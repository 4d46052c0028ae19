"""What comes little by little of a body is read together: a socket of the kernel's, a reactor of the test's own."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from glancetx.config.settings import HttpSettings
from glancetx.domain.errors import TooSlow
from glancetx.listen.acceptor import Connections
from glancetx.listen.transports import PlainServer
from glancetx.web.arrival import WORTH
from glancetx.web.request import ImageRequest, IStreamingResource
from glancetx.web.site import ImageSite

PATIENCE = 10_000  # milliseconds for what must come
LENGTH = 3 * WORTH


@implementer(IStreamingResource, IConsumer)
class Reader(Resource):
    """Reads all bodies; *pieces* are the sizes of what it got."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[int] = []
        self.errors: list[Any] = []

    def render(self, request: ImageRequest) -> Any:
        done = request.body.startProducing(self)
        done.addCallbacks(lambda _: request.finish(), lambda failure: self.errors.append(failure.value))
        return NOT_DONE_YET

    def write(self, data: bytes) -> None:
        self.pieces.append(len(data))

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing."""

    def unregisterProducer(self) -> None:
        """Nothing."""


class Rig:
    """One connection to a Reader, which is read when the kernel says that it can be."""

    def __init__(self, settings: HttpSettings) -> None:
        self.clock: Any = MemoryReactorClock()
        self.reader = Reader()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.client = socket.create_connection(listening.getsockname())
            accepted, peer = listening.accept()
        accepted.setblocking(False)
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client.settimeout(PATIENCE / 1000)
        channel = ImageSite(self.reader, settings, self.clock).buildProtocol(None)
        self.transport: Any = PlainServer(accepted, channel, peer, None, 1, self.clock)  # type: ignore[arg-type]
        self.transport.connections = Connections(self.clock)
        channel.makeConnection(self.transport)

    def readable(self, patience: int = 0) -> bool:
        """Whether the reactor would hear of bytes."""
        poll = select.poll()
        poll.register(self.transport.fileno(), select.POLLIN)
        return bool(poll.poll(patience))

    def read(self) -> None:
        """What must come comes, and is read."""
        assert self.readable(PATIENCE)
        self.transport.doRead()
        self.clock.advance(0)
        self.transport.doWrite()

    def send(self, data: bytes) -> None:
        """Send it; the kernel has it at the other end then, or hears of it before anything sent later."""
        self.client.sendall(data)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)

    def close(self) -> None:
        self.client.close()
        self.transport.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(HttpSettings(idle_timeout=20, min_body_rate=10, rate_window=40))
    yield made
    made.close()


def head(header: str) -> bytes:
    return f"PUT / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode()


def test_pieces_are_read_together(rig: Rig) -> None:
    """Little pieces wait in the socket, and the last one does not; the next request is heard of at once."""
    rig.send(head(f"Content-Length: {LENGTH}") + b"x")
    rig.read()
    for _ in range(WORTH // 1024 - 1):
        rig.send(bytes(1024))
        assert not rig.readable()
    rig.send(bytes(1024))
    rig.read()
    rig.send(bytes(LENGTH - WORTH - 2))
    rig.read()
    rig.send(b"x")
    rig.read()
    assert rig.client.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert rig.reader.pieces == [1, WORTH, LENGTH - WORTH - 2, 1]
    rig.send(b"G")
    assert rig.readable(PATIENCE)


def test_chunks_are_read_together(rig: Rig) -> None:
    """So are those of a body in chunks, but nothing waits that could be the end."""
    rig.send(head("Transfer-Encoding: chunked") + f"{LENGTH:x}\r\n".encode() + bytes(LENGTH - 20))
    while sum(rig.reader.pieces) < LENGTH - 20:
        rig.read()
    rig.send(bytes(20))
    assert not rig.readable()
    rig.send(b"\r\n0\r\n\r\n")
    rig.read()
    assert rig.client.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_an_end_is_heard_of(rig: Rig) -> None:
    """A client that leaves is noticed, however little it sent."""
    rig.send(head(f"Content-Length: {LENGTH}") + b"x")
    rig.read()
    rig.client.close()
    assert rig.readable(PATIENCE)


def test_what_waits_counts(rig: Rig) -> None:
    """A client that sends less than is worth a read is not taken for one that sends nothing."""
    rig.send(head(f"Content-Length: {LENGTH}") + b"x")
    rig.read()
    for _ in range(20):
        rig.send(bytes(100))
        rig.wait(5)
    assert rig.reader.errors == []
    assert sum(rig.reader.pieces) > 1000
    rig.wait(40)
    assert isinstance(rig.reader.errors[0], TooSlow)
