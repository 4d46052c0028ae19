"""Connections without TLS that we begin ourselves."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol

from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.client import HttpClient
from glancetx.outgoing.sockets import PlainClient, SocketReactor
from glancetx.streams import BytesSource

DATA = os.urandom(8 * 1024 * 1024 + 1)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """It takes little at a time, so that much must wait with whoever sends."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    made.bind(("127.0.0.1", 0))
    made.listen()
    made.settimeout(60)
    with made:
        yield made


def serve(listening: socket.socket, most: int, received: list[bytes]) -> None:
    """Answer one PUT once its body, or *most* bytes of it, have come; then close."""
    accepted, _ = listening.accept()
    with accepted, suppress(OSError):
        accepted.settimeout(60)
        while sum(map(len, received)) < most and (data := accepted.recv(100_000)):
            received.append(data)
            if b"".join(received).endswith(DATA[-9:]):
                accepted.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
                return


async def put(listening: socket.socket, most: int) -> tuple[int, bytes]:
    """The status of a PUT of the data, and what came of the request."""
    from twisted.internet import reactor

    received: list[bytes] = []
    serving = threading.Thread(target=serve, args=(listening, most, received))
    serving.start()
    client = HttpClient(reactor)
    try:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        answer = await client.request("PUT", url, body=BytesSource(DATA))
        answer.drop()
    finally:
        await client.close()
        serving.join()
    return answer.status, b"".join(received)


@pytest_twisted.ensureDeferred
async def test_a_large_body_arrives_as_it_is(listening: socket.socket) -> None:
    """Although the server takes it in small pieces."""
    status, received = await put(listening, 2 * len(DATA))
    assert status == 201
    body = received.partition(b"\r\n\r\n")[2]
    assert hashlib.sha256(body).digest() == hashlib.sha256(DATA).digest()


@pytest_twisted.ensureDeferred
async def test_a_server_that_breaks_off_is_no_answer(listening: socket.socket) -> None:
    """In the middle of the body."""
    with pytest.raises(NoAnswer):
        await put(listening, 1_000_000)


class Greeter(Protocol):
    """Writes as soon as it can, and looks whether that has arrived before the reactor goes on."""

    def __init__(self, listening: socket.socket, seen: Deferred[bytes], in_pieces: bool) -> None:
        self._listening, self._seen, self._in_pieces = listening, seen, in_pieces

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if self._in_pieces:
            transport.writeSequence([b"he", b"re"])
        else:
            transport.write(b"here")
        accepted, _ = self._listening.accept()
        with accepted:
            accepted.settimeout(2)
            try:
                self._seen.callback(accepted.recv(16))
            except OSError:
                self._seen.callback(b"")
        transport.abortConnection()


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest_twisted.ensureDeferred
async def test_what_is_written_does_not_wait_for_the_reactor(listening: socket.socket, in_pieces: bool) -> None:
    """It is sent before the call has ended."""
    from twisted.internet import reactor

    seen: Deferred[bytes] = Deferred()
    ours: Any = SocketReactor(reactor, PlainClient)
    await HostnameEndpoint(ours, "127.0.0.1", listening.getsockname()[1]).connect(
        Factory.forProtocol(lambda: Greeter(listening, seen, in_pieces))
    )
    assert await seen == b"here"
