"""Files for connections that change the bytes: how much goes out before others have their turn."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from glancetx.domain.errors import ClientVanished
from glancetx.runtime.threads import Threads
from glancetx.streams.sources import FileSource
from glancetx.web.sendfile import TURN, Buffered, Mapped


class Thirsty:
    """A request whose client takes all it gets at once, until it leaves."""

    producer: Any = None
    transport = None

    def __init__(self) -> None:
        self.channel = self
        self.data = bytearray()
        self.gone: Deferred[None] = Deferred()

    def notifyFinish(self) -> Deferred[None]:
        return self.gone

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.data += data


async def deliver(folder: Path, request: Any, content: bytes, watch: Any) -> None:
    """*content* to *request*; *watch* is called in each pass of the reactor."""
    from twisted.internet import reactor

    threads = Threads(reactor, "reading", 1)  # type: ignore[arg-type]
    threads.start()
    (folder / "file").write_bytes(content)
    descriptor = os.open(folder / "file", os.O_RDONLY)
    source = FileSource(threads, descriptor, 0, len(content))
    passes = LoopingCall(watch)
    passes.start(0)
    try:
        await ensureDeferred(Buffered(request, source, Mapped(descriptor, threads), reactor).run())
    finally:
        passes.stop()
        await threads.stop()


@pytest_twisted.ensureDeferred
async def test_others_have_their_turns(tmp_path: Path) -> None:
    """However fast a client is, the reactor sees to others after each turn's bytes, and he gets them all."""
    request, content, seen = Thirsty(), os.urandom(4 * TURN + 1), []
    await deliver(tmp_path, request, content, lambda: seen.append(len(request.data)))
    assert bytes(request.data) == content
    assert max(after - before for before, after in pairwise(seen)) <= TURN


@pytest_twisted.ensureDeferred
async def test_who_leaves_between_two_turns(tmp_path: Path) -> None:
    """Gets nothing more."""
    request = Thirsty()

    def leave() -> None:
        if request.data and not request.gone.called:
            request.gone.errback(Failure(ConnectionError("gone")))

    with pytest.raises(ClientVanished):
        await deliver(tmp_path, request, bytes(8 * TURN), leave)
    assert 0 < len(request.data) < 8 * TURN
