"""Accepting: whose connections are kept, and what happens when the system has no more descriptors."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from glancetx.listen.acceptor import BREATH, Acceptor, Connections


class Turns(Clock):
    """A clock that knows who wants to read."""

    def __init__(self) -> None:
        super().__init__()
        self.reading: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        self.reading.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.reading.discard(reader)

    def addWriter(self, writer: Any) -> None:
        """Nothing is written here."""

    def removeWriter(self, writer: Any) -> None:
        """Nothing is written here."""


class Exhausted:
    """A listening socket whose accept fails with *number*."""

    family = socket.AF_INET

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False

    def setblocking(self, blocking: bool) -> None:
        assert not blocking

    def accept(self) -> Any:
        raise OSError(self.number, "no")

    def fileno(self) -> int:
        return 77

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def reactor() -> Turns:
    return Turns()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def acceptor(reactor: Turns, listening: Any, factory: Factory | None = None) -> tuple[Acceptor, Connections]:
    connections = Connections(reactor)
    made = Acceptor(reactor, listening, factory or Factory.forProtocol(Protocol), connections)
    made.start()
    return made, connections


def test_accepts_one_at_a_turn(reactor: Turns, listening: socket.socket) -> None:
    """Two clients wait; each turn takes one, and a turn without any is harmless."""
    accepting, connections = acceptor(reactor, listening)
    with socket.create_connection(listening.getsockname()), socket.create_connection(listening.getsockname()):
        for expected in (1, 2, 2):
            accepting.doRead()
            assert len(connections) == expected
        for transport in reactor.reading - {accepting}:
            transport.connectionLost(Failure(ConnectionDone()))
    assert len(connections) == 0
    accepting.stop()
    assert accepting not in reactor.reading


def test_refused_by_the_factory(reactor: Turns, listening: socket.socket) -> None:
    """Whom the factory does not want is closed and not counted."""

    class Closed(Factory):
        def buildProtocol(self, addr: object) -> None:
            """Nobody is welcome."""

    accepting, connections = acceptor(reactor, listening, Closed())
    with socket.create_connection(listening.getsockname()) as client:
        accepting.doRead()
        assert client.recv(1) == b""
    assert len(connections) == 0
    accepting.stop()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
def test_takes_a_breath(reactor: Turns, number: int) -> None:
    """Without descriptors or memory it accepts nothing for a while, then tries again."""
    accepting, _ = acceptor(reactor, Exhausted(number))
    accepting.doRead()
    assert accepting not in reactor.reading
    reactor.advance(BREATH / 2)
    assert accepting not in reactor.reading
    reactor.advance(BREATH / 2)
    assert accepting in reactor.reading


def test_stopped_in_a_breath(reactor: Turns) -> None:
    """Stopping ends the breath too."""
    exhausted = Exhausted(errno.EMFILE)
    accepting, _ = acceptor(reactor, exhausted)
    accepting.doRead()
    accepting.stop()
    assert exhausted.closed
    assert reactor.getDelayedCalls() == []


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EINTR, errno.ECONNABORTED])
def test_nobody_there(reactor: Turns, number: int) -> None:
    """A client that has left, or that another worker took, is no reason to stop."""
    accepting, connections = acceptor(reactor, Exhausted(number))
    accepting.doRead()
    assert accepting in reactor.reading
    assert len(connections) == 0


def test_shut_down_by_another(reactor: Turns) -> None:
    """If the process that shares the socket shuts it down, accepting ends."""
    exhausted = Exhausted(errno.EINVAL)
    accepting, _ = acceptor(reactor, exhausted)
    accepting.doRead()
    assert accepting not in reactor.reading
    assert exhausted.closed
