"""Giving up a stream that comes too slowly."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from glancetx.domain.errors import TooSlow
from glancetx.streams.interfaces import IObserver


@implementer(IObserver)
class Pace:
    """Raises TooSlow when fewer than *rate* bytes a second came, averaged over *window* seconds.

    It looks when bytes come: that none come at all is for others to notice.
    """

    def __init__(self, clock: IReactorTime, rate: float, window: float = 60.0) -> None:
        self._clock, self._rate, self._window = clock, rate, window
        self._since, self._received = clock.seconds(), 0

    def observe(self, chunk: bytes) -> None:
        self._received += len(chunk)
        elapsed = self._clock.seconds() - self._since
        if elapsed < self._window:
            return
        if self._received < self._rate * elapsed:
            raise TooSlow(f"Only {self._received / elapsed:.0f} bytes came a second; {self._rate:g} is the least.")
        self._since, self._received = self._clock.seconds(), 0

    async def finish(self) -> None:
        """Nothing is left to be done."""
