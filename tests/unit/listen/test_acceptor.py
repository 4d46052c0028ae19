"""Accepting: whose connections are kept, and what happens when the system has no more descriptors."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from glancetx.listen.acceptor import BREATH, HASTE, PATIENCE, PAUSE, Acceptor, Connections
from glancetx.listen.turns import SLACK, Turns, shared_counts


class Reactor(Clock):
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

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """It has none."""

    def accept(self) -> Any:
        raise OSError(self.number, "no")

    def fileno(self) -> int:
        return 77

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def pair() -> Iterator[tuple[Turns, Turns]]:
    """What two processes know of each other; neither accepts yet."""
    descriptor = shared_counts(2)
    yield Turns(descriptor, 0), Turns(descriptor, 1)
    os.close(descriptor)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def acceptor(
    reactor: Reactor, listening: Any, factory: Factory | None = None, turns: Turns | None = None
) -> tuple[Acceptor, Connections]:
    connections = Connections(reactor, turns)
    made = Acceptor(reactor, listening, factory or Factory.forProtocol(Protocol), connections)
    made.start()
    return made, connections


def lose_all(reactor: Reactor, *kept: Acceptor) -> None:
    """The clients go."""
    for transport in reactor.reading - {*kept}:
        transport.connectionLost(Failure(ConnectionDone()))


def test_accepts_one_at_a_turn(reactor: Reactor, listening: socket.socket) -> None:
    """Two clients wait; each turn takes one, and a turn without any is harmless."""
    accepting, connections = acceptor(reactor, listening)
    with socket.create_connection(listening.getsockname()), socket.create_connection(listening.getsockname()):
        for expected in (1, 2, 2):
            accepting.doRead()
            assert len(connections) == expected
        lose_all(reactor, accepting)
    assert len(connections) == 0
    accepting.stop()
    assert accepting not in reactor.reading


def test_refused_by_the_factory(reactor: Reactor, listening: socket.socket) -> None:
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
def test_takes_a_breath(reactor: Reactor, number: int) -> None:
    """Without descriptors or memory it accepts nothing for a while, then tries again."""
    accepting, _ = acceptor(reactor, Exhausted(number))
    accepting.doRead()
    assert accepting not in reactor.reading
    reactor.advance(BREATH / 2)
    assert accepting not in reactor.reading
    reactor.advance(BREATH / 2)
    assert accepting in reactor.reading


def test_stopped_in_a_breath(reactor: Reactor) -> None:
    """Stopping ends the breath too."""
    exhausted = Exhausted(errno.EMFILE)
    accepting, _ = acceptor(reactor, exhausted)
    accepting.doRead()
    accepting.stop()
    assert exhausted.closed
    assert reactor.getDelayedCalls() == []


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EINTR, errno.ECONNABORTED])
def test_nobody_there(reactor: Reactor, number: int) -> None:
    """A client that has left, or that another worker took, is no reason to stop."""
    accepting, connections = acceptor(reactor, Exhausted(number))
    accepting.doRead()
    assert accepting in reactor.reading
    assert len(connections) == 0


def test_shut_down_by_another(reactor: Reactor) -> None:
    """If the process that shares the socket shuts it down, accepting ends."""
    exhausted = Exhausted(errno.EINVAL)
    accepting, _ = acceptor(reactor, exhausted)
    accepting.doRead()
    assert accepting not in reactor.reading
    assert exhausted.closed


def test_turns(pair: tuple[Turns, Turns]) -> None:
    """It is the turn of who has fewer clients than the others that accept, or hardly more."""
    ours, others = pair
    ours.tell(5)
    assert ours.is_ours()  # who else
    for count, mine in ((0, False), (4, False), (5, True), (9, True)):
        others.tell(count)
        assert ours.is_ours() == mine
    others.tell(10 * SLACK)
    ours.tell(10 * SLACK + 10)
    assert ours.is_ours()
    ours.tell(10 * SLACK + 11)
    assert not ours.is_ours()
    others.leave()
    assert ours.is_ours()


def test_leaves_a_client_to_others(reactor: Reactor, listening: socket.socket, pair: tuple[Turns, Turns]) -> None:
    """Whoever has more clients than another process lets it have the next one, and then goes on."""
    ours, others = pair
    accepting, connections = acceptor(reactor, listening, turns=ours)
    others.tell(0)
    with socket.create_connection(listening.getsockname()), socket.create_connection(listening.getsockname()):
        accepting.doRead()
        assert len(connections) == 1
        accepting.doRead()
        assert len(connections) == 1
        assert accepting not in reactor.reading
        listening.accept()[0].close()  # as the other does
        others.tell(1)
        reactor.advance(PAUSE)
        assert accepting in reactor.reading
        assert len(connections) == 1
    lose_all(reactor, accepting)
    accepting.stop()


def test_nobody_else_takes_him(reactor: Reactor, listening: socket.socket, pair: tuple[Turns, Turns]) -> None:
    """A client whom the others do not take is taken after a moment, and those who come then at once, for a while."""
    ours, others = pair
    accepting, connections = acceptor(reactor, listening, turns=ours)
    others.tell(0)
    ours.tell(1)
    where = listening.getsockname()
    with socket.create_connection(where), socket.create_connection(where), socket.create_connection(where):
        accepting.doRead()
        reactor.pump([PAUSE] * (round(PATIENCE / PAUSE) + 1))
        assert len(connections) == 1
        accepting.doRead()
        assert len(connections) == 2
        reactor.advance(HASTE)
        accepting.doRead()
        assert len(connections) == 2
    accepting.stop()
    assert reactor.getDelayedCalls() == []
    others.tell(1)
    assert others.is_ours()  # who has stopped has none
    lose_all(reactor)
