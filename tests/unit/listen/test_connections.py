"""How a process lets its connections end."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from glancetx.listen.acceptor import POLL, Connections


class Channel:
    """As much of a twisted.web channel as is looked at."""

    def __init__(self, busy: bool) -> None:
        self.requests = [object()] if busy else []
        self.persistent = True


class Wrapped:
    """Site's wrapper around a channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @property
    def requests(self) -> list[object]:
        return self._channel.requests


class Connection:
    """A transport that closes at once when asked to."""

    def __init__(self, connections: Connections, protocol: Any) -> None:
        self.protocol = protocol
        self.connections = connections
        self.aborted = False
        connections.add(self)

    def loseConnection(self) -> None:
        self.connections.remove(self)

    def abortConnection(self) -> None:
        self.aborted = True
        self.connections.remove(self)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connections(clock: Clock) -> Connections:
    return Connections(clock)


def ended(draining: Deferred[None]) -> bool:
    return bool(draining.called)


def test_nothing_open(connections: Connections, clock: Clock) -> None:
    """Without connections there is nothing to wait for."""
    assert ended(connections.drain(60))
    assert clock.getDelayedCalls() == []


def test_idle(connections: Connections, clock: Clock) -> None:
    """Idle connections are closed at once, and nothing is left to happen later."""
    Connection(connections, Channel(busy=False))
    assert ended(connections.drain(60))
    assert len(connections) == 0
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("wrapped", [False, True])
def test_busy(connections: Connections, clock: Clock, wrapped: bool) -> None:
    """A busy connection is told to close after its answer; one that becomes idle is closed soon."""
    channel = Channel(busy=True)
    connection = Connection(connections, Wrapped(channel) if wrapped else channel)
    draining = connections.drain(60)
    assert channel.persistent is False
    clock.pump([POLL] * 50)
    assert not ended(draining)
    channel.requests.clear()
    clock.advance(POLL)
    assert ended(draining)
    assert not connection.aborted
    assert clock.getDelayedCalls() == []


def test_new_request_while_draining(connections: Connections, clock: Clock) -> None:
    """A connection which was waiting with another busy one is not kept by requests that come later."""
    busy, late = Channel(busy=True), Channel(busy=True)
    Connection(connections, busy)
    draining = connections.drain(60)
    Connection(connections, late)
    clock.advance(POLL)
    assert late.persistent is False
    assert not ended(draining)
    connections.abort()
    assert ended(draining)


def test_timeout(connections: Connections, clock: Clock) -> None:
    """After the time given, and not before, what is left is aborted."""
    connection = Connection(connections, Channel(busy=True))
    draining = connections.drain(60)
    clock.pump([1] * 59)
    assert not connection.aborted
    clock.advance(1)
    assert connection.aborted
    assert ended(draining)
    assert clock.getDelayedCalls() == []


def test_closes_by_itself(connections: Connections, clock: Clock) -> None:
    """A busy connection that is lost counts as ended."""
    connection = Connection(connections, Channel(busy=True))
    draining = connections.drain(60)
    connection.loseConnection()
    assert ended(draining)
    assert clock.getDelayedCalls() == []
