"""Pulling bytes out of a producer."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from glancetx.domain.errors import LimitExceeded
from glancetx.streams import BytesSource, Intake, gather
from glancetx.streams.sinks import SLOW_BLOCK
from glancetx.streams.slowness import BURST, RATE, SPAN
from glancetx.testing.fakes import ScriptedSource

KIB = 1024


@pytest_twisted.ensureDeferred
async def test_gathers_small_chunks() -> None:
    """A block comes when enough has arrived; the end brings the rest, then nothing."""
    source = ScriptedSource(held=True)
    async with Intake(source, block=2 * KIB, most=8 * KIB) as intake:
        taking = Deferred.fromCoroutine(intake.take())
        source.send(b"a" * KIB)
        assert not taking.called
        source.send(b"b" * KIB)
        assert b"".join(await taking) == b"a" * KIB + b"b" * KIB
        source.send(b"c")
        source.end()
        assert await intake.take() == [b"c"]
        assert await intake.take() == []
    assert not source.stopped


@pytest_twisted.ensureDeferred
async def test_pauses_when_nobody_takes() -> None:
    """At the high-water mark the source is paused, even inside its start, and resumed by the next take."""
    pieces = [bytes(KIB)] * 100
    source = ScriptedSource(*pieces)
    async with Intake(source, block=2 * KIB, most=4 * KIB) as intake:
        assert source.paused
        taken = await intake.take()
        assert sum(map(len, taken)) <= 5 * KIB
        size = len(b"".join(taken))
        while chunks := await intake.take():
            assert sum(map(len, chunks)) <= 5 * KIB
            size += len(b"".join(chunks))
    assert size == 100 * KIB


@pytest_twisted.ensureDeferred
async def test_counts_the_cost_of_tiny_chunks() -> None:
    """A flood of single bytes is paused long before a million of them are in memory."""
    source = ScriptedSource(*[b"x"] * 100_000, held=True)
    async with Intake(source):
        assert source.paused
        assert len(source.pieces) > 80_000


@pytest_twisted.ensureDeferred
async def test_raises_the_error_of_the_source() -> None:
    """The source's error comes instead of what was left."""
    source = ScriptedSource(b"data", error=ZeroDivisionError())
    async with Intake(source) as intake:
        with pytest.raises(ZeroDivisionError):
            await intake.take()
    assert not source.stopped


@pytest_twisted.ensureDeferred
async def test_leaving_stops_the_source() -> None:
    """Whoever leaves early stops the source; what it sends after that is dropped."""
    source = ScriptedSource(b"data", held=True)
    async with Intake(source, block=1) as intake:
        await intake.take()
    assert source.stopped
    intake.write(b"late")


@pytest_twisted.ensureDeferred
async def test_cancelling_a_take_stops_the_source() -> None:
    """A cancelled coroutine leaves the block, and so the source is stopped."""
    source = ScriptedSource(held=True)

    async def pull() -> None:
        async with Intake(source) as intake:
            await intake.take()

    pulling = Deferred.fromCoroutine(pull())
    pulling.cancel()
    with pytest.raises(CancelledError):
        await pulling
    assert source.stopped


@pytest_twisted.ensureDeferred
async def test_gather_returns_all() -> None:
    """A body within the limit is returned whole."""
    assert await gather(BytesSource(b"x" * 10), 10) == b"x" * 10


@pytest_twisted.ensureDeferred
async def test_gather_has_a_limit() -> None:
    """A body beyond the limit is stopped."""
    source = ScriptedSource(b"x" * 11, held=True)
    with pytest.raises(LimitExceeded):
        await gather(source, 10)
    assert source.stopped


@pytest_twisted.ensureDeferred
async def test_little_of_a_slow_source_is_taken() -> None:
    """What comes slowly is not kept until it is a block, unless it is very little; what comes fast is."""
    clock, source = Clock(), ScriptedSource(held=True)
    async with Intake(source, seconds=clock.seconds) as intake:

        async def come(pause: float, size: int) -> list[bytes] | None:
            clock.advance(pause)
            source.send(bytes(size))
            return await taking if taking.called else None

        taking = Deferred.fromCoroutine(intake.take())
        assert await come(1.0, SLOW_BLOCK) == [bytes(SLOW_BLOCK)]
        taking = Deferred.fromCoroutine(intake.take())
        assert await come(0.0, SLOW_BLOCK) == [bytes(SLOW_BLOCK)]
        taking = Deferred.fromCoroutine(intake.take())
        assert await come(1.0, 1) is None
        assert await come(SPAN / 2, SLOW_BLOCK) == [b"\0", bytes(SLOW_BLOCK)]
        taking = Deferred.fromCoroutine(intake.take())
        assert await come(0.0, BURST) is None
        assert await come(0.0, int(RATE * SPAN)) is None
        assert await come(SPAN, 1) is None
        source.end()
        assert sum(map(len, await taking)) == BURST + int(RATE * SPAN) + 1
        assert await intake.take() == []


@pytest_twisted.ensureDeferred
async def test_what_came_slowly_waits_for_its_taker() -> None:
    """It is taken at once, also if more came fast behind it."""
    clock, source = Clock(), ScriptedSource(held=True)
    async with Intake(source, seconds=clock.seconds) as intake:
        clock.advance(1.0)
        source.send(bytes(SLOW_BLOCK))
        source.send(b"x")
        assert await intake.take() == [bytes(SLOW_BLOCK), b"x"]


@pytest_twisted.ensureDeferred
async def test_who_has_time() -> None:
    """A source that has been slow for a while; neither one that has just begun, nor one that has ended."""
    clock, source = Clock(), ScriptedSource(held=True)
    async with Intake(source, seconds=clock.seconds) as intake:
        known = []
        for pause, size in ((1.0, 1), (SPAN, 1), (SPAN, int(2 * RATE * SPAN)), (SPAN, 1), (SPAN, 1)):
            clock.advance(pause)
            source.send(bytes(size))
            known.append(intake.unhurried)
        assert known == [False, True, True, False, True]
        source.end()
        assert not intake.unhurried
