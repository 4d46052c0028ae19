"""Steps that are undone when what follows fails."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from glancetx.runtime.undo import undone_by


class Undo:
    """An undo that ends when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.ended = False
        self.gate: Deferred[None] = Deferred()

    async def __call__(self, *args: object) -> None:
        self.calls.append(args)
        await self.gate
        self.ended = True


async def fail() -> None:
    raise ValueError("first")


@pytest_twisted.ensureDeferred
async def test_nothing_is_undone_after_success() -> None:
    """A block that ends well is not undone."""
    undo = Undo()
    async with undone_by(undo, 1):
        pass
    assert undo.calls == []


@pytest_twisted.ensureDeferred
async def test_undoes_and_lets_the_error_go_on() -> None:
    """The caller sees the block's own error, after the undo has ended."""
    undo = Undo()

    async def work() -> None:
        async with undone_by(undo, "it"):
            await fail()

    working = Deferred.fromCoroutine(work())
    assert undo.calls == [("it",)]
    assert not working.called
    undo.gate.callback(None)
    assert undo.ended
    with pytest.raises(ValueError, match="first"):
        await working


@pytest_twisted.ensureDeferred
async def test_a_failing_undo_is_logged() -> None:
    """The error of the undo goes to the log, the first error to the caller."""
    undo, events = Undo(), list[object]()
    undo.gate.errback(RuntimeError("second"))
    globalLogPublisher.addObserver(events.append)  # type: ignore[arg-type]
    try:
        with pytest.raises(ValueError, match="first"):
            async with undone_by(undo):
                await fail()
    finally:
        globalLogPublisher.removeObserver(events.append)  # type: ignore[arg-type]
    assert any("second" in str(event) for event in events)


@pytest_twisted.ensureDeferred
async def test_cancelling_undoes() -> None:
    """A block that is cancelled is undone, and then raises CancelledError."""
    undo = Undo()
    undo.gate.callback(None)

    async def work() -> None:
        async with undone_by(undo):
            await Deferred[None]()

    working = Deferred.fromCoroutine(work())
    working.cancel()
    assert undo.ended
    with pytest.raises(CancelledError):
        await working


@pytest_twisted.ensureDeferred
async def test_a_second_cancel_does_not_stop_the_undo() -> None:
    """Whoever cancels while the undo runs waits for its end."""
    undo = Undo()

    async def work() -> None:
        async with undone_by(undo):
            await Deferred[None]()

    outcomes: list[Failure] = []
    working = Deferred.fromCoroutine(work()).addErrback(outcomes.append)
    for _ in range(3):
        working.cancel()
    assert outcomes == []
    undo.gate.callback(None)
    assert undo.ended
    await working
    assert outcomes[0].check(CancelledError)
