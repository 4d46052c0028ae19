"""Short transactions that are made one: who takes part in the next round, and when that begins."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

C = TypeVar("C")

WINDOW: Final = 0.002
"""Seconds that the first of many waits for others: to commit takes about as long."""


class Rounds(Generic[C]):
    """Calls that wait for a round, of *most* at once. *begin* is called when one should `take` them, in a thread.

    While one such call comes after the other, none waits. Where several were in the last round, the next one begins
    when half as many have come, or when the `WINDOW` is over: the first of them would else be a round alone, each time.
    """

    def __init__(self, reactor: Any, most: int, begin: Callable[[], object]) -> None:
        self._reactor, self._most, self._begin = reactor, most, begin
        self._waiting: deque[C] = deque()
        self._due: deque[None] = deque()  # rounds that should begin and have not
        self._usual = 1  # calls of the last round
        self._window: Any = None

    def put(self, call: C) -> None:
        """In the reactor's thread."""
        self._waiting.append(call)
        if len(self._due) * self._most >= len(self._waiting):
            return  # one that has not begun takes it along
        if 2 * len(self._waiting) >= self._usual:
            self._ask()
        elif self._window is None:
            self._window = self._reactor.callLater(WINDOW, self._ask)

    def close(self) -> None:
        """Wait for nobody else now."""
        if self._window is not None:
            self._ask()

    def _ask(self) -> None:
        window, self._window = self._window, None
        if window is not None and window.active():
            window.cancel()
        self._due.append(None)
        self._begin()

    def take(self) -> list[C]:
        """In a thread, once for each *begin*: those of a round, if others have not taken them along."""
        self._due.popleft()  # first: who comes from here on asks for another round, or is taken now
        calls: list[C] = []
        while self._waiting and len(calls) < self._most:
            try:
                calls.append(self._waiting.popleft())
            except IndexError:
                break  # another thread was faster
        self._usual = len(calls) or self._usual
        return calls
