"""The server's side of a connection, on a pair of real sockets and with a reactor that only takes notes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock

from glancetx.listen.acceptor import Connections
from glancetx.listen.transports import PlainServer
from glancetx.runtime.sockets import SMALL_READ


class Notes(Clock):
    """Who wants to write, and how often that has changed."""

    def __init__(self) -> None:
        super().__init__()
        self.writing: set[Any] = set()
        self.changes = 0

    def addReader(self, reader: Any) -> None:
        """Nothing is read here."""

    removeReader = addReader

    def addWriter(self, writer: Any) -> None:
        if writer not in self.writing:
            self.changes += 1
            self.writing.add(writer)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writing:
            self.changes += 1
            self.writing.discard(writer)


class Pull:
    """Sends so many pieces by itself, and then wants no more, as `glancetx.web.sendfile.Sendfile` does."""

    def __init__(self, transport: Any, pieces: int) -> None:
        self.transport, self.left, self.asked = transport, pieces, 0

    def resumeProducing(self) -> None:
        self.asked += 1
        if self.left:
            self.left -= 1
            self.transport.socket.send(b"piece")
            self.transport.startWriting()
        else:
            self.transport.stopWriting()

    def stopProducing(self) -> None:
        """The connection is lost."""


class Listening:
    _realPortNumber = 0


@pytest.fixture
def pair() -> Iterator[tuple[PlainServer, socket.socket, Notes]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    notes = Notes()
    make: Any = PlainServer
    transport = make(ours, Protocol(), ("127.0.0.1", 1), Listening(), 1, notes)
    transport.connections = Connections(notes)
    yield transport, theirs, notes
    transport.abortConnection()
    notes.advance(0)
    theirs.close()


def test_a_pull_producer_is_asked_until_it_wants_no_more(pair: tuple[PlainServer, socket.socket, Notes]) -> None:
    """After what was written before it; and the reactor's list changes only at the beginning and at the end."""
    transport, theirs, notes = pair
    transport.write(b"head ")
    producer = Pull(transport, 5)
    transport.registerProducer(producer, False)
    while transport in notes.writing:
        assert transport.doWrite() is None
    assert theirs.recv(100) == b"head " + 5 * b"piece"
    assert (producer.left, producer.asked, notes.changes) == (0, 6, 2)
    transport.unregisterProducer()
    transport.write(b"tail")
    transport.doWrite()
    assert theirs.recv(100) == b"tail"
    assert transport not in notes.writing


def test_a_connection_that_is_to_be_closed_waits_for_its_producer(
    pair: tuple[PlainServer, socket.socket, Notes],
) -> None:
    """What a pull producer still has is sent before the end."""
    transport, theirs, _ = pair
    producer = Pull(transport, 3)
    transport.registerProducer(producer, False)
    transport.loseConnection()
    while producer.left:
        assert transport.doWrite() is None
    assert theirs.recv(100) == 3 * b"piece"
    transport.unregisterProducer()
    assert transport.doWrite() is not None


def test_who_fills_the_buffer_gets_a_larger_one(pair: tuple[PlainServer, socket.socket, Notes]) -> None:
    """As long as he does: each piece costs its way through the layers above."""
    transport, theirs, _ = pair
    pieces: list[int] = []
    protocol: Any = transport.protocol
    protocol.dataReceived = lambda data: pieces.append(len(data))
    theirs.send(bytes(SMALL_READ + 1000))
    transport.doRead()
    transport.doRead()
    theirs.send(bytes(SMALL_READ + 2000))
    transport.doRead()
    transport.doRead()
    assert pieces == [SMALL_READ, 1000, SMALL_READ, 2000]
    theirs.send(bytes(2 * SMALL_READ))
    transport.doRead()
    theirs.send(bytes(SMALL_READ))
    transport.doRead()
    assert pieces[4:] == [SMALL_READ, 2 * SMALL_READ]
