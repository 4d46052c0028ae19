"""Knowing what is under way, and ending it."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred

from glancetx.runtime.ongoing import Ongoing
from glancetx.runtime.undo import undone_by


async def wait_for(gate: Deferred[str]) -> str:
    return await gate


@pytest_twisted.ensureDeferred
async def test_tells_the_outcome() -> None:
    """Results and errors come through, and what has ended is not under way any more."""
    ongoing = Ongoing()
    gate: Deferred[str] = Deferred()
    good, bad = ongoing.run(wait_for(gate)), ongoing.run(wait_for(_failed()))
    assert len(ongoing) == 1
    gate.callback("done")
    assert await good == "done"
    with pytest.raises(ValueError, match="no"):
        await bad
    assert len(ongoing) == 0


def _failed() -> Deferred[str]:
    failed: Deferred[str] = Deferred()
    failed.errback(ValueError("no"))
    return failed


@pytest_twisted.ensureDeferred
async def test_cancel_waits_for_the_undoing() -> None:
    """What a cancelled call undoes has ended when cancel returns; what ended before does not matter."""
    ongoing, undone = Ongoing(), Deferred[None]()

    async def work() -> None:
        async with undone_by(lambda: undone):
            await Deferred[None]()

    call, quick = ongoing.run(work()), ongoing.run(wait_for(Deferred()))
    outcomes = [call.addErrback(lambda failure: failure.type), quick.addErrback(lambda failure: failure.type)]
    cancelling = Deferred.fromCoroutine(ongoing.cancel())
    assert not cancelling.called
    undone.callback(None)
    assert cancelling.called
    assert [await each for each in outcomes] == [CancelledError, CancelledError]


@pytest_twisted.ensureDeferred
async def test_cancel_without_calls() -> None:
    """Nothing under way is nothing to wait for."""
    await Ongoing().cancel()
