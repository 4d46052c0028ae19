"""The tap, with observers of every temper."""

from __future__ import annotations

import gc
import weakref

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer
from zope.interface.verify import verifyObject

from glancetx.streams import IObserver, Tap
from glancetx.streams.sinks import Intake
from glancetx.testing.fakes import Recorder, ScriptedSource


@implementer(IObserver)
class Witness:
    """Writes down what it sees; does what the test says."""

    def __init__(self, seen: list[object] | None = None) -> None:
        self.seen: list[object] = [] if seen is None else seen
        self.behind: Deferred[None] | None = None
        self.error: Exception | None = None
        self.finishing: Deferred[None] | None = None

    def observe(self, chunk: bytes) -> Deferred[None] | None:
        if self.error is not None:
            raise self.error
        self.seen.append(chunk)
        return self.behind

    async def finish(self) -> None:
        self.seen.append("finish")
        if self.finishing is not None:
            await self.finishing


class Late(Recorder):
    """Tells the list, too, what it was given."""

    def __init__(self, seen: list[object]) -> None:
        super().__init__()
        self.seen = seen

    def write(self, data: bytes) -> None:
        self.seen.append(("consumer", data))


def test_is_a_body_producer() -> None:
    """A tap stands wherever a source may stand, and is as long."""
    tap = Tap(ScriptedSource(b"abc"))
    assert verifyObject(IBodyProducer, tap)
    assert tap.length == 3


@pytest_twisted.ensureDeferred
async def test_shows_every_chunk_first() -> None:
    """Observers see each chunk in order, before the consumer; at the end they finish in order."""
    seen: list[object] = []
    tap = Tap(ScriptedSource(b"a", b"b"), Witness(seen), Witness(seen))
    await Late(seen).receive(tap)
    assert seen == [b"a", b"a", ("consumer", b"a"), b"b", b"b", ("consumer", b"b"), "finish", "finish"]


@pytest_twisted.ensureDeferred
async def test_fires_after_the_observers() -> None:
    """The end of the source is not the end of the tap while an observer is at work."""
    witness = Witness()
    witness.finishing = Deferred()
    receiving = Deferred.fromCoroutine(Recorder().receive(Tap(ScriptedSource(b"a"), witness)))
    assert not receiving.called
    witness.finishing.callback(None)
    assert await receiving == b"a"


@pytest_twisted.ensureDeferred
async def test_an_observer_that_raises_stops_the_source() -> None:
    """Even inside the start: the source is stopped, the error comes out, the consumer has not got that chunk."""
    witness = Witness()
    witness.error = ZeroDivisionError()
    source, recorder = ScriptedSource(b"a", b"b", held=True), Recorder()
    with pytest.raises(ZeroDivisionError):
        await recorder.receive(Tap(source, Witness(), witness))
    assert source.stopped
    assert recorder.chunks == []


@pytest_twisted.ensureDeferred
async def test_an_observer_that_cannot_finish_fails_the_tap() -> None:
    """An error at the end comes out as well."""
    witness = Witness()
    witness.finishing = Deferred()
    receiving = Deferred.fromCoroutine(Recorder().receive(Tap(ScriptedSource(b"a"), witness)))
    witness.finishing.errback(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await receiving


@pytest_twisted.ensureDeferred
async def test_the_error_of_the_source_comes_through() -> None:
    """A failing source fails the tap with the same error; nobody finishes."""
    witness = Witness()
    with pytest.raises(ZeroDivisionError):
        await Recorder().receive(Tap(ScriptedSource(b"a", error=ZeroDivisionError()), witness))
    assert witness.seen == [b"a"]


@pytest_twisted.ensureDeferred
async def test_waits_for_an_observer_that_is_behind() -> None:
    """The source is paused until the observer has caught up."""
    witness = Witness()
    behind = witness.behind = Deferred()
    source, recorder = ScriptedSource(b"a", b"b"), Recorder()
    receiving = Deferred.fromCoroutine(recorder.receive(Tap(source, witness)))
    assert source.paused
    assert recorder.data == b"a"
    witness.behind = None
    behind.callback(None)
    assert await receiving == b"ab"


@pytest_twisted.ensureDeferred
async def test_both_sides_must_agree_to_go_on() -> None:
    """Neither a resuming consumer nor an observer that caught up ends the pause of the other."""
    witness = Witness()
    behind = witness.behind = Deferred()
    source = ScriptedSource(b"a", b"b", held=True)
    tap = Tap(source, witness)
    receiving = Deferred.fromCoroutine(Recorder().receive(tap))
    tap.pauseProducing()
    tap.resumeProducing()
    assert source.paused
    tap.pauseProducing()
    witness.behind = None
    behind.callback(None)
    assert source.paused
    tap.resumeProducing()
    assert not source.paused
    source.end()
    await receiving


@pytest_twisted.ensureDeferred
async def test_an_observer_that_fails_behind_stops_the_source() -> None:
    """An observer may fail between two chunks."""
    witness = Witness()
    behind = witness.behind = Deferred()
    source = ScriptedSource(b"a", held=True)
    receiving = Deferred.fromCoroutine(Recorder().receive(Tap(source, witness)))
    behind.errback(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await receiving
    assert source.stopped


@pytest_twisted.ensureDeferred
async def test_the_pause_of_the_consumer_reaches_the_source() -> None:
    """A pause inside a write holds the source."""
    source, recorder = ScriptedSource(b"a", b"b"), Recorder(limit=1)
    receiving = Deferred.fromCoroutine(recorder.receive(Tap(source, Witness())))
    assert source.paused
    recorder.resume()
    assert await receiving == b"ab"


@pytest.mark.parametrize("started", [False, True])
def test_stopping_reaches_the_source(started: bool) -> None:
    """A stop travels on, also before the start; what still comes is dropped."""
    source, witness = ScriptedSource(held=True), Witness()
    tap = Tap(source, witness)
    if started:
        assert not tap.startProducing(Recorder()).called
    tap.stopProducing()
    assert source.stopped
    tap.write(b"late")
    assert witness.seen == []


@pytest_twisted.ensureDeferred
async def test_stopping_while_observers_finish_is_silent() -> None:
    """After a stop nothing fires, even if only an observer was at work."""
    witness = Witness()
    witness.finishing = Deferred()
    source = ScriptedSource(b"a")
    tap = Tap(source, witness)
    done = tap.startProducing(Recorder())
    tap.stopProducing()
    assert not done.called
    assert not source.stopped


@pytest_twisted.ensureDeferred
async def test_cancelling_stops_the_source() -> None:
    """Cancelling the Deferred is a stop that is told as CancelledError."""
    source = ScriptedSource(held=True)
    done = Tap(source).startProducing(Recorder())
    done.cancel()
    with pytest.raises(CancelledError):
        await done
    assert source.stopped


@pytest_twisted.ensureDeferred
async def test_what_has_ended_is_no_circle() -> None:
    """Who took the bytes is not left for the garbage collector, which stops everything while it looks."""
    gc.disable()
    try:
        tap = Tap(ScriptedSource(b"a"), Witness())
        async with Intake(tap) as intake:
            assert await intake.take() == [b"a"]
        left = weakref.ref(intake)
        del intake
        assert left() is None
    finally:
        gc.enable()
