"""When something is tried again: a few times, with growing pauses that no two callers share."""

from __future__ import annotations

from collections.abc import Callable
from random import random
from typing import Final

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

PASSING: Final = (408, 429, 500, 502, 503, 504)
"""Statuses of an answer that may be another one next time."""


@frozen
class Retries:
    """At most *most* more tries; before the first a pause of about *first* seconds, before each later one twice that.

    *chance* gives numbers from 0 to 1: pauses vary by half, or all who lost the same server would come back at once.
    *troubled* is called before each pause.
    """

    clock: IReactorTime
    most: int = 4
    first: float = 0.3
    longest: float = 10.0
    chance: Callable[[], float] = field(default=random, repr=False)
    troubled: Callable[[], None] = field(default=lambda: None, repr=False)

    async def pause(self, tried: int, wish: str | None = None) -> bool:
        """Wait before another try, if there is to be one after *tried* failures; tells whether there is.

        *wish* is the other side's ``Retry-After``, obeyed up to *longest* seconds. Cancelling ends the wait.
        """
        if tried > self.most:
            return False
        seconds = min(self.longest, self.first * 2 ** (tried - 1)) * (0.5 + self.chance())
        if wish is not None and wish.isascii() and wish.isdigit():
            seconds = max(seconds, min(self.longest, int(wish)))
        self.troubled()
        await deferLater(self.clock, seconds)
        return True
