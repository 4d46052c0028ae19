"""A transfer goes on from another source."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.web.iweb import IBodyProducer

from glancetx.domain.errors import StoreUnavailable
from glancetx.streams import BytesSource
from glancetx.testing.fakes import Recorder, ScriptedSource
from glancetx.transfer.relay import SILENCE, Relay, Watch

DATA = bytes(range(256)) * 16


class Copies:
    """Further sources: the rest of `DATA`, which may break again after *lengths* of bytes; *asked*: from where."""

    def __init__(self, *lengths: int) -> None:
        self.lengths = list(lengths)
        self.asked: list[int] = []
        self.waiting: Deferred[None] | None = None

    async def reopen(self, delivered: int) -> IBodyProducer:
        self.asked.append(delivered)
        if self.waiting is not None:
            await self.waiting
        if not self.lengths:
            raise StoreUnavailable("no other copy")
        return broken(delivered, self.lengths.pop(0))


def broken(offset: int, length: int) -> IBodyProducer:
    """A source of so many bytes, which then fails, if these are not all."""
    if offset + length >= len(DATA):
        return BytesSource(DATA[offset:])
    return ScriptedSource(DATA[offset : offset + length], error=StoreUnavailable("gone"), length=len(DATA) - offset)


@pytest_twisted.ensureDeferred
async def test_goes_on() -> None:
    """All bytes come, each once, though two sources break."""
    copies = Copies(1000, len(DATA))
    relay = Relay(broken(0, 500), copies.reopen)
    assert relay.length == len(DATA)
    assert await Recorder().receive(relay) == DATA
    assert copies.asked == [500, 1500]


@pytest_twisted.ensureDeferred
async def test_gives_up() -> None:
    """When no source is left, the transfer fails; what came was right."""
    recorder = Recorder()
    with pytest.raises(StoreUnavailable, match="no other copy"):
        await recorder.receive(Relay(broken(0, 500), Copies().reopen))
    assert recorder.data == DATA[:500]


@pytest_twisted.ensureDeferred
async def test_other_errors() -> None:
    """An error that is no store's is not covered up."""
    copies = Copies(len(DATA))
    with pytest.raises(ValueError, match="odd"):
        await Recorder().receive(Relay(ScriptedSource(b"x", error=ValueError("odd")), copies.reopen))
    assert copies.asked == []


@pytest_twisted.ensureDeferred
async def test_pauses_between_sources() -> None:
    """A consumer that wants a pause while another source is opened gets nothing until it goes on."""
    copies = Copies(len(DATA))
    copies.waiting = Deferred()
    recorder = Recorder()
    relay = Relay(broken(0, 500), copies.reopen)
    receiving = Deferred.fromCoroutine(recorder.receive(relay))
    relay.pauseProducing()
    copies.waiting.callback(None)
    assert recorder.data == DATA[:500]
    relay.resumeProducing()
    assert await receiving == DATA


@pytest_twisted.ensureDeferred
async def test_stops_anywhere() -> None:
    """Stopped or cancelled, it stops whatever it has: a source, its opening, or one that waits."""
    source = ScriptedSource(DATA, held=True)
    Relay(source, Copies().reopen).stopProducing()
    assert source.stopped
    source = ScriptedSource(DATA, held=True)
    receiving = Deferred.fromCoroutine(Recorder().receive(Relay(source, Copies().reopen)))
    receiving.cancel()
    with pytest.raises(CancelledError):
        await receiving
    assert source.stopped
    copies = Copies(len(DATA))
    copies.waiting = Deferred()
    recorder = Recorder()
    receiving = Deferred.fromCoroutine(recorder.receive(Relay(broken(0, 500), copies.reopen)))
    receiving.cancel()
    with pytest.raises(CancelledError):
        await receiving
    assert copies.waiting.called
    assert recorder.data == DATA[:500]


class Watching:
    """A source that falls silent after 500 bytes, and the relay that watches it."""

    def __init__(self, *lengths: int) -> None:
        self.clock, self.copies, self.recorder = Clock(), Copies(*lengths), Recorder()
        self.left = 0
        self.silent = ScriptedSource(DATA[:500], held=True)
        self.relay = Relay(self.silent, self.copies.reopen, Watch(self.clock, self._others, self._leave))
        self.receiving = Deferred.fromCoroutine(self.recorder.receive(self.relay))

    def _others(self) -> bool:
        return bool(self.copies.lengths)

    def _leave(self) -> None:
        self.left += 1


@pytest_twisted.ensureDeferred
async def test_silent() -> None:
    """Another copy takes the place of one that delivers nothing for some seconds; whose store is told of."""
    watching = Watching(len(DATA))
    watching.clock.advance(SILENCE - 1)
    watching.silent.send(DATA[500:600])
    watching.clock.advance(SILENCE - 1)
    assert not watching.copies.asked
    watching.clock.advance(1)
    assert await watching.receiving == DATA
    assert (watching.copies.asked, watching.silent.stopped, watching.left) == ([600], True, 1)
    assert watching.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_not_silent_after_all() -> None:
    """A source that goes on while another is opened is kept; and one whose consumer wants a pause is not silent."""
    watching = Watching(len(DATA))
    watching.copies.waiting = Deferred()
    watching.clock.advance(SILENCE)
    assert watching.copies.asked == [500]
    watching.silent.send(DATA[500:700])
    assert watching.copies.waiting.called
    watching.relay.pauseProducing()
    watching.clock.pump([SILENCE] * 3)
    assert (watching.copies.asked, watching.left) == ([500], 0)
    watching.receiving.cancel()
    with pytest.raises(CancelledError):
        await watching.receiving
    assert watching.silent.stopped
    assert watching.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_nobody_else() -> None:
    """If no other copy can be opened, the silent one is waited for; if it breaks meanwhile, what is being opened is."""
    watching = Watching(0)
    watching.copies.waiting = Deferred()
    watching.clock.advance(SILENCE)
    watching.copies.lengths.clear()
    watching.copies.waiting.callback(None)
    watching.silent.send(DATA[500:])
    watching.silent.end()
    assert await watching.receiving == DATA
    broken = Watching(len(DATA))
    broken.copies.waiting = Deferred()
    broken.clock.advance(SILENCE)
    broken.silent.fail(StoreUnavailable("gone"))
    broken.copies.waiting.callback(None)
    assert await broken.receiving == DATA
    assert (broken.copies.asked, broken.left) == ([500], 0)
