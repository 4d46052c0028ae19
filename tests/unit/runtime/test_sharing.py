"""One call for several waiters."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred

from glancetx.runtime.sharing import SharedCall


async def waiting_for(deferred: Deferred[int]) -> int:
    return await deferred


@pytest_twisted.ensureDeferred
async def test_everybody_gets_the_result() -> None:
    """Those who asked before and after the end."""
    source: Deferred[int] = Deferred()
    call = SharedCall(waiting_for(source))
    first, second = call.result(), call.result()
    source.callback(5)
    assert [await first, await second, await call.result()] == [5, 5, 5]
    assert not call.running


@pytest_twisted.ensureDeferred
async def test_everybody_gets_the_error() -> None:
    """An error is told as it is."""
    source: Deferred[int] = Deferred()
    call = SharedCall(waiting_for(source))
    waiting = [call.result(), call.result()]
    source.errback(ValueError("no"))
    for each in waiting:
        with pytest.raises(ValueError, match="no"):
            await each


@pytest_twisted.ensureDeferred
async def test_one_who_leaves_leaves_the_others_alone() -> None:
    """Cancelling a waiter cancels neither the call nor the other waiters."""
    source: Deferred[int] = Deferred()
    call = SharedCall(waiting_for(source))
    leaving, staying = call.result(), call.result()
    leaving.cancel()
    with pytest.raises(CancelledError):
        await leaving
    assert call.running
    source.callback(1)
    assert await staying == 1
