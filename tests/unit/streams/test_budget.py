"""Transfers share what may be under way (S-064)."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred

from glancetx.streams.budget import Budget, Share


def waiting(share: Share, size: int) -> Deferred[None]:
    return Deferred.fromCoroutine(share.room(size))


def test_shared() -> None:
    """One alone has all of it; of several each has a piece in any case, and more when others have given some back."""
    budget = Budget(30)
    first, second = budget.share(), budget.share()
    for _ in range(3):
        assert waiting(first, 10).called
        first.take(10)
    assert waiting(second, 10).called
    second.take(10)
    more = [waiting(first, 10), waiting(second, 10)]
    first.give(10)
    assert not any(each.called for each in more)
    second.give(10)
    assert [each.called for each in more] == [True, True]
    assert (first.held, second.held, budget.held) == (20, 0, 20)


@pytest_twisted.ensureDeferred
async def test_cancelled() -> None:
    """Who does not wait any more is forgotten."""
    budget = Budget(10)
    share = budget.share()
    share.take(10)
    leaving, staying = waiting(share, 10), waiting(share, 10)
    leaving.cancel()
    with pytest.raises(CancelledError):
        await leaving
    share.give(10)
    assert staying.called
