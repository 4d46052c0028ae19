"""When something is tried again."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from glancetx.outgoing.retries import Retries


@pytest.mark.parametrize(
    ("tried", "chance", "wish", "seconds"),
    [
        (1, 0.5, None, 1.0),
        (2, 0.5, None, 2.0),
        (3, 0.5, None, 4.0),
        (3, 0.0, None, 2.0),
        (3, 1.0, None, 6.0),
        (9, 0.5, None, 20.0),
        (1, 0.5, "7", 7.0),
        (1, 0.5, "999", 20.0),
        (1, 0.5, "Wed, 21 Oct 2026 07:28:00 GMT", 1.0),
    ],
)
def test_pauses(tried: int, chance: float, wish: str | None, seconds: float) -> None:
    """They double, vary by half, have an end, and obey the other side up to that."""
    clock = Clock()
    retries = Retries(clock, most=9, first=1.0, longest=20.0, chance=lambda: chance)
    waiting = Deferred.fromCoroutine(retries.pause(tried, wish))
    assert [call.getTime() for call in clock.getDelayedCalls()] == [seconds]
    clock.advance(seconds)
    assert waiting.called


@pytest_twisted.ensureDeferred
async def test_ends() -> None:
    """After the last try there is no pause."""
    assert not await Retries(Clock(), most=2).pause(3)
