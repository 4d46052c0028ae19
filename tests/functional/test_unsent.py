"""How much of an answer waits in the kernel, and for how long a client may take none of it: on real sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from glancetx.config.settings import HttpSettings
from glancetx.listen.acceptor import Acceptor, Connections
from glancetx.runtime.sockets import UNSENT
from glancetx.runtime.threads import Threads
from glancetx.streams import FileSource
from glancetx.web.respond import Responder
from glancetx.web.sendfile import SLOW, TURN
from glancetx.web.site import ImageSite

SIZE = 16 * TURN
LATE = 3  # seconds by which batched timers and the steps of the test are late
SETTINGS = HttpSettings(header_timeout=8, idle_timeout=60)


class Files(Resource):
    """Answers with a file, which is in memory."""

    isLeaf = True

    def __init__(self, reactor: Any, path: Path) -> None:
        super().__init__()
        self._threads = Threads(reactor, "files", 1)
        self._responder, self._path = Responder(reactor, self._threads), path

    def render(self, request: Any) -> Any:
        request.setHeader(b"Content-Length", str(SIZE).encode())
        source = FileSource(self._threads, os.open(self._path, os.O_RDONLY), 0, SIZE)
        ensureDeferred(self._responder.send(request, source)).addCallbacks(lambda _: request.finish(), lambda _: None)
        return NOT_DONE_YET


class Rig:
    """One client, accepted as others are; time passes, and the server writes, when the test says so."""

    def __init__(self, path: Path) -> None:
        self.clock: Any = MemoryReactorClock()
        self.connections = Connections(self.clock)
        listening = socket.create_server(("127.0.0.1", 0))
        site = ImageSite(Files(self.clock, path), SETTINGS, self.clock)
        self.acceptor = Acceptor(self.clock, listening, site, self.connections)
        self.acceptor.start()
        self.client = socket.socket()
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.client.connect(listening.getsockname())
        self.client.settimeout(10)
        self.acceptor.doRead()
        (self.server,) = self.connections._open
        self.received = 0

    def ask(self) -> None:
        self.client.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
        self.server.doRead()

    def take(self, size: int) -> None:
        """The client takes so many bytes, and the server gives as many as the kernel takes of it."""
        until = self.received + size
        while self.received < until:
            self.server.doWrite()
            self.received += len(self.client.recv(until - self.received))

    def take_slowly(self) -> None:
        """More than the kernel keeps, a turn's bytes in some seconds."""
        for _ in range(40):
            self.clock.advance(SLOW)
            self.take(TURN // 4)

    def take_all(self) -> None:
        """To the end of the answer."""
        while self.server.protocol.requests:
            self.take(1024)

    def rest(self) -> bytes:
        """What comes until the server says no more."""
        said = b""
        while True:
            self.server.doWrite()
            if not (data := self.client.recv(TURN)):
                return said
            said += data

    @property
    def unsent(self) -> int:
        """How many bytes may wait; 0: as many as the system allows."""
        return int(self.server.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT))

    @property
    def given_up(self) -> bool:
        return bool(self.server.disconnecting or not self.server.connected)

    def wait(self, seconds: int) -> None:
        for _ in range(2 * seconds):
            self.clock.advance(0.5)

    def close(self) -> None:
        self.client.close()
        self.acceptor.stop()
        if self.server.connected:
            self.server.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    made = Rig(path)
    yield made
    made.close()


def test_little_waits_for_a_slow_client(rig: Rig) -> None:
    """Who takes a turn's bytes within a second has as many in the kernel as the system allows."""
    rig.ask()
    assert rig.unsent == UNSENT
    rig.take(3 * TURN)
    assert rig.unsent == 0
    rig.take_slowly()
    assert rig.unsent == UNSENT


def test_a_client_stays_what_he_was(rig: Rig) -> None:
    """His next answer begins as the last one ended; if he is slow then, that is seen."""
    rig.ask()
    rig.take_all()
    rig.ask()
    assert rig.unsent == 0
    rig.take_slowly()
    assert rig.unsent == UNSENT


def test_who_takes_nothing_is_given_up(rig: Rig) -> None:
    """After `idle_timeout`, and a quarter of it by which that may be missed."""
    rig.ask()
    rig.take(TURN)
    rig.wait(59)
    assert not rig.given_up
    rig.wait(1 + 15 + LATE)
    assert rig.given_up


def test_patience_ends_with_the_answer(rig: Rig) -> None:
    """What the client sends next is looked at as often as ever."""
    rig.ask()
    rig.take(TURN)
    rig.wait(4)
    rig.take_all()
    rig.client.sendall(b"GET ")
    rig.server.doRead()
    rig.wait(8 + 2 + LATE)
    assert b"HTTP/1.1 408 " in rig.rest()
