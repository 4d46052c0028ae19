"""Holding back a stream that nobody is waiting for."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from zope.interface import implementer

from glancetx.streams.interfaces import IObserver

EARLY: Final = 0.25  # seconds a stream may be ahead: each pause costs a wake-up


@implementer(IObserver)
class Throttle:
    """Lets *rate* bytes a second pass, whatever passes it: one after the other, or several streams at once."""

    def __init__(self, clock: Any, rate: float) -> None:
        self.passed = 0
        self._clock, self._rate = clock, rate
        self._free_at = 0.0

    def observe(self, chunk: bytes) -> Deferred[None] | None:
        now = self._clock.seconds()
        self.passed += len(chunk)
        self._free_at = max(now, self._free_at) + len(chunk) / self._rate
        ahead = self._free_at - now
        return deferLater(self._clock, ahead, lambda: None) if ahead > EARLY else None

    async def finish(self) -> None:
        """Nothing is left to be done."""
