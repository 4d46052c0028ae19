"""Whose turn it is to send much: the reactor is held up for some 2 ms in a pass, however many clients could take it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

PASS: Final = 8 * 1024 * 1024
"""Bytes that may be sent in long turns in one pass of the reactor before the rest wait for the next."""


class Turns:
    """Long turns are taken one after the other, in the order in which they were asked for."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._left = PASS
        self._waiting: deque[Callable[[], None]] = deque()
        self._renewing = False

    def ask(self, turn: Callable[[], None]) -> bool:
        """Whether it may be taken now; else it is called when it may, unless `forget` comes first."""
        if self._left > 0 and not self._waiting:
            return True
        self._waiting.append(turn)
        return False

    def forget(self, turn: Callable[[], None]) -> None:
        """It is not wanted any more."""
        if turn in self._waiting:
            self._waiting.remove(turn)

    def taken(self, size: int) -> None:
        """So much was sent in the turn that was given."""
        self._left -= size
        self._renew_soon()

    def _renew_soon(self) -> None:
        if not self._renewing:
            self._renewing = True
            self._reactor.callLater(0, self._renew)

    def _renew(self) -> None:
        self._renewing, self._left = False, PASS
        try:
            while self._waiting and self._left > 0:
                self._waiting.popleft()()
        finally:  # a turn that fails leaves nobody waiting for ever
            if self._waiting:
                self._renew_soon()
