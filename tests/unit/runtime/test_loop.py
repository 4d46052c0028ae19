"""How much the event loop does before it looks up."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.epollreactor import EPollReactor

from glancetx.runtime.loop import EVENTS, take_short_turns

CLIENTS = 5 * EVENTS


class Reader(FileDescriptor):
    """Always readable, as it leaves what is there."""

    def __init__(self, reactor: EPollReactor, number: int, seen: list[int]) -> None:
        super().__init__(reactor)
        self.here, self.there = socket.socketpair()
        self.there.send(b"x")
        self.number, self.seen = number, seen

    def fileno(self) -> int:
        return self.here.fileno()

    def doRead(self) -> None:
        self.seen.append(self.number)


@pytest.fixture
def reactor() -> Iterator[EPollReactor]:
    reactor = EPollReactor()
    yield reactor
    readers = [each for each in reactor.removeAll() if isinstance(each, Reader)]
    for reader in readers:
        reader.here.close()
        reader.there.close()
    reactor._poller.close()


def test_timers_come_between_many_clients_and_each_has_its_turn(reactor: EPollReactor) -> None:
    take_short_turns(reactor)
    seen: list[int] = []
    called: list[int] = []
    for number in range(CLIENTS):
        reactor.addReader(Reader(reactor, number, seen))
    reactor.iterate(0)
    assert 0 < len(seen) <= EVENTS
    reactor.callLater(0, lambda: called.append(len(seen)))
    while len(seen) < 3 * CLIENTS:
        reactor.iterate(0)
    assert called[0] <= 2 * EVENTS
    counts = Counter(seen)
    assert len(counts) == CLIENTS
    assert max(counts.values()) - min(counts.values()) <= 1
