"""Which transfers are slow. There may be many of them, so little of each is kept in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

SPAN: Final = 0.1
"""Seconds over which is looked, at least."""
RATE: Final = 1024 * 1024
"""Bytes a second; what comes faster is not slow."""
BURST: Final = 64 * 1024
"""Bytes that may come at once: a slow client's come in some pieces, and then none for a while."""


class Slowness:
    """Looks at one transfer. *seconds* is the clock. *lasting*: it has been slow for a while, and not only begun so."""

    __slots__ = ("_came", "_seconds", "_since", "_slow", "lasting")

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._since = -math.inf
        self._came = 0  # bytes since then
        self._slow = True
        self.lasting = False

    def seen(self, size: int) -> bool:
        """So many bytes came; whether they came slowly."""
        now = self._seconds()
        passed = now - self._since
        if passed >= SPAN:
            self._slow = self._came < RATE * passed
            self.lasting = self._slow and passed < math.inf
            self._since, self._came = now, 0
        self._came += size
        return self._slow and self._came <= BURST
